"""Requests share commits, are answered after them, and fail or succeed as if each had come alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from billing import group_commit
from billing.database import Database
from billing.metering.group_commit import GroupCommit
from billing.metering.history import EVENT
from billing.unit_of_work import UnitOfWork
from models.values.errors import LimitExceededError, RuleBrokenError
from tests.metering_facts import NOW, TENANT, Directory, llm, statuses, totals

T = TypeVar("T")


def clock(_uow: UnitOfWork) -> datetime:
    return NOW


def count_from_elsewhere(url: str) -> int:
    other = Database(url)
    with other.reading(TENANT) as uow:
        count: int = uow.connection.execute(select(func.count()).select_from(EVENT)).scalar_one()
    other.close()
    return count


class CountingDatabase:
    """Counts the transactions that are written; can be told to be slow or to fail."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.commits = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        self.gate.wait()
        if self.failing:
            raise OperationalError("insert", {}, RuntimeError("no space left"))
        done = self.database.write(tenant, work)
        self.commits += 1
        return done


def test_requests_that_wait_together_share_one_commit(database: Database, database_url: str) -> None:
    counting = CountingDatabase(database)
    counting.gate.clear()
    with GroupCommit(counting, Directory(), clock) as group:  # type: ignore[arg-type]
        first = group.submit(TENANT, [llm("first")])
        answers = [group.submit(TENANT, [llm(str(n % 50))]) for n in range(100)]
        counting.gate.set()
        assert statuses(first.result()) == ["accepted"]
        given = [answer.result()[0].status.value for answer in answers]
        assert count_from_elsewhere(database_url) == 51
    assert given == ["accepted"] * 50 + ["duplicate"] * 50
    assert counting.commits <= 3
    totals(database)


def test_a_group_wakes_the_event_loop_once_and_answers_as_threads_are_answered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = CountingDatabase(database)
    counting.gate.clear()

    async def send(group: GroupCommit) -> tuple[int, list[str]]:
        loop, wakes = asyncio.get_running_loop(), []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: (wakes.append(call), wake(*call)))
        asked = [asyncio.ensure_future(group.ask(TENANT, [llm(str(n % 20))])) for n in range(30)]
        left = asyncio.ensure_future(group.ask(TENANT, [llm("nobody waits")]))
        await asyncio.sleep(0)
        left.cancel()
        counting.gate.set()
        given = [outcomes[0].status.value for outcomes in await asyncio.gather(*asked)]
        counting.failing = True
        with pytest.raises(OperationalError):
            await group.ask(TENANT, [llm("failing")])
        return len(wakes), given

    with GroupCommit(counting, Directory(), clock) as group:  # type: ignore[arg-type]
        wakes, given = asyncio.run(send(group))
    assert given == ["accepted"] * 20 + ["duplicate"] * 10
    assert wakes <= 4


def test_sixty_four_clients_with_one_key_give_one_effect_and_equal_answers(database: Database) -> None:
    with GroupCommit(database, Directory(), clock) as group, ThreadPoolExecutor(64) as clients:
        barrier = threading.Barrier(64)

        def send(_client: int) -> str:
            barrier.wait()
            return group.submit(TENANT, [llm("1")]).result()[0].status.value

        given = sorted(clients.map(send, range(64)))
    assert given == ["accepted"] + ["duplicate"] * 63


def test_tenants_share_no_commit(database: Database) -> None:
    with GroupCommit(database, Directory(), clock) as group:
        answers = [group.submit(tenant, [llm("1", n)]) for n, tenant in enumerate(["a", "b", "a"])]
        assert [statuses(answer.result()) for answer in answers] == [["accepted"], ["accepted"], ["conflict"]]


def test_a_failed_commit_is_answered_and_the_next_one_works(database: Database) -> None:
    counting = CountingDatabase(database)
    with GroupCommit(counting, Directory(), clock) as group:  # type: ignore[arg-type]
        counting.failing = True
        with pytest.raises(OperationalError):
            group.submit(TENANT, [llm("1")]).result()
        counting.failing = False
        assert statuses(group.submit(TENANT, [llm("1")]).result()) == ["accepted"]


def test_closing_writes_what_waits_and_takes_no_more(database: Database) -> None:
    group = GroupCommit(database, Directory(), clock)
    answers = [group.submit(TENANT, [llm(str(n))]) for n in range(20)]
    group.close()
    assert [answer.result(0)[0].status.value for answer in answers] == ["accepted"] * 20
    with pytest.raises(RuleBrokenError):
        group.submit(TENANT, [llm("late")])


def test_a_cancelled_request_is_not_written(database: Database) -> None:
    counting = CountingDatabase(database)
    counting.gate.clear()
    with GroupCommit(counting, Directory(), clock) as group:  # type: ignore[arg-type]
        first = group.submit(TENANT, [llm("1")])
        while not first.running():
            pass
        second = group.submit(TENANT, [llm("2")])
        assert second.cancel()
        counting.gate.set()
        assert statuses(first.result()) == ["accepted"]
        assert statuses(group.submit(TENANT, [llm("2")]).result()) == ["accepted"]


def test_too_many_waiting_requests_are_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING_REQUESTS", 2)
    counting = CountingDatabase(database)
    counting.gate.clear()
    with GroupCommit(counting, Directory(), clock) as group:  # type: ignore[arg-type]
        first = group.submit(TENANT, [llm("1")])
        while not first.running():
            pass
        waiting = [group.submit(TENANT, [llm(str(n))]) for n in (2, 3)]
        with pytest.raises(LimitExceededError) as refusal:
            group.submit(TENANT, [llm("4")])
        assert refusal.value.code == "busy"
        counting.gate.set()
        assert [statuses(answer.result()) for answer in waiting] == [["accepted"], ["accepted"]]
