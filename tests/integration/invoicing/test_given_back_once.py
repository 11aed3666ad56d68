"""Credit notes and corrections of the same thing, in either order: no money is given back twice."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoices import Invoice
from billing.ledger import balance
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.repositories.credit_notes import CreditNote
from billing.repositories.price_books import PriceBookRepository
from billing.settlements import Money, pay
from billing.subscriptions import Who, cancel, change_selection, drop_feature, record
from billing.verification import verify
from models.values.errors import RuleBrokenError
from pricing_engine.coupons import parse_coupon
from tests.billing_story import Company, at, event

CENT = 10**6
CANCELLED = {
    "specversion": "1.0", "id": "x1", "source": "test", "type": "llm.request", "subject": "acme",
    "time": "2026-02-05T00:00:00Z", "correctsid": "e1", "cancels": True,
}  # fmt: skip


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def sold(company: Company, selection: Mapping[str, str], starts: str = "2026-01-01") -> None:
    company.subscribe("acme", company.publish(), selection, starts)


def paid(company: Company) -> Invoice:
    """Return the latest invoice, paid."""
    invoice = company.invoices("acme")[-1]
    with company.database.writing(company.tenant) as uow:
        return pay(uow, invoice.id, Money(invoice.id, invoice.open_minor, at("2026-02-02")), at("2026-02-02"))


def paid_usage(company: Company) -> Invoice:
    """Bill one event of January: 210.90, paid."""
    sold(company, {"tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-05", 100_000)], "2026-01-06")
    company.close("2026-01", "2026-02-01T01:00")
    return paid(company)


def credit(company: Company, invoice: Invoice, key: str, lines: Mapping[int, int] | None = None) -> CreditNote:
    day = at("2026-02-03")
    with company.database.writing(company.tenant) as uow:
        return issue_credit_note(uow, CreditRequest(key, invoice.id, "wrong", day.date(), lines), day)


def given_back(company: Company) -> int:
    """Return the customer's credit in cents, of books that hold."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow).is_sound
        assert verify(uow, BOOKS_CHECKS).is_sound
        return -balance(uow, Account("customer_credit", "USD", "acme")) // CENT


def ended(company: Company, when: str, recorded: str) -> None:
    subscription = company.subscription("sub-acme")
    with company.database.writing(company.tenant) as uow:
        record(uow, cancel(subscription, at(when), Who(at(recorded))))


@pytest.mark.parametrize(("credited", "then"), [(21090, 21090), (21089, 21090), (9000, 21090)])
def test_what_a_note_gave_back_a_correction_does_not(company: Company, credited: int, then: int) -> None:
    credit(company, paid_usage(company), "k", {1: credited})
    assert given_back(company) == credited
    company.ingest([CANCELLED], "2026-02-05")
    for month, now in (("2026-02", "2026-03-01T01:00"), ("2026-03", "2026-04-01T01:00")):
        company.close(month, now)
        assert given_back(company) == then
    [_, correction] = company.invoices("acme")
    assert [(line.exact, line.quantity) for line in correction.lines] == [(Decimal(credited - 21090) / 100, -100_000)]


def test_what_a_correction_gave_back_a_note_does_not(company: Company) -> None:
    invoice = paid_usage(company)
    company.ingest([CANCELLED], "2026-02-05")
    company.close("2026-02", "2026-03-01T01:00")
    with pytest.raises(RuleBrokenError) as refused:
        credit(company, invoice, "k")
    assert (refused.value.code, refused.value.field) == ("not_creditable", "invoice")
    with pytest.raises(RuleBrokenError) as refused:
        credit(company, invoice, "k", {1: 1})
    assert (refused.value.code, refused.value.field, refused.value.value) == ("not_creditable", "lines.1", "0.01")
    assert given_back(company) == 21090


def test_a_note_issued_between_what_a_close_reads_and_posts_counts(company: Company) -> None:
    invoice = paid_usage(company)
    company.ingest([CANCELLED], "2026-02-05")
    company.close("2026-02", "2026-03-01T01:00", meanwhile=lambda: credit(company, invoice, "k", {1: 9000}))
    assert given_back(company) == 21090


def test_a_coupon_taken_between_what_a_close_reads_and_posts_is_taken_once(company: Company) -> None:
    """A threshold in the month that runs on takes the only turn of a coupon."""
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"}, thresholds=Thresholds((Decimal(1),)))
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "once", "percent_off": "50"}), None, at("2026-01-01"))
        grant_coupon(uow, "acme", "once", at("2026-01-01"), at("2026-01-01"))
    company.ingest([event(1, "acme", "2026-01-05", 100), event(2, "acme", "2026-02-01", 1000)], "2026-02-01T00:30")

    def reach() -> None:
        with company.database.writing(company.tenant) as uow:
            assert bill_thresholds(uow, "acme", at("2026-02-01T02:00"), at("2026-02-01T02:00"))

    company.close("2026-01", "2026-02-01T01:00", meanwhile=reach)
    assert sorted(invoice.exact for invoice in company.invoices("acme")) == [Decimal("0.3"), Decimal("1.5")]


