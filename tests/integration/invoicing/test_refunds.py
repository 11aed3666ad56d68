"""Refunds in the books: what a key stands for, which invoices are paid back, and what is gone whatever we say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import give_up, void
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.settlements import Money, grant_customer_credit, pay, pay_back, refund
from billing.stripe.refunding import refund_invoice
from billing.unit_of_work import UnitOfWork
from billing.verification import verify
from models.values.errors import ConflictError, DomainError, RuleBrokenError
from tests.billing_story import Company, at

NOW = at("2026-02-10")
TOTAL = 3_000
CENT = 10**6


@pytest.fixture
def company(database: Database) -> Company:
    """Two customers who owe 30 dollars each for January."""
    company = Company(database)
    company.found("acme", "bolt")
    book = company.publish()
    for customer in ("acme", "bolt"):
        company.subscribe(customer, book, {"seats": "3"})
    return company


@pytest.fixture
def invoice(company: Company) -> Invoice:
    """What acme owes, finalised."""
    company.close("2026-01", "2026-02-01T01:00")
    return company.invoices("acme")[0]


def write(company: Company, work: Callable[[UnitOfWork], Invoice]) -> Invoice:
    with company.database.writing(company.tenant) as uow:
        return work(uow)


def refusal(company: Company, work: Callable[[UnitOfWork], object]) -> tuple[type[DomainError], str]:
    with pytest.raises(DomainError) as refused, company.database.writing(company.tenant) as uow:
        work(uow)
    return type(refused.value), refused.value.code


def sound(company: Company) -> bool:
    with company.database.reading(company.tenant) as uow:
        return verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


# A key is for one refund.


@pytest.mark.parametrize("out_of_credit", [True, False])
def test_a_key_used_again_for_another_refund_is_refused(
    company: Company, invoice: Invoice, *, out_of_credit: bool
) -> None:
    other = company.invoices("bolt")[0]
    with company.database.writing(company.tenant) as uow:
        for each in (invoice, other):
            pay(uow, each.id, Money(f"pi_{each.customer}", TOTAL, NOW), NOW)
        if out_of_credit:
            issue_credit_note(uow, CreditRequest("c", invoice.id, "goodwill", NOW.date()), NOW)

    def paid_back(minor: int, of: str = invoice.id, processor: str = "manual") -> Callable[[UnitOfWork], Invoice]:
        return lambda uow: pay_back(uow, of, Money("r", minor, NOW, processor), NOW)

    after = write(company, paid_back(500))
    assert after.open_minor == (0 if out_of_credit else 500)
    conflict = (ConflictError, "settlement_conflict")
    for different in (paid_back(499), paid_back(501), paid_back(500, other.id), paid_back(500, processor="bank")):
        assert refusal(company, different) == conflict
    assert write(company, paid_back(500)) == after, "the same again is the same"
    assert sound(company)


def test_by_command_a_key_used_again_for_another_refund_is_refused(company: Company, invoice: Invoice) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL, NOW), NOW))
    first = write(company, lambda uow: refund_invoice(uow, invoice.id, "r", 500, NOW).invoice)
    assert write(company, lambda uow: refund_invoice(uow, invoice.id, "r", 500, NOW).invoice) == first
    again = refusal(company, lambda uow: refund_invoice(uow, invoice.id, "r", 700, NOW))
    assert again == (ConflictError, "settlement_conflict")
    assert company.invoices("acme")[0].open_minor == 500


def test_a_refund_is_the_same_after_its_invoice_was_voided(company: Company, invoice: Invoice) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL, NOW), NOW))
    write(company, lambda uow: refund_invoice(uow, invoice.id, "r", TOTAL, NOW).invoice)
    write(company, lambda uow: void(uow, invoice.id, "mistake", NOW))
    again = write(company, lambda uow: refund_invoice(uow, invoice.id, "r", TOTAL, NOW).invoice)
    assert again.state is InvoiceState.VOID


# Only what was issued and stands is paid back.


@pytest.mark.parametrize("state", [InvoiceState.DRAFT, InvoiceState.VOID])
@pytest.mark.parametrize("reopens", [True, False])
def test_what_takes_no_money_pays_none_back_even_where_the_customer_has_credit(
    company: Company, state: InvoiceState, *, reopens: bool
) -> None:
    company.close("2026-01", "2026-02-01T01:00", grace_days=30 if state is InvoiceState.DRAFT else 0)
    invoice = company.invoices("acme")[0]
    with company.database.writing(company.tenant) as uow:
        if state is InvoiceState.VOID:
            void(uow, invoice.id, "mistake", NOW)
        grant_customer_credit(uow, "acme", "USD", Money("in", TOTAL, NOW), NOW)
    assert company.invoices("acme")[0].state is state
    refused = (RuleBrokenError, "invoice_not_refundable")
    money = Money("r", 500, NOW)
    assert refusal(company, lambda uow: refund(uow, invoice.id, money, NOW, reopens=reopens)) == refused
    assert refusal(company, lambda uow: pay_back(uow, invoice.id, money, NOW, beyond_paid=True)) == refused
    assert refusal(company, lambda uow: refund_invoice(uow, invoice.id, "r", 500, NOW)) == refused
    assert sound(company)


def test_what_was_paid_of_a_debt_given_up_is_paid_back(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi", 1_000, NOW), NOW)
        give_up(uow, invoice.id, NOW)
    after = write(company, lambda uow: refund_invoice(uow, invoice.id, "r1", 400, NOW).invoice)
    assert (after.state, after.open_minor) == (InvoiceState.UNCOLLECTIBLE, 400)
    assert refusal(company, lambda uow: refund_invoice(uow, invoice.id, "r2", 601, NOW))[1] == "refund_above_paid"
    write(company, lambda uow: (grant_customer_credit(uow, "acme", "USD", Money("in", 100, NOW), NOW), invoice)[1])
    after = write(company, lambda uow: refund_invoice(uow, invoice.id, "r3", 100, NOW).invoice)
    assert (after.state, after.open_minor) == (InvoiceState.UNCOLLECTIBLE, 400), "out of credit"
    assert sound(company)


def test_what_was_paid_back_of_a_debt_given_up_is_given_up_too_and_all_of_it_can_be_paid(
    company: Company, invoice: Invoice
) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi", 1_000, NOW), NOW)
        give_up(uow, invoice.id, NOW)
    write(company, lambda uow: refund_invoice(uow, invoice.id, "r1", 400, NOW).invoice)
    for _ in range(2):
        after = write(company, lambda uow: give_up(uow, invoice.id, NOW))
        assert (after.state, after.open_minor) == (InvoiceState.UNCOLLECTIBLE, 0)
        with company.database.reading(company.tenant) as uow:
            assert balance(uow, Account("bad_debt", "USD")) == (TOTAL - 1_000 + 400) * CENT
            assert balance(uow, Account("receivable", "USD", "acme")) == 0
    after = write(company, lambda uow: pay(uow, invoice.id, Money("pi2", TOTAL - 600, NOW), NOW))
    assert (after.state, after.open_minor) == (InvoiceState.PAID, 0)
    assert sound(company)


# What is gone is recorded.


def test_more_than_was_paid_is_recorded_only_where_it_is_gone_and_then_asked_for(
    company: Company, invoice: Invoice
) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL, NOW), NOW))
    too_much = Money("r", TOTAL + 500, NOW)
    assert refusal(company, lambda uow: pay_back(uow, invoice.id, too_much, NOW))[1] == "refund_above_paid"
    after = write(company, lambda uow: pay_back(uow, invoice.id, too_much, NOW, beyond_paid=True))
    assert (after.state, after.open_minor) == (InvoiceState.FINALISED, TOTAL + 500)
    assert sound(company)
    after = write(company, lambda uow: pay(uow, invoice.id, Money("pi2", TOTAL + 500, NOW), NOW))
    assert (after.state, after.open_minor) == (InvoiceState.PAID, 0)


def test_what_went_back_out_of_credit_is_not_paid_back_again(company: Company, invoice: Invoice) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL + 300, NOW), NOW))
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("c", invoice.id, "goodwill", NOW.date()), NOW)
    after = write(company, lambda uow: refund_invoice(uow, invoice.id, "r1", TOTAL, NOW).invoice)
    assert (after.state, after.open_minor) == (InvoiceState.PAID, 0)
    assert refusal(company, lambda uow: refund_invoice(uow, invoice.id, "r2", 301, NOW))[1] == "refund_above_paid"
    write(company, lambda uow: refund_invoice(uow, invoice.id, "r3", 300, NOW).invoice)
    assert refusal(company, lambda uow: refund_invoice(uow, invoice.id, "r4", 1, NOW))[1] == "refund_above_paid"


def test_credit_beyond_what_was_paid_of_an_invoice_goes_back_all_the_same(company: Company, invoice: Invoice) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL, NOW), NOW))
    with company.database.writing(company.tenant) as uow:
        grant_customer_credit(uow, "acme", "USD", Money("in", TOTAL + 1, NOW), NOW)
    after = write(company, lambda uow: refund_invoice(uow, invoice.id, "r1", TOTAL + 1, NOW).invoice)
    assert (after.state, after.open_minor) == (InvoiceState.PAID, 0)


def test_an_overpayment_that_went_back_leaves_what_was_paid_to_be_paid_back(company: Company, invoice: Invoice) -> None:
    write(company, lambda uow: pay(uow, invoice.id, Money("pi", TOTAL + 300, NOW), NOW))
    write(company, lambda uow: refund_invoice(uow, invoice.id, "r1", 300, NOW).invoice)
    assert write(company, lambda uow: refund_invoice(uow, invoice.id, "r2", TOTAL, NOW).invoice).open_minor == TOTAL


def test_what_one_invoice_was_paid_back_too_much_is_not_paid_back_on_another(
    company: Company, invoice: Invoice
) -> None:
    company.close("2026-02", "2026-03-01T01:00")
    second = company.invoices("acme")[1]
    for each in (invoice, second):
        write(company, lambda uow, each=each: pay(uow, each.id, Money(each.id, TOTAL, NOW), NOW))
    gone = Money("r", TOTAL + 500, NOW)
    write(company, lambda uow: pay_back(uow, invoice.id, gone, NOW, beyond_paid=True))
    most = TOTAL - 500
    refused = refusal(company, lambda uow: refund_invoice(uow, second.id, "r2", most + 1, NOW))
    assert refused == (RuleBrokenError, "refund_above_paid")
    assert write(company, lambda uow: refund_invoice(uow, second.id, "r3", most, NOW).invoice).open_minor == most
