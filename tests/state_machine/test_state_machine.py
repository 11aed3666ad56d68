"""The books against a plain model: random histories, every invariant after every step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from billing.database import Database
from tests.billing_story import Company
from tests.postgres_server import PostgresServer
from tests.state_machine.machine import Books


def histories(count: int, steps: int) -> settings:
    """Return settings for some histories of some steps: always the same ones."""
    return settings(  # Shrinking a history takes minutes, reading one does not.
        max_examples=count,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def on_sqlite(sqlite_template: Path, tmp_path: Path) -> type[Books]:
    """Books on a fresh SQLite file each."""

    class OnSqlite(Books):
        @staticmethod
        def open_companies() -> Sequence[Company]:
            return [Company(_sqlite(sqlite_template, tmp_path))]

    return OnSqlite


@pytest.fixture
def on_both(sqlite_template: Path, tmp_path: Path, postgres_server: PostgresServer) -> Iterator[type[Books]]:
    """Books kept twice, on SQLite and on PostgreSQL: they answer alike, and their registers are equal to the byte."""
    with ExitStack() as made:

        class OnBoth(Books):
            @staticmethod
            def open_companies() -> Sequence[Company]:
                postgres = Database(made.enter_context(postgres_server.database()))
                return [Company(_sqlite(sqlite_template, tmp_path)), Company(postgres)]

        yield OnBoth


def _sqlite(template: Path, folder: Path) -> Database:
    path = folder / f"{uuid4().hex}.db"
    shutil.copy(template, path)
    return Database(f"sqlite:///{path}")


def test_books_on_sqlite(on_sqlite: type[Books]) -> None:
    run_state_machine_as_test(on_sqlite, settings=histories(10, 100))


@pytest.mark.postgres
def test_books_on_both_databases(on_both: type[Books]) -> None:
    run_state_machine_as_test(on_both, settings=histories(3, 100))


@pytest.mark.torture
def test_many_books_on_both_databases(on_both: type[Books]) -> None:
    run_state_machine_as_test(on_both, settings=histories(50, 200))
