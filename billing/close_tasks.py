"""A close as a list of pure tasks, one a bucket of customers, and the executors that work through them.

A task only reads, at a fixed point of knowledge, so it gives the same result wherever and however often it runs while
its customers are not charged or credited. The driver, which posts each result once, first looks whether they were.
Another executor, on many machines, needs nothing but `run`.
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
from billing.repositories.charges import ChargeRepository
from billing.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class CloseTask:
    """The customers of one bucket, to be charged by one run."""

    tenant: str
    bucket: int
    customers: tuple[str, ...]
    run: Run


@dataclass(frozen=True, slots=True)
class CloseOutcome:
    """What a task found, and how many charges and credit notes of its customers it knew of."""

    task: CloseTask
    charged: Charged
    knew: tuple[int, int]


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
            yield _work_in(database, task)


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


def work(uow: UnitOfWork, task: CloseTask) -> CloseOutcome:
    """Do one task."""
    knew = ChargeRepository(uow).charged_and_credited(task.customers)
    return CloseOutcome(task, charge_customers(uow, task.customers, task.run), knew)


def up_to_date(uow: UnitOfWork, outcome: CloseOutcome) -> CloseOutcome:
    """Return the outcome, of the task done again where its customers were charged or credited since.

    What was billed decides what is still due: a credit note gives back what a correction would have.
    """
    is_known = ChargeRepository(uow).charged_and_credited(outcome.task.customers) == outcome.knew
    return outcome if is_known else work(uow, outcome.task)


def _work_in(database: Database, task: CloseTask) -> CloseOutcome:
    with database.reading(task.tenant) as uow:
        return work(uow, task)


def _work_at(url: str, task: CloseTask) -> CloseOutcome:
    database = Database(url)
    try:
        return _work_in(database, task)
    finally:
        database.close()
