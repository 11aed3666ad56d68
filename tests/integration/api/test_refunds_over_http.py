"""Refunds through the API: recorded or asked of the provider, once, and never more than was paid."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.settlements import Money, pay
from billing.verification import verify
from tests.billing_story import Company
from tests.integration.api.door import START, Door, open_door


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """An invoice of 20 dollars, paid."""

    def bill(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})
        company.close("2026-01", "2026-02-02")
        with database.writing("default") as uow:
            pay(uow, company.invoices("buyer")[0].id, Money("pi_1", 2000, START), START)

    yield from open_door(database_url, tmp_path, bill)


def number(door: Door) -> str:
    found: str = door.call("GET", "/v1/invoices").json()["items"][0]["number"]
    return found


def refund(door: Door, key: str, amount: Any, **more: Any) -> Any:
    return door.call("POST", f"/v1/invoices/{number(door)}/refunds", {"amount": amount, **more}, key=key)


def sound(door: Door) -> bool:
    with door.database.reading("default") as uow:
        return verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_a_refund_reopens_the_invoice_once_by_its_key(billed: Door) -> None:
    first = refund(billed, "r1", "7.50")
    assert first.status_code == 201
    said = first.json()
    assert (said["state"], said["invoice_state"], said["open"]) == ("recorded", "finalised", "7.5")
    again = refund(billed, "r1", "7.50")
    assert (again.json(), again.headers["idempotent-replayed"]) == (said, "true")
    assert refund(billed, "r1", "8").json()["code"] == "idempotency_key_reused"
    assert billed.call("GET", f"/v1/invoices/{number(billed)}").json()["open"] == "7.5"
    entries = billed.call("GET", "/v1/audit").json()["items"]
    [entry] = [each for each in entries if each["action"] == "invoice.refund"]
    assert entry["object"] == {"type": "invoice", "id": said["invoice"]}
    assert sound(billed)


def test_what_a_credit_note_left_is_paid_back_and_the_invoice_stays_paid(billed: Door) -> None:
    credited = billed.call("POST", f"/v1/invoices/{number(billed)}/credit-notes", {"reason": "x"}, key="c")
    assert credited.status_code == 201
    said = refund(billed, "r1", "20").json()
    assert (said["invoice_state"], said["open"]) == ("paid", "0")
    again = refund(billed, "r2", "0.01")  # All that was paid went back: there is nothing to reopen.
    assert (again.status_code, again.json()["code"]) == (422, "refund_above_paid")
    assert billed.call("GET", f"/v1/invoices/{number(billed)}").json()["open"] == "0"
    assert sound(billed)


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [
        ("20.01", 422, "refund_above_paid"),
        ("0", 422, "below_minimum"),
        ("-1", 422, "below_minimum"),
        ("0.001", 422, "too_many_decimal_places"),
        ("NaN", 422, "not_a_number"),
        (5, 400, "malformed"),
        (None, 400, "malformed"),
    ],
)
def test_what_cannot_be_refunded_is_refused(billed: Door, amount: Any, status: int, code: str) -> None:
    answer = refund(billed, "bad", amount)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if status == 422:  # In the terms of the request: its member, and the amount as it was sent.
        assert answer.json()["field"] == "amount"
        assert answer.json()["detail"].endswith(f", got {amount!r}")
    assert billed.call("GET", f"/v1/invoices/{number(billed)}").json()["open"] == "0"


def test_it_needs_a_key_and_an_invoice(billed: Door) -> None:
    address = f"/v1/invoices/{number(billed)}/refunds"
    assert billed.call("POST", address, {"amount": "1"}).json()["code"] == "idempotency_key_required"
    assert billed.call("POST", "/v1/invoices/nothing/refunds", {"amount": "1"}, key="k").status_code == 404
    elsewhere = refund(billed, "s", "1", processor="stripe")  # Stripe collected nothing of it.
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "not_handed_over")


def test_of_refunds_at_once_no_more_goes_back_than_was_paid(billed: Door) -> None:
    name = number(billed)
    token = billed.token("refund")

    def one(n: int) -> int:
        body = {"amount": "6"}
        return billed.call("POST", f"/v1/invoices/{name}/refunds", body, token=token, key=f"r{n}").status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(8))) == [201] * 3 + [422] * 5
    assert billed.call("GET", f"/v1/invoices/{name}").json()["open"] == "18"
    assert sound(billed)


@pytest.fixture
def two_months(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """Two invoices of 20 dollars, the second one paid."""

    def bill(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})
        company.close("2026-01", "2026-02-02")
        company.close("2026-02", "2026-03-01T02:00")
        with database.writing("default") as uow:
            pay(uow, company.invoices("buyer")[1].id, Money("pi_1", 2000, START), START)

    yield from open_door(database_url, tmp_path, bill)


def opened(door: Door) -> list[str]:
    return [each["open"] for each in door.call("GET", "/v1/invoices").json()["items"]]


def first_of(door: Door) -> dict[str, str]:
    """The first invoice as the audit trail names it."""
    return {"type": "invoice", "id": door.call("GET", "/v1/invoices/INV-2026-000001").json()["id"]}


def balances(door: Door) -> Any:
    return door.call("GET", "/v1/customers/buyer/balances").json()["items"]


def audited(door: Door, action: str) -> list[Any]:
    return [each for each in door.call("GET", "/v1/audit").json()["items"] if each["action"] == action]


@pytest.mark.parametrize("act", ["credit note", "overpayment"])
def test_credit_pays_what_else_is_open_and_the_trail_says_so(two_months: Door, act: str) -> None:
    assert opened(two_months) == ["0", "20"]  # The latest comes first.
    address = f"/v1/invoices/{number(two_months)}"
    if act == "credit note":
        body: dict[str, Any] = {"reason": "x", "lines": {"1": "15"}}
        for _ in range(2):  # Sent again, it is the same note.
            assert two_months.call("POST", f"{address}/credit-notes", body, key="c").status_code == 201
    else:
        body = {"id": "bank 1", "amount": "15", "processor": "bank"}
        assert two_months.call("POST", f"{address}/payments", body, key="p").status_code == 201
    assert opened(two_months) == ["0", "5"]
    [entry] = audited(two_months, "invoice.set_off")
    assert entry["object"] == first_of(two_months)
    assert balances(two_months) == [{"currency": "USD", "open": "5", "credit": "0"}]
    assert sound(two_months)


def test_what_is_owed_is_paid_before_credit_goes_back(two_months: Door) -> None:
    """The note was issued before credit paid what is open: it is all there."""
    second = number(two_months)
    with two_months.database.writing("default") as uow:
        issue_credit_note(uow, CreditRequest("c", second, "x", START.date()), START)
    refused = refund(two_months, "r1", "20")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (422, "debts_first", "amount")
    assert balances(two_months) == [{"currency": "USD", "open": "20", "credit": "20"}]
    assert "INV-2026-000001 is open by 20" in refused.json()["detail"]
    assert opened(two_months) == ["0", "20"]
    with two_months.database.writing("default") as uow:
        pay(uow, "INV-2026-000001", Money("pi_2", 1500, START), START)
    assert refund(two_months, "r2", "15").status_code == 201
    assert opened(two_months) == ["0", "0"]
    [entry] = audited(two_months, "invoice.set_off")
    assert entry["object"] == first_of(two_months)
    assert sound(two_months)


def test_nothing_is_not_asked_back_whatever_is_owed(two_months: Door) -> None:
    second = number(two_months)
    with two_months.database.writing("default") as uow:
        issue_credit_note(uow, CreditRequest("c", second, "x", START.date(), {1: 1_000}), START)
    assert refund(two_months, "r1", "0").json()["code"] == "below_minimum"


def test_a_payment_answers_with_what_credit_has_paid_beside_it(two_months: Door) -> None:
    second = number(two_months)
    with two_months.database.writing("default") as uow:
        issue_credit_note(uow, CreditRequest("c", second, "x", START.date()), START)
    body = {"id": "bank 1", "amount": "5", "processor": "bank"}
    paid = two_months.call("POST", "/v1/invoices/INV-2026-000001/payments", body, key="p")
    assert (paid.status_code, paid.json()["state"], paid.json()["open"]) == (201, "paid", "0")
    assert balances(two_months) == [{"currency": "USD", "open": "0", "credit": "5"}]
    [entry] = audited(two_months, "invoice.set_off")
    assert entry["object"] == first_of(two_months)
