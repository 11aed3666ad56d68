"""Two requests under one key on PostgreSQL, where they run side by side: the second waits for the first, not for ever.

SQLite has one writer at a time: there the second begins when the first has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

import pytest

from billing import request_keys
from billing.database import Database
from billing.repositories import journals
from billing.request_keys import KeptAnswer, StillRunningError, once
from billing.unit_of_work import UnitOfWork
from models.values.ids import DEFAULT_TENANT
from tests.postgres_server import PostgresServer

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def beside(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database on which a request waits half a second for another one under its key."""
    monkeypatch.setattr(request_keys, "_WAIT_MS", 500)
    with postgres_server.database() as url:
        database = Database(url)
        yield database
        database.close()


def ask(database: Database, work: Callable[[UnitOfWork], str], key: str = "k") -> KeptAnswer:
    return once(database, DEFAULT_TENANT, key, f"digest of {key}", lambda _uow: NOW, lambda uow: (201, work(uow)))


def test_a_request_whose_first_still_runs_is_told_so_and_gets_its_answer_later(beside: Database) -> None:
    running, done = threading.Event(), threading.Event()

    def slow(_uow: UnitOfWork) -> str:
        running.set()
        assert done.wait(30)
        return "first"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, beside, slow)
        try:
            assert running.wait(30)
            with pytest.raises(StillRunningError) as refused:
                ask(beside, lambda _uow: "second")
            assert refused.value.code == "request_in_progress"
            assert ask(beside, lambda _uow: "other", "another").text == "other"
        finally:
            done.set()
        assert first.result() == KeptAnswer(201, "first", replayed=False)
    assert ask(beside, lambda _uow: "second") == KeptAnswer(201, "first", replayed=True)


def test_work_that_waits_for_others_is_not_taken_for_a_second_request(beside: Database) -> None:
    """It waits longer for the ledger than a second request would wait for the first."""
    running = threading.Event()

    def work(uow: UnitOfWork) -> str:
        running.set()
        journals.lock(uow)
        return "after all"

    with ThreadPoolExecutor(1) as pool:
        with beside.writing(DEFAULT_TENANT) as uow:
            journals.lock(uow)
            waiting = pool.submit(ask, beside, work)
            assert running.wait(30)
            assert not wait([waiting], timeout=1.5).done
        assert waiting.result().text == "after all"
