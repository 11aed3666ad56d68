"""Two transactions of which one begins while the other is open."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from billing.database import Database
from billing.unit_of_work import UnitOfWork
from models.values.ids import DEFAULT_TENANT

_TIME_TO_MEET = 0.5
"""Seconds in which the second either ends, having noticed nothing, or comes to wait for the first."""
T = TypeVar("T")


def while_open(database: Database, first: Callable[[UnitOfWork], T], second: Callable[[UnitOfWork], T]) -> list[T]:
    """Do `second` in a transaction of its own that begins before that of `first` ends. On SQLite it waits its turn."""

    def other() -> T:
        with database.writing(DEFAULT_TENANT) as uow:
            return second(uow)

    with ThreadPoolExecutor(1) as pool:
        with database.writing(DEFAULT_TENANT) as uow:
            answer = first(uow)
            running = pool.submit(other)
            wait([running], _TIME_TO_MEET)
        return [answer, running.result()]
