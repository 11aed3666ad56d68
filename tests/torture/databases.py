"""Fresh migrated databases to torture."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from billing.database import Database
from tests.postgres_server import PostgresServer, postgres_url

NAMES = ("sqlite", "postgresql")


@contextmanager
def database_at(name: str) -> Iterator[str | None]:
    """Yield the URL of a fresh database, None where there is no server; then remove it."""
    if name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{Path(folder) / 'alacarte.db'}"
            _migrate(url)
            yield url
        return
    server_url = postgres_url()
    if server_url is None:
        if os.environ.get("CI") == "true":
            raise SystemExit("no PostgreSQL answers")
        yield None
        return
    server = PostgresServer(server_url, durable=True)
    try:
        with server.database() as url:
            yield url
    finally:
        server.close()


def _migrate(url: str) -> None:
    database = Database(url)
    database.migrate()
    database.close()
