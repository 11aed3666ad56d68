"""What commands that need the database share: it is opened, migrated and closed in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from api.settings import Settings, load_settings
from billing.database import Database
from billing.tenant_time import TenantTime
from billing.unit_of_work import UnitOfWork


def tenant_time(settings: Settings) -> TenantTime:
    """Return what tells tenants' time, as the API does."""
    return TenantTime(lambda: datetime.now(UTC), settings.environment)


def now_in(settings: Settings, uow: UnitOfWork) -> datetime:
    """Return the time in force for the tenant of a unit of work."""
    return tenant_time(settings).now(uow)


def current_time(settings: Settings, database: Database) -> datetime:
    """Return the time in force for the tenant, before any work begins."""
    with database.reading(settings.tenant) as uow:
        return now_in(settings, uow)


@contextmanager
def open_workspace() -> Iterator[tuple[Settings, Database]]:
    """Open the configured database, bring its schema up to date, and close it on leaving."""
    settings = load_settings()
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    try:
        database.migrate()
        yield settings, database
    finally:
        database.close()
