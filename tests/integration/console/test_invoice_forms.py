"""What finance does with an invoice in the console: the acts of the API, once each, refusals said beside the form."""

from __future__ import annotations

import re

from api.console.wording import catalog
from billing import audit
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.repositories.invoices import InvoiceRepository
from billing.verification import verify
from tests.billing_story import at
from tests.integration.api.door import Door
from tests.integration.console.browsing import Browsing

INVOICES = "/console/finance/invoices"


def the_invoice(door: Door, period: str = "2026-01") -> dict[str, object]:
    [found] = [each for each in door.call("GET", "/v1/invoices").json()["items"] if each["period"] == period]
    return found


def trail(door: Door) -> list[tuple[str, str]]:
    with door.database.reading("default") as uow:
        return [(entry.actor, entry.action) for entry in audit.entries(uow) if entry.action != "person.sign_in"]


def fields(page: str, form: str) -> dict[str, str]:
    """Return what a form would send as it stands."""
    [inside] = re.findall(rf'action="[^"]*/{form}"[^>]*>(.*?)</form>', page, re.DOTALL)
    found = [
        (re.search(r'name="([^"]*)"', each), re.search(r'value="([^"]*)"', each)) for each in inside.split("<input")
    ]
    return {name[1]: value[1] if value else "" for name, value in found if name and name[1] != "_csrf_token"}


