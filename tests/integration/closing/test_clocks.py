"""Machines whose clocks differ: what a close has seen is told by what was stored, not by anybody's clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.close_tasks import CloseOutcome, CloseTask
from billing.closing import close, reopen
from billing.database import Database
from billing.metering.outcome import Status
from billing.subscriptions import Who, change_quantity, record
from billing.verification import verify
from models.values.errors import RuleBrokenError
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, Company, at, event


class StoppedError(Exception):
    """The close was stopped here."""


class Stopping:
    """Stops a close that has begun."""

    def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
        raise StoppedError


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1", "seats": "1"})
    return company


def billed(company: Company) -> list[Decimal]:
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).findings == ()
    return [each.exact for each in company.invoices("acme")]


def test_an_event_stored_by_a_clock_that_runs_ahead_is_billed_by_the_close(company: Company) -> None:
    """The other machine says it is two hours later; the event is stored before the close begins."""
    company.ingest([event(1, "acme", "2026-01-31T23:00", 100)], "2026-02-01T03:00")
    company.close("2026-01", "2026-02-01T01:00")
    assert billed(company) == [Decimal("10.3")]
    (late,) = company.ingest([event(2, "acme", "2026-01-31T23:30", 100)], "2026-02-01T01:30")
    assert late.late_for == "2026-01/1"
    company.close("2026-02", "2026-03-01T01:00")
    assert sum(billed(company)) == Decimal("20.6")


def test_a_change_recorded_by_a_clock_that_runs_behind_is_billed(company: Company) -> None:
    """Recorded after the close, with a time before it."""
    company.close("2026-01", "2026-02-01T01:00")
    now = Who(at("2026-02-01T00:30"))
    changed = change_quantity(
        company.subscription("sub-acme"), parse_price_book(BOOK), "seats", Decimal(2), at("2026-01-01"), now
    )
    with company.database.writing(company.tenant) as uow:
        record(uow, changed)
    company.close("2026-02", "2026-03-01T01:00")
    assert [each.exact for each in company.invoices("acme")] == [Decimal(10), Decimal(10 + 20)]


def test_a_clock_that_is_days_ahead_stops_the_close(company: Company) -> None:
    (accepted,) = company.ingest([event(1, "acme", "2026-01-31", 100)], "2026-03-01")
    assert accepted.status is Status.ACCEPTED
    with pytest.raises(RuleBrokenError) as refused:
        company.close("2026-01", "2026-02-01T01:00")
    assert (refused.value.code, "clocks" in refused.value.rule) == ("close_blocked", True)


def test_a_close_goes_on_by_a_clock_that_runs_behind(company: Company) -> None:
    """Its drafts are due at once, though they are not yet by that clock."""
    with pytest.raises(StoppedError):
        close(company.database, company.tenant, "2026-01", at("2026-02-01T01:00"), executor=Stopping())
    result = company.close("2026-01", "2026-02-01T00:58")
    assert (len(result.invoices), result.drafts, result.month.state) == (1, (), "closed")
    assert billed(company) == [Decimal(10)]


def test_an_event_for_the_month_before_a_reopened_one_is_late(company: Company) -> None:
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-02", "a price was wrong", "ann", at("2026-03-02"))
    outcomes = company.ingest([event(1, "acme", "2026-01-31T12:00", 100)], "2026-03-02T01:00")
    outcomes += company.ingest([event(2, "acme", "2026-02-28T12:00", 100)], "2026-03-02T01:00")
    assert [each.late_for != "" for each in outcomes] == [True, False]
    company.close("2026-02", "2026-03-03")
    assert sum(billed(company)) == Decimal("20.6")
