"""A company whose months hold what makes sealing hard: late events, corrections, zones, thresholds, a reopening."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from billing.closing import reopen
from billing.database import Database
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.sealed_usage.folder import SealFolder
from billing.sealed_usage.rerating import Rerating, rerate_usage
from billing.sealed_usage.sealing import Sealed, seal_usage
from models.values.period import BillingCycle, Interval
from tests.billing_story import NO_TAX, Company, at, event
from tests.quote_facts import SIGNER

KEYS = (SIGNER.public_pem,)
SEOUL = BillingCycle.calendar(Interval.MONTH, ZoneInfo("Asia/Seoul"))
MID_MONTH = BillingCycle.on_day(Interval.MONTH, ZoneInfo("America/Los_Angeles"), 15, at("2026-01-15"))


def founded(database: Database, tenant: str = "default") -> Company:
    """The company with its customers, and their usage of January."""
    company = Company(database, tenant)
    company.found("acme", "globex", "initech", "seoul", "visitor")
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "3", "sso": "1", "support": "1"}, "2026-01-10")
    company.subscribe("globex", book, {"tokens": "1", "calls": "1"}, minimum_spend=Decimal(5), cycle=MID_MONTH)
    company.subscribe("initech", book, {"tokens": "1"}, thresholds=Thresholds((Decimal("0.5"),)))
    company.subscribe("seoul", book, {"tokens": "1", "calls": "1"}, cycle=SEOUL)
    company.ingest([event(f"a{i}", "acme", f"2026-01-{15 + i}T10:00", 500 + i) for i in range(4)], "2026-01-20")
    company.ingest([event(f"i{i}", "initech", f"2026-01-{11 + i}T10:00", 301) for i in range(4)], "2026-01-20")
    company.ingest([event(f"s{i}", "seoul", f"2026-01-{28 + i}T20:00", 41) for i in range(4)], "2026-01-31T22:00")
    company.ingest([event(f"g{i}", "globex", f"2026-01-{10 + i}T10:00", 999) for i in range(9)], "2026-01-20")
    company.ingest([event("nobody", "visitor", "2026-01-11T10:00", 5)], "2026-01-20")
    corrected = {**event("a0-again", "acme", "2026-01-15T10:00", 77), "correctssource": "test", "correctsid": "ea0"}
    cancelled = {**event("a1-not", "acme", "2026-01-16T10:00"), "correctssource": "test", "correctsid": "ea1"}
    lost = {**event("a9-again", "acme", "2026-01-16T10:00", 9), "correctssource": "test", "correctsid": "never"}
    del cancelled["data"]
    company.ingest([corrected, {**cancelled, "cancels": True}, lost], "2026-01-21")
    with database.writing(tenant) as uow:
        assert bill_thresholds(uow, "initech", at("2026-01-20"), at("2026-01-20"), NO_TAX)
    return company


def story(database: Database, tenant: str = "default") -> Company:
    """January and February, closed, with late events between."""
    company = founded(database, tenant)
    january_and_february(company)
    return company


def january_and_february(company: Company) -> None:
    """Close January, then February with what came late."""
    company.close("2026-01", "2026-02-01T12:00")
    late = [event("late", "acme", "2026-01-30T10:00", 777), event("late-g", "globex", "2026-01-16T10:00", 55)]
    company.ingest(late, "2026-02-03")
    again = {**event("a2-again", "acme", "2026-01-17T10:00", 1), "correctssource": "test", "correctsid": "ea2"}
    company.ingest([again], "2026-02-04")
    company.ingest([event(f"f{i}", "globex", f"2026-02-{11 + i}T10:00", 5_333) for i in range(9)], "2026-02-20")
    company.close("2026-02", "2026-03-01T12:00")


def reopened(company: Company) -> None:
    """Close February once more, with what came meanwhile."""
    company.ingest([event("later", "globex", "2026-02-14T10:00", 1_001)], "2026-03-03")
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-02", "a late file", "ann", at("2026-03-03T12:00"))
    company.close("2026-02", "2026-03-04")


def sealed(company: Company, root: Path, period: str | None = None) -> list[Sealed]:
    """Seal."""
    folder = SealFolder(root, company.tenant)
    return seal_usage(company.database, company.tenant, folder, SIGNER, period=period)


def rerated(company: Company, root: Path, period: str) -> Rerating:
    """Rate again."""
    with company.database.reading(company.tenant) as uow:
        return rerate_usage(uow, SealFolder(root, company.tenant), KEYS, period)


def files(root: Path) -> dict[str, bytes]:
    """Everything under a folder that lasts, by name."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def rows(company: Company, statement: str, **values: Any) -> list[Any]:
    """What the database says."""
    from sqlalchemy import text

    with company.database.reading(company.tenant) as uow:
        return list(uow.connection.execute(text(statement), {"tenant": company.tenant, **values}))
