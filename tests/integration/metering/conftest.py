"""Databases that live for a whole module: each Hypothesis example works as a tenant of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from billing.database import Database

_TENANTS = count()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database for many examples; see `fresh_tenant`."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("shared") / "alacarte.db"
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copy(template, path)
        database = Database(f"sqlite:///{path}")
        yield database
        database.close()
        return
    with request.getfixturevalue("postgres_server").database() as url:
        database = Database(url)
        yield database
        database.close()


def fresh_tenant() -> str:
    """A tenant nobody has used."""
    return f"tenant-{next(_TENANTS)}"
