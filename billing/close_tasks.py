"""A close as a list of pure tasks, one a bucket of customers, and the executors that work through them.

A task only reads, at a fixed point of knowledge, so it gives the same result wherever and however often it runs. The
driver posts each result once. Another executor, on many machines, needs nothing but `run`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from billing.charging import Charged, Run, charge_customers
from billing.database import Database


@dataclass(frozen=True, slots=True)
class CloseTask:
    """The customers of one bucket, to be charged by one run."""

    tenant: str
    bucket: int
    customers: tuple[str, ...]
    run: Run


@dataclass(frozen=True, slots=True)
class CloseOutcome:
    """What a task found."""

    task: CloseTask
    charged: Charged


class Executor(Protocol):
    """Works through tasks; yields outcomes in the order of the tasks."""

    def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
        """Yield one outcome a task."""
        ...


class InTurn:
    """One task after the other, in this process."""

    def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
        """Yield one outcome a task."""
        for task in tasks:
            yield work(database, task)


class InProcesses:
    """Tasks side by side in worker processes, each with a connection of its own."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
        """Yield one outcome a task."""
        url = database.engine.url.render_as_string(hide_password=False)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self._workers, mp_context=context) as pool:
            yield from pool.map(partial(_work_at, url), tasks, chunksize=1)


def work(database: Database, task: CloseTask) -> CloseOutcome:
    """Do one task."""
    with database.reading(task.tenant) as uow:
        return CloseOutcome(task, charge_customers(uow, task.customers, task.run))


def _work_at(url: str, task: CloseTask) -> CloseOutcome:
    database = Database(url)
    try:
        return work(database, task)
    finally:
        database.close()
