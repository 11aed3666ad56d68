"""Subscriptions changed by HTTP in every way, each as its preview said; lists in pages; the journal as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.pages import page, read_cursor
from billing.api_keys import Scope
from billing.database import Database
from billing.exports import journal
from models.values.errors import InvalidValueError
from tests.billing_story import Company, repriced
from tests.integration.api.door import Door, open_door
from tests.quote_facts import SIGNER

SUBSCRIPTION = "/v1/subscriptions/sub-buyer"
CLOSE = "/v1/closes/2026-02"


@pytest.fixture
def sold(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """The default tenant sold to two customers; January is closed, it is the first of March."""

    def sell(database: Database) -> None:
        company = Company(database)
        company.found("buyer", "second")
        book = company.publish()
        company.subscribe("buyer", book, {"seats": "31"})
        for number in range(3):
            company.subscribe("second", book, {"seats": "1"}, id=f"more-{number}")
        company.close("2026-01", "2026-02-02")

    yield from open_door(database_url, tmp_path, sell)


def total(invoices: list[dict[str, Any]]) -> Decimal:
    return sum((Decimal(each["total"]) for each in invoices), Decimal(0))


def change(door: Door, **body: Any) -> tuple[Decimal, dict[str, Any]]:
    """Preview a change, make it, and return what it adds and its phase: the invoice to come is the one foreseen."""
    before = door.call("GET", SUBSCRIPTION).json()
    seen = door.call("POST", f"{SUBSCRIPTION}/changes/preview", body)
    assert seen.status_code == 200, seen.text
    assert door.call("GET", SUBSCRIPTION).json() == before
    made = door.call("POST", f"{SUBSCRIPTION}/changes", body)
    assert made.status_code == 200, made.text
    foreseen = seen.json()
    cost = door.call("GET", "/v1/customers/buyer/cost").json()["invoices"]
    assert total(cost) == total(foreseen["after"])
    added = total(foreseen["after"]) - total(foreseen["before"])
    assert sum((Decimal(each["amount"]) for each in foreseen["difference"]), Decimal(0)) == added
    phase = made.json()["phases"][len(before["phases"])]
    assert phase["action"] == {"quantity": "change", "add": "change", "drop": "change"}.get(
        body["action"], body["action"]
    )
    door.wait(days=1)
    return added, phase


def test_every_change_is_billed_as_its_preview_said(sold: Door) -> None:
    assert change(sold, action="quantity", feature="seats", quantity="62")[0] > 0
    assert change(sold, action="add", feature="sso")[0] > 0
    assert change(sold, action="drop", feature="sso")[0] < 0
    later = {"proration": "next_period"}
    added, phase = change(sold, action="quantity", feature="seats", quantity="99", **later)
    assert (added, phase["agreement"]["proration"]["mid_period"]) == (0, "next_period")
    added, phase = change(sold, action="upgrade", selection={"seats": "100"}, reason="more people")
    assert (added > 0, phase["agreement"]["selection"], phase["reason"]) == (True, {"seats": "100"}, "more people")
    added, phase = change(sold, action="downgrade", selection={"seats": "10"})
    assert (added, phase["starts_at"]) == (0, "2026-04-01T00:00:00+00:00")
    assert change(sold, action="unschedule")[1]["agreement"]["selection"] == {"seats": "100"}
    dearer = sold.call("POST", "/v1/price-books", repriced("seats", {"model": "unit", "unit_amount": "20"}, 4)).json()
    added, phase = change(sold, action="move")  # To the one in force for the customer.
    assert (added > 0, phase["price_book"]) == (True, dearer["content_hash"])
    assert change(sold, action="pause")[0] < 0
    assert change(sold, action="resume")[0] > 0
    added, phase = change(sold, action="cancel", at_period_end=True)
    assert (added, phase["state"], phase["starts_at"]) == (0, "ended", "2026-04-01T00:00:00+00:00")
    assert change(sold, action="cancel")[0] < 0
    over = sold.call("POST", f"{SUBSCRIPTION}/changes", {"action": "resume"})
    assert (over.status_code, over.json()["code"]) == (422, "subscription_not_running")


def test_another_cycle_is_billed_as_its_preview_said(sold: Door) -> None:
    _, phase = change(sold, action="cycle", interval="quarter", anchor_day=15)
    cycle = phase["agreement"]["cycle"]
    assert (cycle["interval"], cycle["day"]) == ("quarter", 15)
    _, phase = change(sold, action="cycle")  # By the calendar.
    assert (phase["agreement"]["cycle"]["interval"], phase["agreement"]["cycle"]["day"]) == ("quarter", 1)
    refused = sold.call("POST", f"{SUBSCRIPTION}/changes", {"action": "cycle", "proration": "whole"})
    assert (refused.status_code, refused.json()["field"]) == (422, "proration")
    _, phase = change(sold, action="cycle", interval="quarter", minimum_spend="300")
    assert phase["agreement"]["minimum_spend"] == "300"
    for wrong, code in (({}, "minimum_spend_required"), ({"minimum_spend": "-1"}, "below_minimum")):
        refused = sold.call("POST", f"{SUBSCRIPTION}/changes", {"action": "cycle", "interval": "year", **wrong})
        assert (refused.status_code, refused.json()["field"], refused.json()["code"]) == (422, "minimum_spend", code)


def test_a_selection_is_written_as_in_a_quote(sold: Door) -> None:
    tokens = {"groups": [{"properties": {}, "units": "7"}]}
    _, phase = change(sold, action="change", selection={"seats": 5, "sso": True, "tokens": tokens})
    assert phase["agreement"]["selection"] == {"seats": "5", "sso": "1", "tokens": "7"}
    _, phase = change(sold, action="upgrade", selection={"seats": 6, "sso": True})
    assert phase["agreement"]["selection"] == {"seats": "6", "sso": "1"}
    body = {"action": "change", "selection": {"seats": True}}
    refused = sold.call("POST", f"{SUBSCRIPTION}/changes", body).json()
    assert (refused["status"], refused["code"], refused["field"]) == (422, "not_a_number", "selection.seats")


def test_a_preview_is_due_when_an_invoice_of_that_day_would_be(sold: Door) -> None:
    [made] = sold.call("GET", "/v1/invoices", customer="buyer").json()["items"]
    [seen] = sold.call("GET", "/v1/customers/buyer/cost").json()["invoices"]
    terms = [date.fromisoformat(each["due_on"]) - date.fromisoformat(each["issued_on"]) for each in (made, seen)]
    assert terms == [timedelta(days=14)] * 2


def test_what_an_action_does_not_take_or_lacks_is_refused_and_leaves_nothing(sold: Door) -> None:
    before = sold.call("GET", SUBSCRIPTION).json()
    for body, status, field in (
        ({"action": "fly"}, 400, "action"),
        ({"action": "pause", "feature": "seats"}, 422, "feature"),
        ({"action": "change", "selection": {"seats": "1"}, "at_period_end": True}, 422, "at_period_end"),
        ({"action": "add", "quantity": "2"}, 422, "feature"),
        ({"action": "add", "feature": "seats"}, 422, "feature"),
        ({"action": "quantity", "feature": "seats"}, 422, "quantity"),
        ({"action": "pause", "proration": "whole"}, 422, "proration"),
        ({"action": "cancel", "proration": "half"}, 400, "proration"),
        ({"action": "change"}, 422, "selection"),
        ({"action": "upgrade"}, 422, "selection"),
        ({"action": "quantity", "feature": "sso", "quantity": "2"}, 422, "feature"),
        ({"action": "drop", "feature": "sso"}, 422, "feature"),
        ({"action": "quantity", "feature": "seats", "quantity": "many"}, 422, "quantity"),
        ({"action": "move", "price_book": "0" * 64}, 404, "price_book"),
        ({"action": "resume"}, 422, "subscription"),
    ):
        for address in (f"{SUBSCRIPTION}/changes/preview", f"{SUBSCRIPTION}/changes"):
            answer = sold.call("POST", address, body)
            assert (answer.status_code, answer.json().get("field", "")) == (status, field), (body, answer.text)
    assert sold.call("GET", SUBSCRIPTION).json() == before


def pages(door: Door, path: str, **params: Any) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        found = door.call("GET", path, limit=2, **params, **({"cursor": cursor} if cursor else {})).json()
        assert len(found["items"]) <= 2
        seen += found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            return seen


def test_subscriptions_quotes_and_credit_notes_come_in_pages(sold: Door) -> None:
    subscriptions = [each["id"] for each in pages(sold, "/v1/subscriptions")]
    assert subscriptions == ["more-0", "more-1", "more-2", "sub-buyer"]
    assert [each["id"] for each in pages(sold, "/v1/subscriptions", customer="buyer")] == ["sub-buyer"]

    made = []
    for number in range(5):
        body = {"customer": ("buyer", "second")[number % 2], "selection": {"seats": str(number + 1)}}
        made.append(sold.call("POST", "/v1/quotes", body, key=f"q{number}").json()["id"])
    sold.call("POST", f"/v1/quotes/{made[2]}/release", key="r")
    listed = pages(sold, "/v1/quotes")
    assert [each["id"] for each in listed] == made[::-1]
    assert [each["state"] for each in listed] == ["open", "open", "released", "open", "open"]
    assert [each["id"] for each in pages(sold, "/v1/quotes", customer="buyer", state="open")] == [made[4], made[0]]
    lost = sold.call("GET", "/v1/quotes", state="lost")
    assert (lost.status_code, lost.json()["errors"][0]["key"], lost.json()["field"]) == (400, "state", "state")
    assert lost.json()["detail"] == "state: must be one of accepted, expired, open, released, got 'lost'"

    for invoice in sold.call("GET", "/v1/invoices").json()["items"]:
        for number, amount in enumerate(("1", "0.5")):
            body = {"reason": "goodwill", "lines": {"1": amount}}
            answer = sold.call(
                "POST", f"/v1/invoices/{invoice['id']}/credit-notes", body, key=f"{invoice['id']}{number}"
            )
            assert answer.status_code == 201, answer.text
    notes = pages(sold, "/v1/credit-notes")
    assert len({each["number"] for each in notes}) == len(notes) == 4
    assert {each["customer"] for each in pages(sold, "/v1/credit-notes", customer="second")} == {"second"}
    assert sold.call("GET", f"/v1/credit-notes/{notes[0]['number']}").json() == notes[0]

    stranger = sold.token(*Scope, tenant="other")
    for path in ("/v1/subscriptions", "/v1/quotes", "/v1/credit-notes"):
        assert sold.call("GET", path, token=stranger).json() == {"items": [], "next_cursor": None}


def test_the_journal_streams_page_by_page_and_goes_on_from_a_cursor(
    sold: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sold.database.reading("default") as uow:
        written = {form: b"".join(journal.write_journal(uow, form)) for form in ("csv", "jsonl")}
    monkeypatch.setattr(journal, "_AT_ONCE", 1)
    for form, media in (("csv", "text/csv"), ("jsonl", "application/jsonl")):
        answer = sold.call("GET", "/v1/exports/journal", format=form)
        assert answer.content == written[form]
        assert answer.headers["content-type"].startswith(media)
    lines = written["csv"].splitlines()
    assert len(lines) > 3
    first = [line for line in lines if line.startswith(b"1,")]
    rest = sold.call("GET", "/v1/exports/journal", since=1).content.splitlines()
    assert rest == [line for line in lines if line not in first]
    refused = sold.call("GET", "/v1/exports/journal", format="xml")
    assert (refused.status_code, refused.json()["field"]) == (422, "format")
    other = sold.call("GET", "/v1/exports/journal", token=sold.token(*Scope, tenant="other"))
    assert other.content == lines[0] + b"\n"


def test_a_close_under_one_key_has_one_effect_and_one_answer(sold: Door) -> None:
    sold.token(*Scope)
    missing = sold.call("POST", CLOSE)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")
    early = sold.call("POST", "/v1/closes/2026-03", key="close")
    assert (early.status_code, early.json()["code"]) == (422, "close_blocked")  # The key is free.
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: sold.call("POST", CLOSE, key="close"), range(4)))
    assert {(each.status_code, each.text) for each in answers} == {(200, answers[0].text)}
    assert len(answers[0].json()["invoices"]) == 2
    again = sold.call("POST", CLOSE, key="close")
    assert (again.text, again.headers["idempotent-replayed"]) == (answers[0].text, "true")
    other = sold.call("POST", "/v1/closes/2026-03", key="close")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert sold.call("POST", CLOSE, key="another").json()["was_closed"]
    trail = [each["action"] for each in sold.call("GET", "/v1/audit").json()["items"]]
    assert trail.count("month.close") == 1


def test_a_cursor_is_of_one_tenant_and_one_list() -> None:
    services: Any = SimpleNamespace(signer=SIGNER)
    cursor = page(services, "one", "quotes", ["a"], 1, ["a"])["next_cursor"]
    assert read_cursor(services, "one", "quotes", cursor) == ["a"]
    for tenant, of in (("two", "quotes"), ("one", "invoices")):
        with pytest.raises(InvalidValueError) as refused:
            read_cursor(services, tenant, of, cursor)
        assert refused.value.code == "invalid_cursor"
