"""What commands that need the database share: it is opened, migrated and closed in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from api.settings import Settings, load_settings
from billing.database import Database


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
