"""An invoice's life: drafted, numbered, paid, credited, voided, given up; and what the database refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from billing.chart_of_accounts import Account
from billing.credit_notes import CreditRequest, issue_credit_note, plan_credit
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import finalise, give_up, void
from billing.ledger import balance
from billing.repositories.credit_notes import CreditedLine, CreditNote, CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.documents import DocumentRepository
from billing.repositories.invoices import InvoiceRepository
from billing.settlements import Money, grant_customer_credit, pay, refund
from billing.tax import FixedRate
from billing.verification import verify
from models.values.errors import ConflictError, NotFoundError, RuleBrokenError
from tests.billing_story import Company, at
from tests.made_invoice import made_invoice

NOW = at("2026-02-10")
CENT = 10**6


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database, rates=FixedRate("vat", Decimal(20)))
    company.found("acme")
    book = company.publish()
    company.subscribe("acme", book, {"seats": "3"})
    company.close("2026-01", "2026-02-01T01:00")
    return company


@pytest.fixture
def invoice(company: Company) -> Invoice:
    return company.invoices("acme")[0]


def accounts(company: Company, *codes: str) -> list[int]:
    with company.database.reading(company.tenant) as uow:
        assert verify(uow).is_sound
        return [balance(uow, Account(code, "USD", "" if code == "bad_debt" else "acme")) for code in codes]


def test_numbers_run_without_gap_in_each_entity_kind_and_year(database: Database) -> None:
    with database.writing("default") as uow:
        for entity in ("main", "branch"):
            CustomerRepository(uow).save_legal_entity(LegalEntity(entity, entity, "DE"))
        taken = [
            list(DocumentRepository(uow).next_numbers(entity, kind, year, count))
            for entity, kind, year, count in (
                ("main", "invoice", 2026, 3), ("main", "invoice", 2027, 2), ("main", "credit_note", 2026, 1),
                ("branch", "invoice", 2026, 1), ("main", "invoice", 2026, 2), ("main", "invoice", 2027, 1),
            )
        ]  # fmt: skip
    assert taken == [[1, 2, 3], [1, 2], [1], [1], [4, 5], [3]]


def test_a_number_that_two_entities_gave_names_no_document(company: Company, invoice: Invoice) -> None:
    """Nothing is paid, refunded or shown by such a number: it would be one or the other."""
    with company.database.writing(company.tenant) as uow:
        CustomerRepository(uow).save_legal_entity(LegalEntity("second", "Second Ltd", "DE"))
        beta = Customer("beta", "second", "beta GmbH", "DE", "USD")
        CustomerRepository(uow).save([beta], NOW)
    book = company.subscription("sub-acme").phases[0].agreement.book_hash
    company.subscribe("beta", book, {"seats": "3"}, "2026-02-01")
    company.close("2026-02", "2026-03-01T01:00")
    (other,) = company.invoices("beta")
    assert other.number == invoice.number
    later = at("2026-03-02")
    with company.database.writing(company.tenant) as uow:
        notes = [
            issue_credit_note(uow, CreditRequest(each.id, each.id, "sorry", later.date(), {1: 1}), later)
            for each in (invoice, other)
        ]
    assert notes[0].number == notes[1].number
    for find, name in (
        (lambda uow: InvoiceRepository(uow).get(other.number), other.number),
        (lambda uow: pay(uow, other.number, Money("p", 1, NOW), NOW), other.number),
        (lambda uow: CreditNoteRepository(uow).get(notes[0].number), notes[0].number),
    ):
        with pytest.raises(ConflictError) as refused, company.database.writing(company.tenant) as uow:
            find(uow)
        assert (refused.value.code, refused.value.value) == ("ambiguous_number", name)
    with company.database.reading(company.tenant) as uow:
        assert InvoiceRepository(uow).get(other.id).customer == "beta"


def test_a_payment_settles_and_a_repeat_changes_nothing(company: Company, invoice: Invoice) -> None:
    assert (invoice.net_minor, invoice.tax_minor, invoice.total_minor) == (3000, 600, 3600)
    for _ in range(2):
        with company.database.writing(company.tenant) as uow:
            paid = pay(uow, invoice.id, Money("pi_1", 3600, NOW), NOW)
    assert (paid.state, paid.open_minor) == (InvoiceState.PAID, 0)
    assert accounts(company, "receivable") == [0]


def test_a_key_used_again_for_another_payment_is_refused(company: Company, invoice: Invoice) -> None:
    def paid(minor: int, processor: str = "manual") -> None:
        with company.database.writing(company.tenant) as uow:
            pay(uow, invoice.id, Money("k", minor, NOW, processor), NOW)

    paid(50)
    before = company.invoices("acme")
    for minor, processor in ((49, "manual"), (100, "manual"), (50, "bank")):
        with pytest.raises(ConflictError) as refused:
            paid(minor, processor)
        assert refused.value.code == "settlement_conflict"
    paid(50)
    assert company.invoices("acme") == before


def test_what_is_paid_too_much_becomes_credit_and_pays_the_next_invoice(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi_1", 5000, NOW), NOW)
    assert accounts(company, "receivable", "customer_credit") == [0, -1400 * CENT]
    company.close("2026-02", "2026-03-01T01:00")
    february = company.invoices("acme")[1]
    assert (february.settled_minor, february.open_minor) == (1400, 2200)
    assert accounts(company, "receivable", "customer_credit") == [2200 * CENT, 0]


def test_a_credit_note_reduces_what_is_open_by_net_and_tax(company: Company, invoice: Invoice) -> None:
    request = CreditRequest("k1", invoice.id, "one seat too many", date(2026, 2, 10), {1: 1000})
    with company.database.writing(company.tenant) as uow:
        note = issue_credit_note(uow, request, NOW)
        assert issue_credit_note(uow, request, NOW) == note
    assert (note.number, note.net_minor, note.tax_minor, note.total_minor) == ("INV-C-2026-000001", 1000, 200, 1200)
    after = company.invoices("acme")[0]
    assert (after.open_minor, after.lines) == (2400, invoice.lines)
    assert accounts(company, "receivable", "customer_credit") == [2400 * CENT, 0]


def test_a_credit_note_over_a_paid_invoice_becomes_credit(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi_1", 3600, NOW), NOW)
        issue_credit_note(uow, CreditRequest("k1", invoice.id, "all of it", date(2026, 2, 10)), NOW)
    assert accounts(company, "receivable", "customer_credit") == [0, -3600 * CENT]


def test_no_more_is_credited_than_was_billed(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k1", invoice.id, "a part", date(2026, 2, 10), {1: 2500}), NOW)
    with pytest.raises(RuleBrokenError) as refused, company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k2", invoice.id, "too much", date(2026, 2, 10), {1: 501}), NOW)
    assert str(refused.value) == "lines.1: at most 5 is creditable, got '5.01'"
    assert refused.value.code == "not_creditable"
    with company.database.writing(company.tenant) as uow:
        rest = issue_credit_note(uow, CreditRequest("k3", invoice.id, "the rest", date(2026, 2, 10)), NOW)
    assert (rest.net_minor, rest.tax_minor) == (500, 100)
    with pytest.raises(RuleBrokenError), company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k4", invoice.id, "more", date(2026, 2, 10)), NOW)


def test_a_line_that_takes_off_lowers_what_may_be_credited_in_all() -> None:
    whole = made_invoice(3000, Decimal(20))
    [line] = whole.lines
    off = replace(line, line=2, net_minor=-1000, tax_minor=-200)
    less = replace(whole, lines=(line, off), net_minor=2000, tax_minor=400, total_minor=2400)
    with pytest.raises(RuleBrokenError) as refused:
        plan_credit(less, [], {1: 2001})
    assert (refused.value.code, refused.value.field, refused.value.value) == ("not_creditable", "lines", "20.01")
    with pytest.raises(NotFoundError) as unknown:
        plan_credit(less, [], {9: 1})
    assert (unknown.value.code, unknown.value.field) == ("unknown_invoice_line", "lines.9")
    assert plan_credit(less, [], {1: 2000}) == plan_credit(less, [], None) == [CreditedLine(1, 2000, 400)]


def test_notes_over_the_parts_of_a_line_take_back_the_tax_it_bore() -> None:
    invoice, notes, taxes = made_invoice(3, Decimal(20)), [], []
    for number in range(3):
        lines = tuple(plan_credit(invoice, notes, {1: 1}))
        taxes += [line.tax_minor for line in lines]
        key, issued_on = str(number), date(2026, 2, 10)
        of = (invoice.id, invoice.legal_entity, invoice.customer, invoice.currency)
        notes.append(
            CreditNote(key, key, key, *of, "2026-02", issued_on, "a third", 1, taxes[-1], 1 + taxes[-1], lines)
        )
    assert taxes == [0, 1, 0]


def test_a_refund_reopens_only_without_a_credit_note(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi_1", 3600, NOW), NOW)
        assert refund(uow, invoice.id, Money("re_1", 1000, NOW), NOW, reopens=True).open_minor == 1000
        issue_credit_note(uow, CreditRequest("k1", invoice.id, "goodwill", date(2026, 2, 10), {1: 1000}), NOW)
        after = refund(uow, invoice.id, Money("re_2", 200, NOW), NOW, reopens=False)
    assert after.open_minor == 0
    assert accounts(company, "receivable", "customer_credit") == [0, 0]
    with pytest.raises(RuleBrokenError) as refused, company.database.writing(company.tenant) as uow:
        refund(uow, invoice.id, Money("re_3", 3000, NOW), NOW, reopens=True)
    assert refused.value.code == "refund_above_paid"


def test_a_void_frees_the_usage_for_the_next_invoice_and_keeps_the_number(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "wrong address", NOW)
        assert void(uow, invoice.id, "again", NOW).state is InvoiceState.VOID
    assert accounts(company, "receivable", "unbilled") == [0, 30 * 100 * CENT]
    company.close("2026-02", "2026-03-01T01:00")
    voided, both = company.invoices("acme")
    assert (voided.number, both.number) == ("INV-2026-000001", "INV-2026-000002")
    assert (voided.exact, both.exact) == (Decimal(30), Decimal(60))
    assert (voided.total_minor, voided.open_minor, both.open_minor) == (3600, 0, 7200)
    assert accounts(company, "receivable", "unbilled") == [7200 * CENT, 0]


def test_a_paid_invoice_is_not_voided_until_the_money_went_back(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        pay(uow, invoice.id, Money("pi_1", 3600, NOW), NOW)
    with pytest.raises(RuleBrokenError) as refused, company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "mistake", NOW)
    assert refused.value.code == "invoice_not_voidable"
    with company.database.writing(company.tenant) as uow:
        refund(uow, invoice.id, Money("re_1", 3600, NOW), NOW, reopens=True)
        assert void(uow, invoice.id, "mistake", NOW).state is InvoiceState.VOID


def test_only_what_was_asked_for_and_is_open_is_given_up(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "mistake", NOW)
    company.close("2026-02", "2026-03-02", grace_days=30)
    [draft] = [each for each in company.invoices("acme") if each.state is InvoiceState.DRAFT]
    for refused_id in (invoice.id, draft.id):
        with pytest.raises(RuleBrokenError) as refused, company.database.writing(company.tenant) as uow:
            give_up(uow, refused_id, NOW)
        assert refused.value.code == "nothing_open"
    assert accounts(company, "bad_debt") == [0]


def test_a_debt_that_was_given_up_can_still_be_paid(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        assert give_up(uow, invoice.id, NOW).state is InvoiceState.UNCOLLECTIBLE
    assert accounts(company, "receivable", "bad_debt") == [0, 3600 * CENT]
    with company.database.writing(company.tenant) as uow:
        assert pay(uow, invoice.id, Money("pi_1", 3600, NOW), NOW).state is InvoiceState.PAID
    assert accounts(company, "receivable") == [0]


def test_credit_pays_what_is_open_and_then_later_invoices(company: Company, invoice: Invoice) -> None:
    with company.database.writing(company.tenant) as uow:
        paid = grant_customer_credit(uow, "acme", "USD", Money("tr_1", 5000, NOW), NOW)
        assert grant_customer_credit(uow, "acme", "USD", Money("tr_1", 5000, NOW), NOW) == []
    assert [each.id for each in paid] == [invoice.id]
    company.close("2026-02", "2026-03-01T01:00")
    assert company.invoices("acme")[1].open_minor == 2200


FORBIDDEN = (
    "update invoice set total_minor = total_minor + 1, net_minor = net_minor + 1",
    "update invoice set number = 'X'",
    "update invoice set state = 'draft', number = null",
    "delete from invoice",
    "update invoice_line set net_minor = 0",
    "delete from invoice_line_source",
    "update rated_usage set feature = 'x'",
    "delete from charge",
    "update charge set units = 0",
    "update number_series set last_number = last_number + 2",
    "delete from document_log",
    "update subscription_phase set action = 'x'",
)


def test_the_database_itself_refuses_to_change_what_is_finalised(company: Company) -> None:
    before = company.invoices("acme")
    for statement in FORBIDDEN:
        with pytest.raises(DatabaseError, match="invoices: "), company.database.writing(company.tenant) as uow:
            uow.connection.execute(text(statement))
    assert company.invoices("acme") == before


def test_a_draft_in_its_grace_period_is_not_finalised(database: Database) -> None:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "1"})
    result = company.close("2026-01", "2026-02-01T01:00", grace_days=3)
    assert (result.invoices, len(result.drafts)) == ((), 1)
    draft = company.invoices("acme")[0]
    assert (draft.state, draft.number) == (InvoiceState.DRAFT, None)
    with pytest.raises(RuleBrokenError) as refused, database.writing(company.tenant) as uow:
        finalise(uow, [draft.id], at("2026-02-02"))
    assert refused.value.code == "in_grace_period"
    with database.writing(company.tenant) as uow:
        due = InvoiceRepository(uow).drafts_due(at("2026-02-04T02:00"))
        (final,) = finalise(uow, due, at("2026-02-04T02:00"))
    assert final.number == "INV-2026-000001"
