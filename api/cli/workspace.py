"""What commands that need the database share: it is opened, migrated and closed in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from api.settings import Settings, load_settings
from billing.database import Database
from billing.tenant_time import TenantTime
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError


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
    database = prepared_database(settings)
    try:
        yield settings, database
    finally:
        database.close()


def prepared_database(settings: Settings) -> Database:
    """Open the configured database and bring its schema up to date, making the folder that a file lies in.

    Raises InvalidValueError, and what `Database.migrate` raises.
    """
    database = Database(settings.database_url)
    if database.is_sqlite:
        folder = Path(str(database.engine.url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidValueError(
                f"the folder cannot be made: {error.strerror}", field="database", value=folder, code="unreadable_file"
            ) from error
    try:
        database.migrate()
    except BaseException:
        database.close()
        raise
    return database
