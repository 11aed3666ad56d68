"""A subscription that ended within a month keeps what was billed of it, whatever comes late for that month."""

from __future__ import annotations

from decimal import Decimal

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.subscriptions import Who, cancel, record
from billing.verification import verify
from tests.billing_story import Company, at, event


def test_a_late_event_after_the_end_takes_nothing_back(database: Database) -> None:
    company = Company(database)
    company.found("acme")
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "1"})
    company.subscribe("acme", book, {"tokens": "1"}, id="other")
    with database.writing(company.tenant) as uow:
        record(uow, cancel(company.subscription("sub-acme"), at("2026-01-11"), Who(at("2026-01-11"))))
    company.ingest([event(1, "acme", "2026-01-05", 100)], "2026-01-05T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event(2, "acme", "2026-01-20", 100)], "2026-02-03")
    company.close("2026-02", "2026-03-01T01:00")
    january, february = company.invoices("acme")
    assert [line.exact for line in february.lines] == [Decimal("0.3")]
    assert [line.subscription for line in february.lines] == ["other"]
    with database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).findings == ()
    assert january.exact == Decimal("0.6") + Decimal("3.225806451612903226")
