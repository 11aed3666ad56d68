"""Fixtures that every lane shares: the same tests on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from billing.database import Database
from tests.absent import absent
from tests.postgres_server import PostgresServer, postgres_url
from tests.tenant_filter import watch

_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]  # Explaining traces every line: too slow here.
_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", max_examples=50, deadline=None, phases=_PHASES, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile("ci", settings.get_profile("dev"), max_examples=40, derandomize=True, print_blob=True)
settings.register_profile("nightly", settings.get_profile("dev"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_SEEN_STATEMENTS = watch()
pytest.register_assert_rewrite("tests.state_machine")  # It shows the values that a failed comparison compared.

_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30  # noqa: S108
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    # A SQLite commit waits for the disk twice. What a killed process wrote outlives it in memory as well.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.fixture(scope="session")
def seen_statements() -> set[str]:
    """The statements that billing and api have sent so far; one that names no tenant is refused wherever it is met."""
    return _SEEN_STATEMENTS


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that tests copy."""
    path = tmp_path_factory.mktemp("template") / "alacarte.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server with a migrated template, or a skip that says why."""
    url = postgres_url()
    if url is None:
        absent("no PostgreSQL: none on the local socket, ALACARTE_TEST_POSTGRES_URL not set")
    server = PostgresServer(url)
    yield server
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh migrated database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "alacarte.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open fresh database, once on SQLite and once on PostgreSQL."""
    opened = Database(database_url)
    yield opened
    opened.close()
