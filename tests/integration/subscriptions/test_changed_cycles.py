"""The billing cycle changes where periods are billed already: none is billed twice, none is taken back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.subscriptions import Who, change_cycle, change_selection
from billing.verification import verify
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, NO_TAX, UTC_ZONE, Company, at, event, make

QUARTERLY = BillingCycle.calendar(Interval.QUARTER, UTC_ZONE)


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def billed(company: Company) -> list[tuple[str, list[Decimal]]]:
    """Month and amounts of each invoice, of books that are sound."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).findings == ()
    return [(each.period, [line.exact for line in each.lines]) for each in company.invoices("acme")]


def test_a_longer_cycle_counts_what_shorter_ones_billed(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    make(company, change_cycle(subscription, QUARTERLY, at("2026-01-01"), Who(at("2026-02-03"))))
    company.close("2026-02", "2026-03-01T01:00")
    company.close("2026-03", "2026-04-01T01:00")
    company.close("2026-04", "2026-05-01T01:00")
    assert billed(company) == [("2026-01", [Decimal(10)])]


def test_what_a_longer_cycle_leaves_out_is_taken_back(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1", "sso": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    who = Who(at("2026-02-03"))
    make(company, change_cycle(subscription, QUARTERLY, at("2026-01-01"), who))
    changed = company.subscription(subscription.id)
    make(company, change_selection(changed, parse_price_book(BOOK), {"sso": Decimal(1)}, at("2026-01-01"), who))
    company.close("2026-02", "2026-03-01T01:00")
    company.close("2026-03", "2026-04-01T01:00")
    january, later = billed(company)
    assert january == ("2026-01", [Decimal(9), Decimal(558)])
    # Alone it comes to no more than the bundle of both: 567.
    assert later == ("2026-03", [Decimal(567 - 558), Decimal(-9)])


def test_a_threshold_after_a_new_anchor_bills_usage_alone(company: Company) -> None:
    """The first period to the new anchor is a part of one that begins in the month that was billed."""
    subscription = company.subscribe(
        "acme", company.publish(), {"seats": "10", "tokens": "1"}, thresholds=Thresholds((Decimal(1),))
    )
    company.close("2026-01", "2026-02-01T01:00")
    from_the_20th = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 20, at("2026-02-03"))
    make(company, change_cycle(subscription, from_the_20th, at("2026-02-03"), Who(at("2026-02-03"))))
    company.ingest([event(1, "acme", "2026-02-05", 1000)], "2026-02-05T01:00")
    with company.database.writing(company.tenant) as uow:
        bill_thresholds(uow, "acme", at("2026-02-06"), at("2026-02-06"), NO_TAX)
    company.close("2026-02", "2026-03-01T01:00")
    assert billed(company)[:2] == [("2026-01", [Decimal(100)]), ("2026-02", [Decimal(3)])]
