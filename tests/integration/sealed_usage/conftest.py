"""The company's story, told once on each database for all tests that do not write to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.database import Database
from tests.billing_story import Company
from tests.integration.sealed_usage.sealed_company import files, sealed, story


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def told_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("told") / "alacarte.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture(scope="module")
def told(told_url: str) -> Iterator[Company]:
    """The company after two closed months; tests read it only."""
    database = Database(told_url)
    yield story(database)
    database.close()


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> dict[str, bytes]:
    """What the seals of January and February must be, byte for byte: made on a database of their own."""
    path = tmp_path_factory.mktemp("expected")
    shutil.copy(sqlite_template, path / "alacarte.db")
    company = story(Database(f"sqlite:///{path / 'alacarte.db'}"))
    sealed(company, path / "sealed")
    company.database.close()
    return files(path / "sealed")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where seals lie."""
    return tmp_path / "sealed"
