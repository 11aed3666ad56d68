"""What is billed in advance is deferred, and recognised as its service is given, whatever happens to it meanwhile."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.ledger import balance
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Who, add_feature, cancel, drop_feature, pause
from billing.verification import verify
from models.values.money import currency, round_to_ledger_units
from models.values.period import BillingCycle, Interval
from pricing_engine.coupons import parse_coupon
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, UTC_ZONE, Company, at, make

YEARLY = BillingCycle.calendar(Interval.YEAR, UTC_ZONE)


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme", "beta")
    return company


def standing(company: Company) -> tuple[int, int]:
    """Deferred and revenue of support in ledger units, in books that are sound."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow).findings == ()
        deferred = -balance(uow, Account("deferred_revenue", "USD", "acme", "support"))
        return deferred, -balance(uow, Account("revenue", "USD", "", "support"))


def of_year(amount: int, days: int) -> int:
    """The part of an amount for so many days of the year, in ledger units."""
    return round_to_ledger_units(Fraction(amount * days, 365), currency("USD"))


def test_a_year_billed_in_advance_is_earned_by_the_day(company: Company) -> None:
    company.subscribe("acme", company.publish(), {"support": "1"}, cycle=YEARLY)
    company.close("2026-01", "2026-02-01T01:00")
    whole, january = 62 * 10**8, of_year(62, 31)
    assert standing(company) == (whole - january, january)
    company.close("2026-02", "2026-03-01T01:00")
    february = of_year(62, 59)
    assert standing(company) == (whole - february, february)


@pytest.mark.parametrize("change", ["cancel", "pause", "drop"])
def test_a_year_billed_in_advance_may_end_at_any_hour(company: Company, change: str) -> None:
    """Its amount is prorated by days, its revenue by hours: what is given back may be more than what is left of it."""
    book = company.publish()
    subscription = company.subscribe("acme", book, {"support": "1", "seats": "1"}, cycle=YEARLY)
    company.subscribe("beta", book, {"seats": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    evening = at("2026-02-10T18:00")
    changes = {
        "cancel": lambda: cancel(subscription, evening, Who(evening)),
        "pause": lambda: pause(subscription, evening, Who(evening)),
        "drop": lambda: drop_feature(subscription, parse_price_book(BOOK), "support", evening, Who(evening)),
    }
    make(company, changes[change]())
    company.close("2026-02", "2026-03-01T01:00")
    kept = of_year(62, 40)
    assert standing(company) == (0, kept)
    company.close("2026-03", "2026-04-01T01:00")
    assert standing(company) == (0, kept)
    assert len(company.invoices("beta")) == 3


def test_a_coupon_is_deferred_and_given_back_with_what_it_is_for(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"support": "1"}, cycle=YEARLY)
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "half", "percent_off": "50"}), None, at("2026-01-01"))
        grant_coupon(uow, "acme", "half", at("2026-01-01"), at("2026-01-01"))
    company.close("2026-01", "2026-02-01T01:00")
    deferred, earned = standing(company)
    assert (deferred + earned, deferred) == (31 * 10**8, of_year(31, 334))
    make(company, cancel(subscription, at("2026-02-10T18:00"), Who(at("2026-02-10T18:00"))))
    company.close("2026-02", "2026-03-01T01:00")
    billed = sum((invoice.exact for invoice in company.invoices("acme")), Decimal(0))
    assert standing(company) == (0, round_to_ledger_units(billed, currency("USD")))


def test_a_coupon_counts_over_all_stretches_that_its_period_is_cut_into(company: Company) -> None:
    """A feature of no price is added on the hundredth day: half of 62 stays half, before as after."""
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "half", "percent_off": "50"}), None, at("2025-12-01"))
        grant_coupon(uow, "acme", "half", at("2025-12-01"), at("2025-12-01"))
    book = company.publish()
    subscription = company.subscribe("acme", book, {"support": "1"}, cycle=YEARLY)
    company.close("2025-12", "2026-01-01T01:00")
    with company.database.reading(company.tenant) as uow:
        prices = PriceBookRepository(uow).get(book).book
    make(company, add_feature(subscription, prices, "tokens", Decimal(1), at("2026-04-10"), Who(at("2026-04-10"))))
    for month, now, days in (("2026-03", "2026-04-11", 90), ("2026-04", "2026-05-01T01:00", 120)):
        company.close(month, now)
        earned = of_year(31, days)
        assert standing(company) == (31 * 10**8 - earned, earned)


def credit(company: Company, key: str, net_minor: int | None = None) -> None:
    """Credit a part of the only line of acme's first invoice on 10 February, or what is left of it."""
    invoice, now = company.invoices("acme")[0], at("2026-02-10T09:00")
    nets = None if net_minor is None else {1: net_minor}
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest(key, invoice.id, "goodwill", now.date(), nets), now)


def test_a_credit_note_takes_off_what_is_deferred_its_part(company: Company) -> None:
    company.subscribe("acme", company.publish(), {"support": "1"}, cycle=YEARLY)
    company.close("2026-01", "2026-02-01T01:00")
    credit(company, "half", 3100)
    assert standing(company) == (of_year(31, 334), of_year(31, 31))
    company.close("2026-02", "2026-03-01T01:00")
    assert standing(company) == (of_year(31, 306), of_year(31, 59))
    credit(company, "rest")
    assert standing(company) == (0, 0)
    company.close("2026-03", "2026-04-01T01:00")
    assert standing(company) == (0, 0)


def test_of_what_a_note_left_the_part_until_a_cancellation_is_earned(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"support": "1"}, cycle=YEARLY)
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "half", "percent_off": "50"}), None, at("2026-01-01"))
        grant_coupon(uow, "acme", "half", at("2026-01-01"), at("2026-01-01"))
    company.close("2026-01", "2026-02-01T01:00")
    credit(company, "a tenth", 310)
    deferred, earned = standing(company)
    assert (deferred + earned, deferred) == (279 * 10**7, of_year(31, 334) * 9 // 10)
    make(company, cancel(subscription, at("2026-02-10T18:00"), Who(at("2026-02-10T18:00"))))
    company.close("2026-02", "2026-03-01T01:00")
    billed = sum((invoice.exact for invoice in company.invoices("acme")), Decimal(0)) - Decimal("3.10")
    assert standing(company) == (0, round_to_ledger_units(billed, currency("USD")))


def test_a_month_that_is_closed_again_recognises_again(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"support": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    assert standing(company) == (62 * 10**8, 62 * 10**8)
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-01", "cancelled by phone", "ann", at("2026-02-01T02:00"))
    make(company, cancel(subscription, at("2026-01-31"), Who(at("2026-02-01T03:00"))))
    company.close("2026-01", "2026-02-01T04:00")
    assert standing(company) == (0, 60 * 10**8)


def test_the_last_day_is_that_of_the_subscription(company: Company) -> None:
    """East of Greenwich a month begins before it does in UTC, and nothing of it is earned before it begins."""
    seoul = BillingCycle.calendar(Interval.MONTH, ZoneInfo("Asia/Seoul"))
    company.subscribe("acme", company.publish(), {"support": "1"}, starts="2025-12-31T15:00", cycle=seoul)
    company.close("2026-01", "2026-02-01T01:00")
    assert standing(company) == (62 * 10**8, 62 * 10**8)
    company.close("2026-02", "2026-03-01T01:00")
    assert standing(company) == (62 * 10**8, 124 * 10**8)
