"""Credit pays what is open before it is paid out: where it arises, and at the latest where it is asked back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import give_up, void
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.settlements import Money, pay
from billing.stripe.refunding import refund_invoice
from billing.stripe.setting_off import set_off
from billing.subscriptions import Who, cancel
from billing.unit_of_work import UnitOfWork
from billing.verification import verify
from models.values.errors import DomainError, RuleBrokenError
from tests.billing_story import Company, at, make

NOW = at("2026-03-10")
TOTAL = 3_000
CENT = 10**6


@pytest.fixture
def company(database: Database) -> Company:
    """Acme owes 30 dollars for January and has paid as much for February."""
    company = Company(database)
    company.found("acme", "bolt")
    book = company.publish()
    for customer in ("acme", "bolt"):
        company.subscribe(customer, book, {"seats": "3"})
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoices(company)[1].id, Money("pi", TOTAL, NOW), NOW)
    return company


def invoices(company: Company) -> list[Invoice]:
    return company.invoices("acme")


def write(company: Company, work: Callable[[UnitOfWork], Any]) -> Any:
    with company.database.writing(company.tenant) as uow:
        return work(uow)


def credit_second(company: Company, net: int | None = None, key: str = "c") -> None:
    """Credit a part of the invoice that is paid, or all of it, without setting anything off."""
    lines = None if net is None else {1: net}
    request = CreditRequest(key, invoices(company)[1].id, "goodwill", NOW.date(), lines)
    write(company, lambda uow: issue_credit_note(uow, request, NOW))


def pay_back(company: Company, minor: int, key: str = "r") -> Invoice:
    second = invoices(company)[1].id
    return write(company, lambda uow: refund_invoice(uow, second, key, minor, NOW).invoice)


def refusal(company: Company, work: Callable[[], object]) -> DomainError:
    before = [each.settled_minor for each in invoices(company)], credit(company)
    with pytest.raises(RuleBrokenError) as refused:
        work()
    assert ([each.settled_minor for each in invoices(company)], credit(company)) == before
    return refused.value


def credit(company: Company) -> int:
    with company.database.reading(company.tenant) as uow:
        return -balance(uow, Account("customer_credit", "USD", "acme")) // CENT


def owed(company: Company) -> int:
    with company.database.reading(company.tenant) as uow:
        return balance(uow, Account("receivable", "USD", "acme")) // CENT


def sound(company: Company) -> bool:
    with company.database.reading(company.tenant) as uow:
        return verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


# Asked back.


def test_credit_is_not_paid_out_while_an_older_invoice_is_open(company: Company) -> None:
    credit_second(company)
    refused = refusal(company, lambda: pay_back(company, TOTAL))
    assert refused.code == "debts_first"
    assert "INV-2026-000001 is open by 30," in str(refused)
    assert "at most 0 can be paid back" in str(refused)
    assert sound(company)


def test_what_debts_leave_of_the_credit_is_paid_out_and_the_debts_are_paid(company: Company) -> None:
    first = invoices(company)[0].id
    write(company, lambda uow: pay(uow, first, Money("part", 2_000, NOW), NOW))
    credit_second(company)
    refused = refusal(company, lambda: pay_back(company, 2_001))
    assert "open by 10," in str(refused)
    assert "at most 20 can" in str(refused)
    assert pay_back(company, 2_000).state is InvoiceState.PAID
    assert [(each.state, each.open_minor) for each in invoices(company)] == [(InvoiceState.PAID, 0)] * 2
    assert (credit(company), owed(company)) == (0, 0)
    assert pay_back(company, 2_000).open_minor == 0, "again it is the same refund"
    assert sound(company)


def test_what_was_written_off_comes_first_too_and_is_recovered(company: Company) -> None:
    first = invoices(company)[0].id
    write(company, lambda uow: pay(uow, first, Money("part", 2_000, NOW), NOW))
    write(company, lambda uow: give_up(uow, first, NOW))
    credit_second(company)
    assert "INV-2026-000001 is written off by 10," in str(refusal(company, lambda: pay_back(company, TOTAL)))
    pay_back(company, 1_500)
    assert invoices(company)[0].state is InvoiceState.PAID
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("recovered_debt", "USD")) == -1_000 * CENT
    assert (credit(company), owed(company)) == (500, 0)
    assert sound(company)


def test_a_payment_that_goes_back_is_no_credit_paid_out(company: Company) -> None:
    """Who returns what was paid asks for it again: the invoice is open by as much, beside the other."""
    assert pay_back(company, TOTAL).open_minor == TOTAL
    assert owed(company) == 2 * TOTAL
    assert sound(company)


def test_others_debts_are_not_looked_at(company: Company) -> None:
    first = invoices(company)[0].id
    write(company, lambda uow: pay(uow, first, Money("full", TOTAL, NOW), NOW))
    credit_second(company)
    pay_back(company, TOTAL)
    assert (credit(company), owed(company)) == (0, 0)


def test_what_was_credited_and_used_is_not_paid_back_again(company: Company) -> None:
    """The credit of a note paid another invoice; the payment behind it does not go back beside it."""
    credit_second(company, 2_000)
    write(company, lambda uow: set_off(uow, "acme", "USD", "note", NOW))
    assert [each.open_minor for each in invoices(company)] == [1_000, 0]
    refused = refusal(company, lambda: pay_back(company, 1_001))
    assert refused.code == "refund_above_paid"
    assert pay_back(company, 1_000).open_minor == 1_000
    assert sound(company)


# Where it arises.


def test_credit_pays_what_is_open_oldest_first_and_once_by_its_cause(company: Company) -> None:
    credit_second(company, 1_000)
    [paid] = write(company, lambda uow: set_off(uow, "acme", "USD", "note", NOW))
    assert (paid.number, paid.open_minor) == ("INV-2026-000001", 2_000)
    credit_second(company, 500, "c2")
    assert write(company, lambda uow: set_off(uow, "acme", "USD", "note", NOW)) == []
    assert credit(company) == 500
    [paid] = write(company, lambda uow: set_off(uow, "acme", "USD", "note 2", NOW))
    assert (paid.open_minor, credit(company)) == (1_500, 0)
    assert sound(company)


def test_credit_by_itself_does_not_recover_what_was_written_off(company: Company) -> None:
    first = invoices(company)[0].id
    write(company, lambda uow: give_up(uow, first, NOW))
    credit_second(company)
    assert write(company, lambda uow: set_off(uow, "acme", "USD", "note", NOW)) == []
    assert credit(company) == TOTAL


def test_an_invoice_below_zero_pays_what_is_open(company: Company) -> None:
    """A cancellation that becomes known late takes February back; January is not paid."""
    subscription = company.subscription("sub-acme")
    ended = make(company, cancel(subscription, at("2026-02-01"), Who(NOW)))
    assert ended.ends_at == at("2026-02-01")
    company.close("2026-03", "2026-04-01T01:00")
    first, second, below_zero = invoices(company)
    assert (below_zero.total_minor, below_zero.state) == (-TOTAL, InvoiceState.PAID)
    assert (first.state, second.state) == (InvoiceState.PAID, InvoiceState.PAID)
    assert (credit(company), owed(company)) == (0, 0)
    assert sound(company)


def test_an_invoice_below_zero_is_voided_after_what_its_credit_paid(company: Company) -> None:
    make(company, cancel(company.subscription("sub-acme"), at("2026-02-01"), Who(NOW)))
    company.close("2026-03", "2026-04-01T01:00")
    first, _, below_zero = [each.id for each in invoices(company)]
    refused = refusal(company, lambda: write(company, lambda uow: void(uow, below_zero, "mistake", NOW)))
    assert refused.code == "credit_spent"
    assert "0 of its credit is left: void INV-2026-000001 first" in str(refused)
    for each in (first, below_zero):
        write(company, lambda uow, each=each: void(uow, each, "mistake", NOW))
    assert credit(company) == 0
    assert sound(company)


def test_a_void_gives_back_credit_for_what_else_is_open(company: Company) -> None:
    first = invoices(company)[0].id
    credit_second(company)
    write(company, lambda uow: set_off(uow, "acme", "USD", "note", NOW))
    company.close("2026-03", "2026-04-01T01:00")
    write(company, lambda uow: void(uow, first, "mistake", NOW))
    [paid] = write(company, lambda uow: set_off(uow, "acme", "USD", f"void:{first}", NOW))
    assert (paid.period, paid.state) == ("2026-03", InvoiceState.PAID)
    assert credit(company) == 0
    assert sound(company)


def test_an_interrupted_month_pays_once(company: Company) -> None:
    """A month that is opened and closed again finds the credit spent."""
    make(company, cancel(company.subscription("sub-acme"), at("2026-02-01"), Who(NOW)))
    company.close("2026-03", "2026-04-01T01:00")
    later = at("2026-04-01T02:00")
    write(company, lambda uow: reopen(uow, "2026-03", "again", "ann", later))
    company.close("2026-03", (later + timedelta(hours=1)).isoformat())
    assert [each.open_minor for each in invoices(company)] == [0, 0, 0]
    assert sound(company)
