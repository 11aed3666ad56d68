"""A threshold reached while a month is closed, or by a clock that runs behind: the close bills that usage, once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.invoices import Invoice
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.verification import verify
from models.values.period import BillingCycle, Interval
from tests.billing_story import NO_TAX, UTC_ZONE, Company, at, event

FROM_THE_20TH = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 20, at("2026-01-20"))


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1"}, thresholds=Thresholds((Decimal(2),)))
    company.ingest([event(1, "acme", "2026-01-05", 900)], "2026-01-05T01:00")
    return company


def reach(company: Company, when: str) -> list[Invoice]:
    with company.database.writing(company.tenant) as uow:
        return bill_thresholds(uow, "acme", at(when), at(when), NO_TAX)


def billed(company: Company) -> list[Decimal]:
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).findings == ()
    return [each.exact for each in company.invoices("acme")]


def test_what_a_close_has_read_and_not_posted_is_left_to_it(company: Company) -> None:
    meanwhile: list[list[Invoice]] = []
    company.close("2026-01", "2026-02-01T00:01", meanwhile=lambda: meanwhile.append(reach(company, "2026-01-31T23:59")))
    assert meanwhile == [[]]
    assert billed(company) == [Decimal("2.7")]


def test_what_a_close_has_billed_is_not_taken_back_for_what_a_clock_behind_has_not_seen(company: Company) -> None:
    """The other subscription's period goes on: its usage is billed, nothing of the month that is closed."""
    book = company.subscription("sub-acme").phases[0].agreement.book_hash
    chosen = {"tokens": "1"}
    company.subscribe(
        "acme", book, chosen, "2026-01-20", id="b", cycle=FROM_THE_20TH, thresholds=Thresholds((Decimal(1),))
    )
    company.ingest([event(2, "acme", "2026-01-25", 900)], "2026-01-25T01:00")
    company.close("2026-01", "2026-02-01T00:01")
    # The 900 of the second, from its start, at 0.003; of all 1800 a thousand at 0.003, 800 at 0.0021.
    assert reach(company, "2026-01-31T23:59")
    company.close("2026-02", "2026-03-01T01:00")
    assert billed(company) == [Decimal("2.7"), Decimal("4.68")]
