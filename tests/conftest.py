"""Fixtures that every lane shares: the same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings

from billing.database import Database

_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]  # Explaining traces every line: too slow here.
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=50, deadline=None, phases=_PHASES, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("ci", settings.get_profile("dev"), max_examples=60, derandomize=True, print_blob=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_LOCAL_SOCKET = "postgresql:///postgres?host=/var/run/postgresql"


def _postgres_url() -> str | None:
    """Return the server to test on: the one named by the environment, or one on the usual local socket."""
    named = os.environ.get("ALACARTE_TEST_POSTGRES_URL")
    if named:
        return named
    try:
        psycopg.connect(_LOCAL_SOCKET, connect_timeout=2).close()
    except psycopg.OperationalError:
        return None
    return _LOCAL_SOCKET


class _Server:
    """A PostgreSQL server on which databases named alacarte_test_* are made and dropped."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.template = f"alacarte_test_{uuid4().hex[:12]}"
        self.create(self.template)
        database = Database(self.url_of(self.template))
        database.migrate()
        database.close()

    def url_of(self, name: str) -> str:
        """Return the URL of one database on this server."""
        head, _, query = self.url.partition("?")
        return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")

    def create(self, name: str, template: str = "template0") -> None:
        """Make a database as a copy of `template`."""
        self._execute(f'create database "{name}" template "{template}"')

    def drop(self, name: str) -> None:
        """Drop one database, ending what is still connected."""
        self._execute(f'drop database if exists "{name}" with (force)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests copy."""
    path = tmp_path_factory.mktemp("template") / "alacarte.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[_Server]:
    """A PostgreSQL server with a migrated template, or a skip that says why."""
    url = _postgres_url()
    if url is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no PostgreSQL answers on the local socket and ALACARTE_TEST_POSTGRES_URL is not set")
        pytest.skip("no PostgreSQL: none on the local socket, ALACARTE_TEST_POSTGRES_URL not set")
    server = _Server(url)
    yield server
    server.drop(server.template)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh migrated database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "alacarte.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: _Server = request.getfixturevalue("postgres_server")
    name = f"alacarte_test_{uuid4().hex[:12]}"
    server.create(name, server.template)
    yield server.url_of(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open fresh database, once on SQLite and once on PostgreSQL."""
    opened = Database(database_url)
    yield opened
    opened.close()
