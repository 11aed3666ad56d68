"""A writer that the database undid for the sake of another begins again, a bounded number of times."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from billing import database as opening
from billing.chart_of_accounts import Account, Leg
from billing.database import Database, OvertimeError, UnansweredError, WriteConflictError
from billing.journals import JournalDraft
from billing.ledger import balance, post
from billing.unit_of_work import UnitOfWork
from models.values.ids import DEFAULT_TENANT

AT = datetime(2026, 3, 1, tzinfo=UTC)
CASH, BANK = Account("processor_clearing", "USD"), Account("bank", "USD")
UNDONE = [psycopg.errors.SerializationFailure(), psycopg.errors.DeadlockDetected()]


def _busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY_SNAPSHOT
    return error


def _journal(number: int) -> JournalDraft:
    return JournalDraft(f"move:{number}", "payout", AT, (Leg(BANK, 5), Leg(CASH, -5)))


@pytest.mark.parametrize("error", [*UNDONE, _busy()], ids=["serialization", "deadlock", "busy"])
def test_work_that_was_undone_is_done_again_and_counts_once(database: Database, error: Exception) -> None:
    calls: list[int] = []

    def work(uow: UnitOfWork) -> int:
        calls.append(1)
        post(uow, [_journal(1)], recorded_at=AT)
        if len(calls) < 3:
            raise error
        return len(calls)

    assert database.write(DEFAULT_TENANT, work) == 3
    with database.reading(DEFAULT_TENANT) as uow:
        assert balance(uow, BANK) == 5


def test_it_gives_up_after_five_attempts_and_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_PAUSE_SECONDS", 0)
    calls: list[int] = []

    def work(uow: UnitOfWork) -> None:
        calls.append(1)
        post(uow, [_journal(1)], recorded_at=AT)
        raise psycopg.errors.DeadlockDetected

    with pytest.raises(WriteConflictError):
        database.write(DEFAULT_TENANT, work)
    assert len(calls) == 5
    with database.reading(DEFAULT_TENANT) as uow:
        assert balance(uow, BANK) == 0


@pytest.mark.parametrize("error", [*UNDONE, _busy()], ids=["serialization", "deadlock", "busy"])
def test_a_block_that_cannot_be_done_again_says_what_stood_in_its_way(database: Database, error: Exception) -> None:
    def undone() -> None:
        with database.writing(DEFAULT_TENANT) as uow:
            post(uow, [_journal(1)], recorded_at=AT)
            raise error

    with pytest.raises(WriteConflictError):
        undone()
    with database.reading(DEFAULT_TENANT) as uow:
        assert balance(uow, BANK) == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (psycopg.errors.LockNotAvailable("it is held"), psycopg.OperationalError),
        (psycopg.OperationalError("the server went away"), UnansweredError),  # Perhaps after it had committed.
        (psycopg.errors.AdminShutdown("terminating connection"), UnansweredError),
        (psycopg.errors.QueryCanceled("it took too long"), OvertimeError),
    ],
)
def test_another_error_is_not_tried_again(
    database: Database, error: psycopg.OperationalError, told: type[Exception]
) -> None:
    calls: list[int] = []

    def work(_uow: UnitOfWork) -> None:
        calls.append(1)
        raise error

    with pytest.raises(told):
        database.write(DEFAULT_TENANT, work)
    assert len(calls) == 1


def test_a_writer_waits_for_another_process_and_no_longer_than_it_should(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alacarte.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    letting_go = threading.Timer(0.2, lambda: other.execute("rollback"))
    letting_go.start()
    with database.writing(DEFAULT_TENANT) as uow:
        post(uow, [_journal(1)], recorded_at=AT)
    letting_go.join()
    other.execute("begin immediate")
    monkeypatch.setattr(opening, "_BUSY_TIMEOUT_MS", 50)
    with pytest.raises(WriteConflictError), database.writing(DEFAULT_TENANT):
        pytest.fail("the lock was held by another")
    with database.reading(DEFAULT_TENANT) as uow:
        assert balance(uow, BANK) == 5
    other.close()
    database.close()


def test_two_writers_that_lock_rows_in_opposite_order_both_succeed(database: Database) -> None:
    """PostgreSQL ends the ring by undoing one of the two; SQLite lets the second wait from the start."""
    with database.writing(DEFAULT_TENANT) as uow:
        post(uow, [_journal(1)], recorded_at=AT)
    met = threading.Barrier(2)
    tried: list[int] = []

    def work(first: int) -> None:
        def both(uow: UnitOfWork) -> None:
            tried.append(first)
            for place, account in enumerate((first, 3 - first)):
                uow.connection.execute(
                    text(
                        "update account_balance set balance = balance where tenant = 'default' and account = :account"
                    ),
                    {"account": account},
                )
                if place == 0 and not database.is_sqlite and tried.count(first) == 1:
                    met.wait(10)

        database.write(DEFAULT_TENANT, both)

    with ThreadPoolExecutor(2) as pool:
        for running in [pool.submit(work, first) for first in (1, 2)]:
            running.result(30)
    assert len(tried) == (2 if database.is_sqlite else 3)
