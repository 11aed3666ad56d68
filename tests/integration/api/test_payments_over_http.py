"""Payments and write-offs through both doors: counted once, credited where too much, recovered after all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.verification import verify
from tests.billing_story import Company
from tests.integration.api.door import Door, open_door

NUMBER = "INV-2026-000001"
PAYMENTS = f"/v1/invoices/{NUMBER}/payments"
CENT = 10**6


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """An invoice of 20 dollars."""

    def bill(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})
        company.close("2026-01", "2026-02-02")

    yield from open_door(database_url, tmp_path, bill)


def stands(door: Door) -> tuple[str, str, int]:
    """Return the invoice's state, what is open of it, and the customer's credit in cents, of books that hold."""
    with door.database.reading("default") as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
        credit = -balance(uow, Account("customer_credit", "USD", "buyer")) // CENT
    invoice = door.call("GET", f"/v1/invoices/{NUMBER}").json()
    return invoice["state"], invoice["open"], credit


def pay(door: Door, key: str, body: dict[str, Any]) -> Any:
    return door.call("POST", PAYMENTS, body, key=key)


def test_a_payment_counts_once_by_its_id_and_what_is_too_much_is_credit(billed: Door) -> None:
    part = {"id": "bank 4711", "amount": "7.50", "processor": "bank", "paid_at": "2026-02-01T09:00:00+01:00"}
    paid = pay(billed, "a", part)
    assert (paid.status_code, paid.json()["state"], paid.json()["open"]) == (201, "finalised", "12.5")
    assert pay(billed, "b", part).json() == paid.json()  # Another request, the same money.
    rest = pay(billed, "c", {"id": "bank 4712", "amount": "15", "processor": "bank"})
    assert rest.json()["state"] == "paid"
    assert stands(billed) == ("paid", "0", 250)
    assert pay(billed, "e", {"id": "bank 4713", "amount": "1"}).status_code == 201  # The invoice stays as it is.
    assert stands(billed) == ("paid", "0", 350)
    kept = [each["action"] for each in billed.call("GET", "/v1/audit").json()["items"]]
    assert kept.count("invoice.pay") == 3
    other = pay(billed, "d", {**part, "amount": "7.51"})
    assert (other.status_code, other.json()["code"]) == (409, "settlement_conflict")
    assert (other.json()["field"], other.json()["detail"]) == (
        "id",
        "id: is recorded for something else, got 'bank 4711'",
    )


def test_what_is_written_off_is_recovered_when_it_is_paid_after_all(billed: Door) -> None:
    for key in ("a", "b"):  # Giving up what is given up changes nothing.
        given_up = billed.call("POST", f"/v1/invoices/{NUMBER}/write-off", key=key)
        assert (given_up.status_code, given_up.json()["state"]) == (200, "uncollectible")
    assert stands(billed) == ("uncollectible", "0", 0)
    assert pay(billed, "c", {"id": "late", "amount": "20"}).json()["state"] == "paid"
    assert stands(billed) == ("paid", "0", 0)
    kept = [each["action"] for each in billed.call("GET", "/v1/audit").json()["items"]]
    assert [kept.count(act) for act in ("invoice.write_off", "invoice.pay")] == [1, 1]
    again = billed.call("POST", f"/v1/invoices/{NUMBER}/write-off", key="d")
    assert (again.status_code, again.json()["code"]) == (422, "nothing_open")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"amount": "0"}, 422, "below_minimum", "amount"),
        ({"amount": "-1"}, 422, "below_minimum", "amount"),
        ({"amount": "0.001"}, 422, "too_many_decimal_places", "amount"),
        ({"amount": "NaN"}, 422, "not_a_number", "amount"),
        ({"amount": 5}, 400, "malformed", "amount"),
        ({"surprise": 1}, 400, "malformed", "surprise"),
        ({"id": ""}, 422, "invalid_id", "id"),
        ({"processor": "My Bank"}, 422, "invalid_key", "processor"),
        ({"paid_at": "yesterday"}, 422, "invalid_time", "paid_at"),
        ({"paid_at": "2099-01-01T00:00:00Z"}, 422, "invalid_value", "paid_at"),
    ],
)
def test_what_is_no_payment_is_refused_and_nothing_is_paid(
    billed: Door, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = pay(billed, "bad", {"id": "x", "amount": "1", **change})
    assert (answer.status_code, answer.json()["code"], answer.json().get("field", "")) == (status, code, field)
    assert stands(billed) == ("finalised", "20", 0)


@pytest.mark.parametrize("act", ["void", "credit-notes"])
def test_what_takes_money_back_says_why(billed: Door, act: str) -> None:
    answer = billed.call("POST", f"/v1/invoices/{NUMBER}/{act}", {"reason": " "}, key="blank")
    refused = (answer.status_code, answer.json()["code"], answer.json()["field"])
    assert refused == (422, "reason_required", "reason")
    assert stands(billed) == ("finalised", "20", 0)


def test_a_printed_invoice_or_credit_note_is_named_by_its_number(billed: Door) -> None:
    printed = billed.call("GET", f"/v1/invoices/{NUMBER}/pdf")
    assert printed.headers["content-disposition"] == f'inline; filename="{NUMBER}.pdf"'
    assert printed.content.startswith(b"%PDF")
    note = billed.call("POST", f"/v1/invoices/{NUMBER}/credit-notes", {"reason": "late"}, key="note").json()["number"]
    of_note = billed.call("GET", f"/v1/credit-notes/{note}/pdf")
    assert of_note.headers["content-disposition"] == f'inline; filename="{note}.pdf"'
    assert of_note.content.startswith(b"%PDF")


def test_the_same_payment_told_many_times_at_once_counts_once(billed: Door) -> None:
    token = billed.token("finance")

    def one(n: int) -> int:
        body = {"id": "bank", "amount": "20"}
        return billed.call("POST", PAYMENTS, body, token=token, key=f"k{n}").status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {201}
    assert stands(billed) == ("paid", "0", 0)
    kept = [each["action"] for each in billed.call("GET", "/v1/audit").json()["items"]]
    assert kept.count("invoice.pay") == 1


def test_what_is_done_by_command_is_in_the_audit_trail(
    billed: Door, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    for arguments in (
        ["pay", NUMBER, "20", "--key", "p1", "--processor", "bank"],
        ["pay", NUMBER, "20", "--key", "p1", "--processor", "bank"],
        ["credit", NUMBER, "--reason", "outage", "--line", "1=5"],
        ["credit", NUMBER, "--reason", "outage", "--line", "1=5"],
        ["refund", NUMBER, "5", "--key", "r1", "--processor", "bank"],
        ["refund", NUMBER, "5", "--key", "r1", "--processor", "bank"],
    ):
        assert main(["invoice", *arguments]) == 0, capsys.readouterr().err
    assert "paid, 0 USD open" in capsys.readouterr().out
    assert stands(billed) == ("paid", "0", 0)
    kept = [each for each in billed.call("GET", "/v1/audit").json()["items"] if each["actor"] == "cli"]
    assert sorted(each["action"] for each in kept) == ["credit_note.issue", "invoice.pay", "invoice.refund"]
    assert main(["invoice", "credit", NUMBER, "--reason", "x", "--line", "one=5"]) == 3
    assert "lines: must be the number of a line, got 'one'" in capsys.readouterr().err


def test_a_narrow_screen_cuts_no_number(
    billed: Door, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "50")
    assert main(["invoice", "list"]) == 0
    assert NUMBER in capsys.readouterr().out


@pytest.mark.parametrize(
    "lines", [{"01": "0.01", "1": "0.01"}, {"0": "0.01"}, {"\u0661": "0.01"}, {"9" * 5000: "0.01"}]
)
def test_a_line_is_credited_by_its_number_and_by_nothing_like_it(billed: Door, lines: dict[str, str]) -> None:
    """Of two ways to write a number, one amount would be lost."""
    answer = billed.call("POST", f"/v1/invoices/{NUMBER}/credit-notes", {"reason": "test", "lines": lines}, key="a")
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_value", "lines")
    assert billed.call("GET", "/v1/credit-notes").json()["items"] == []


def test_the_command_credits_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invoice", "credit", NUMBER, "--reason", "test", "--line", "1=0.01", "--line", "1=0.02"]) == 3
    assert "must not name a line twice" in capsys.readouterr().err