def test_a_payment_is_recorded_once_and_what_is_refused_keeps_what_was_typed(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    invoice = the_invoice(door)
    home = f"{INVOICES}/{invoice['id']}"
    form = fields(browsing.get(home).text, "payments")
    assert (form["amount"], form["paid_on"]) == (f"{float(str(invoice['total'])):,.2f}", "2026-03-01")
    for wrong, code in (("1,5", "not_a_number"), ("0", "below_minimum"), ("1.001", "too_many_decimal_places")):
        refused = browsing.post(f"{home}/payments", {**form, "amount": wrong, "reference": "transfer-1"})
        assert refused.status_code == 422
        assert catalog("en")[f"refusal.{code}"] in refused.text
        kept = fields(refused.text, "payments")
        assert (kept["amount"], kept["reference"]) == (wrong, "transfer-1")
    late = browsing.post(f"{home}/payments", {**form, "reference": "transfer-1", "paid_on": "2026-03-02"})
    assert (late.status_code, trail(door)) == (422, [])
    for _ in range(2):
        assert browsing.post(f"{home}/payments", {**form, "reference": "transfer-1"}).headers["location"] == home
    assert trail(door) == [("eve", "invoice.pay")]
    assert (the_invoice(door)["state"], the_invoice(door)["open"]) == ("paid", "0")
    again = browsing.post(f"{home}/payments", {**form, "amount": "1", "reference": "transfer-1"})
    assert (again.status_code, catalog("en")["refusal.settlement_conflict"] in again.text) == (409, True)


def test_a_credit_note_takes_back_what_stands_in_its_form_once(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    invoice = the_invoice(door)
    home = f"{INVOICES}/{invoice['id']}"
    form = fields(browsing.get(home).text, "credit-notes")
    assert form["line.1"] == "20.00"
    refused = browsing.post(f"{home}/credit-notes", {**form, "line.1": "20.01", "reason": "an outage"})
    assert (refused.status_code, catalog("en")["refusal.not_creditable"] in refused.text) == (422, True)
    assert fields(refused.text, "credit-notes") == {**form, "line.1": "20.01", "reason": "an outage"}
    nothing = browsing.post(f"{home}/credit-notes", {**form, "line.1": "", "reason": "an outage"})
    assert (nothing.status_code, catalog("en")["refusal.below_minimum"] in nothing.text) == (422, True)
    for _ in range(2):
        assert browsing.post(f"{home}/credit-notes", {**form, "line.1": "6", "reason": "an outage"}).status_code == 303
    [note] = door.call("GET", "/v1/credit-notes").json()["items"]
    assert (note["net"], note["reason"]) == ("6", "an outage")
    page = browsing.get(home).text
    assert f'<a href="/console/finance/credit-notes/{note["id"]}/pdf">{note["number"]} PDF</a>' in page
    printed = browsing.get(f"/console/finance/credit-notes/{note['id']}/pdf")
    assert printed.headers["content-disposition"] == f'attachment; filename="{note["number"]}.pdf"'
    assert printed.content.startswith(b"%PDF")
    assert fields(page, "credit-notes")["line.1"] == "14.00"
    assert fields(page, "credit-notes")["key"] != form["key"]
    assert trail(door) == [("eve", "credit_note.issue")]


def test_a_draft_is_finalised_once_its_days_of_grace_are_over(door: Door, browsing: Browsing) -> None:
    door.clock[0] = at("2026-03-02")
    assert door.call("POST", "/v1/closes/2026-02", {"grace_days": 3}, key="close").status_code == 200
    draft = the_invoice(door, "2026-02")
    home = f"{INVOICES}/{draft['id']}"
    browsing.sign_in("eve")
    early = browsing.get(home).text
    assert "it can be finalised from 2026-03-05" in early
    assert "/finalise" not in early
    assert "/payments" not in early
    door.clock[0] = at("2026-03-06")
    browsing.sign_in("eve")
    assert f'action="{home}/finalise"' in browsing.get(home).text
    assert browsing.post(f"{home}/finalise").status_code == 303
    assert the_invoice(door, "2026-02")["state"] == "finalised"
    assert ("eve", "invoice.finalise") in trail(door)


def test_a_debt_is_given_up_or_its_invoice_voided_and_nothing_else_is_offered_then(
    door: Door, browsing: Browsing
) -> None:
    browsing.sign_in("eve")
    home = f"{INVOICES}/{the_invoice(door)['id']}"
    assert browsing.post(f"{home}/void", {"reason": " "}).status_code == 422
    assert browsing.post(f"{home}/write-off").status_code == 303
    assert the_invoice(door)["state"] == "uncollectible"
    page = browsing.get(home).text
    assert [act for act in ("payments", "credit-notes", "void", "write-off") if f"{home}/{act}" in page] == ["payments"]
    assert browsing.post(f"{home}/void", {"reason": "a mistake"}).status_code == 422
    with door.database.reading("default") as uow:
        assert verify(uow).is_sound


def test_an_invoice_is_voided_with_a_reason(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    home = f"{INVOICES}/{the_invoice(door)['id']}"
    assert browsing.post(f"{home}/void", {"reason": "billed twice"}).status_code == 303
    assert the_invoice(door)["state"] == "void"
    assert f"{home}/" not in browsing.get(home).text.replace(f"{home}/pdf", "").replace(f"{home}/json", "").replace(
        f"{home}/lines/", ""
    )


def paid(door: Door, browsing: Browsing) -> str:
    """Return the address of the invoice, paid in full by eve; ron is signed in."""
    browsing.sign_in("eve")
    home = f"{INVOICES}/{the_invoice(door)['id']}"
    form = fields(browsing.get(home).text, "payments")
    browsing.post(f"{home}/payments", {**form, "reference": "transfer-1"})
    page = browsing.get(home).text
    assert catalog("en")["invoice.refund_role"] in page
    assert f"{home}/refunds" not in page
    browsing.sign_in("ron")
    return home


def test_money_is_paid_back_once_by_whoever_has_the_role_for_it(door: Door, browsing: Browsing) -> None:
    home = paid(door, browsing)
    form = fields(browsing.get(home).text, "refunds")
    for wrong, code in (("", "not_a_number"), ("0", "below_minimum"), ("1.001", "too_many_decimal_places"),
                        ("20.01", "refund_above_paid")):  # fmt: skip
        refused = browsing.post(f"{home}/refunds", {**form, "amount": wrong})
        assert refused.status_code == 422
        assert catalog("en")[f"refusal.{code}"] in refused.text
        assert fields(refused.text, "refunds") == {**form, "amount": wrong}
        assert 'autofocus aria-describedby="refusal"' in refused.text.split(f'action="{home}/refunds"')[1]
    for _ in range(2):
        assert browsing.post(f"{home}/refunds", {**form, "amount": "7.50"}).headers["location"] == home
    assert (the_invoice(door)["state"], the_invoice(door)["open"]) == ("finalised", "7.5")
    assert trail(door) == [("eve", "invoice.pay"), ("ron", "invoice.refund")]
    page = browsing.get(home).text
    assert "\N{MINUS SIGN}7.50" in page
    assert "12.50 USD" in page  # What is left to pay back.
    reused = browsing.post(f"{home}/refunds", {**form, "amount": "1"})
    assert (reused.status_code, catalog("en")["refusal.settlement_conflict"] in reused.text) == (409, True)


def test_what_a_credit_note_left_goes_back_and_the_page_says_how_much(door: Door, browsing: Browsing) -> None:
    home = paid(door, browsing)
    note = fields(browsing.get(home).text, "credit-notes")
    browsing.post(f"{home}/credit-notes", {**note, "reason": "billed twice"})
    form = fields(browsing.get(home).text, "refunds")
    assert browsing.post(f"{home}/refunds", {**form, "amount": "20"}).status_code == 303
    assert (the_invoice(door)["state"], the_invoice(door)["open"]) == ("paid", "0")
    page = browsing.get(home).text
    assert catalog("en")["invoice.refunded_credit"].format(amount="20.00") in page
    assert f"{home}/refunds" not in page  # There is nothing left to pay back.
    with door.database.reading("default") as uow:
        assert verify(uow).is_sound


def test_a_note_over_nothing_is_refused_as_that(door: Door) -> None:
    invoice = str(the_invoice(door)["id"])
    answer = door.call("POST", f"/v1/invoices/{invoice}/credit-notes", {"reason": "x", "lines": {"1": "0"}}, key="none")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "below_minimum", "lines")
    with door.database.writing("default") as uow:
        name = InvoiceRepository(uow).get(invoice).id
        issue_credit_note(uow, CreditRequest("all", name, "all of it", at("2026-03-01").date()), at("2026-03-01"))
    answer = door.call("POST", f"/v1/invoices/{invoice}/credit-notes", {"reason": "x"}, key="left")
    assert answer.json()["code"] == "not_creditable"


def test_refusals_are_worded_in_the_readers_language(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    browsing.client.cookies.set("alacarte_language", "ko", path="/console")
    home = f"{INVOICES}/{the_invoice(door)['id']}"
    refused = browsing.post(f"{home}/payments", {"amount": "x", "reference": "t"})
    missing = browsing.get(f"{INVOICES}/none")
    blocked = browsing.post("/console/finance/months/2026-03/close")
    stale = browsing.client.post(f"{home}/void", data={"reason": "x"})
    for answer, code, beneath in (
        (refused, "not_a_number", True),
        (missing, "unknown_invoice", True),
        (blocked, "close_blocked", True),
        (stale, "stale_form", False),
    ):
        assert catalog("ko")[f"refusal.{code}"] in answer.text, code
        assert ('<p class="hint" lang="en">' in answer.text) == beneath, code