def test_a_correction_counts_from_its_charge_on(company: Company) -> None:
    invoice = paid_usage(company)
    company.ingest([CANCELLED], "2026-02-05")
    company.close("2026-02", "2026-03-01T01:00", grace_days=3)
    assert company.invoices("acme")[1].number is None
    with pytest.raises(RuleBrokenError):
        credit(company, invoice, "k")


def test_usage_that_comes_in_after_a_note_is_billed_beyond_it_alone(company: Company) -> None:
    credit(company, paid_usage(company), "k")
    company.ingest([CANCELLED, event(2, "acme", "2026-01-07", 100_100)], "2026-02-05")
    company.close("2026-02", "2026-03-01T01:00")
    assert company.invoices("acme")[1].total_minor == 21  # 211.11 for all of January, 210.90 of it billed.
    assert given_back(company) == 21090 - 21


def test_of_a_feature_dropped_after_it_was_billed_ahead_only_the_rest_is_credited(company: Company) -> None:
    sold(company, {"support": "1", "seats": "3"})
    company.close("2026-01", "2026-02-01T01:00")
    subscription = company.subscription("sub-acme")
    with company.database.writing(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
        record(uow, drop_feature(subscription, book, "support", at("2026-02-15"), Who(at("2026-02-15"))))
    company.close("2026-02", "2026-03-01T01:00")
    january = company.invoices("acme")[0]
    assert [line.net_minor for line in january.lines] == [3000, 6200, 6200]
    note = credit(company, january, "k")
    assert [(line.line, line.net_minor) for line in note.lines] == [(1, 3000), (2, 6200), (3, 3100)]


def test_a_month_that_was_credited_and_is_cut_anew_costs_nothing(company: Company) -> None:
    sold(company, {"seats": "31"})
    company.close("2026-01", "2026-02-01T01:00")
    credit(company, paid(company), "k")
    subscription = company.subscription("sub-acme")
    with company.database.writing(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
        chosen = {"seats": Decimal(31), "calls": Decimal(1)}
        record(uow, change_selection(subscription, book, chosen, at("2026-01-21"), Who(at("2026-02-04"))))
    company.close("2026-02", "2026-03-01T01:00")
    lines = [line for line in company.invoices("acme")[1].lines if line.service.end <= at("2026-02-01")]
    assert [(line.exact, line.quantity) for line in lines] == [(Decimal(-110), 0), (Decimal(110), 31)]
    ended(company, "2026-01-01", "2026-03-02")
    company.close("2026-03", "2026-04-01T01:00")
    assert given_back(company) == 31000  # It paid February, which comes back; of January nothing is left.


@pytest.mark.parametrize(("at_first", "credited"), [(True, 5), (True, None), (False, None)])
def test_with_a_coupon_no_more_is_given_back_than_was_paid(
    company: Company, at_first: bool, credited: int | None
) -> None:
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "half", "percent_off": "50"}), None, at("2025-12-01"))
        grant_coupon(uow, "acme", "half", at("2025-12-01"), at("2025-12-01"))
    sold(company, {"support": "1"})
    company.close("2025-12", "2026-01-01T01:00")
    invoice = paid(company)
    assert (invoice.lines[0].net_minor, invoice.total_minor) == (6200, 3100)
    lines = None if credited is None else {1: credited * 100}
    if at_first:
        credit(company, invoice, "k", lines)
    ended(company, "2026-01-01", "2026-01-02")
    company.close("2026-01", "2026-02-01T01:00")
    if not at_first:
        with pytest.raises(RuleBrokenError):
            credit(company, invoice, "k", {1: 1})
    assert given_back(company) == 3100


def test_of_a_line_with_a_coupon_no_more_is_credited_than_was_to_be_paid(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        coupon = {"key": "half", "percent_off": "50", "features": ["support"]}
        define_coupon(uow, parse_coupon(coupon), None, at("2025-12-01"))
        grant_coupon(uow, "acme", "half", at("2025-12-01"), at("2025-12-01"))
    sold(company, {"support": "1", "seats": "3"})
    company.close("2026-01", "2026-02-01T01:00")
    [invoice] = company.invoices("acme")
    seats, *support = [line for line in invoice.lines if line.kind.value == "recurring"]
    assert seats.net_minor + sum(line.net_minor // 2 for line in support) == invoice.net_minor
    with pytest.raises(RuleBrokenError):
        credit(company, invoice, "k", {support[0].line: 3101})
    note = credit(company, invoice, "k")
    assert sorted(line.net_minor for line in note.lines) == [3000, 3100, 3100]


def test_notes_recorded_by_a_clock_that_runs_ahead_count_too(company: Company) -> None:
    invoice, later = paid_usage(company), at("2026-03-01T01:00") + timedelta(hours=1)
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k", invoice.id, "wrong", later.date()), later)
    company.ingest([CANCELLED], "2026-02-05")
    company.close("2026-02", "2026-03-01T01:00")
    assert given_back(company) == 21090
