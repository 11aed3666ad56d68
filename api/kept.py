"""What requests read again and again (keys, what a price depends on, what a customer may use), kept for a second.

A change through this process is seen at once: an entry counts only while the tenant's facts are those it was read
from. Other processes see it within a second. A fact that is asked for in the second half of its time is read again
meanwhile, so that nobody waits for what is asked for all the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import anyio.to_thread

from billing.database import Database
from billing.unit_of_work import UnitOfWork

KEPT_SECONDS = 1.0
_SPAN = timedelta(seconds=KEPT_SECONDS)
_FRESH = _SPAN / 2

Fact = TypeVar("Fact")
Name = tuple[str, Hashable]


class _Entry(NamedTuple):
    """A fact, read when the tenant's facts had changed `changes` times, true as of `at`, kept until `until`."""

    changes: int
    at: datetime
    until: float
    fact: Any


class Kept:
    """Facts by tenant and name. Those who want the same at the same time share one reading of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[Name, _Entry] = {}
        self._reading: dict[tuple[Name, int], Future[Any]] = {}
        self._ahead: set[asyncio.Task[Any]] = set()
        self._swept_at = time.monotonic()

    async def get(self, tenant: str, name: Hashable, read: Callable[[UnitOfWork], Fact], *, at: datetime) -> Fact:
        """Return a fact as of `at` or at most a second before, reading it where it is not known.

        None is not kept. Raises what `read` raises.
        """
        changes = self._database.changes(tenant)
        entry = self._entries.get((tenant, name))
        if entry is not None and entry.changes == changes and time.monotonic() < entry.until:
            age = at - entry.at
            if -_SPAN < age < _SPAN:
                if age > _FRESH:
                    self._read_ahead((tenant, name), changes, read, at)
                found: Fact = entry.fact
                return found
        return await self._shared((tenant, name), changes, read, at)

    async def settle(self) -> None:
        """Wait until nothing is read ahead any more: the database can be closed then."""
        await asyncio.gather(*self._ahead, return_exceptions=True)

    async def _shared(self, name: Name, changes: int, read: Callable[[UnitOfWork], Fact], at: datetime) -> Fact:
        """Return what one reading finds for all who wait for it. Any of them may stop waiting; the reading goes on."""
        self._read_ahead(name, changes, read, at)
        found: Fact = await asyncio.shield(asyncio.wrap_future(self._reading[name, changes]))
        return found

    def _read_ahead(self, name: Name, changes: int, read: Callable[[UnitOfWork], Any], at: datetime) -> None:
        """Read a fact for those who need it now or later; whoever does meets the error, if there is one."""
        if (name, changes) not in self._reading:
            self._reading[name, changes] = Future()
            task = asyncio.ensure_future(self._read(name, changes, read, at))
            self._ahead.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._ahead.discard(task)
        if not task.cancelled():
            task.exception()

    async def _read(self, name: Name, changes: int, read: Callable[[UnitOfWork], Any], at: datetime) -> None:
        try:
            found = await anyio.to_thread.run_sync(self._in_thread, name[0], read)
        except BaseException as error:
            self._reading.pop((name, changes)).set_exception(error)
            raise
        self._reading.pop((name, changes)).set_result(found)
        if found is not None:
            self._keep(name, changes, at, found)

    def _in_thread(self, tenant: str, read: Callable[[UnitOfWork], Fact]) -> Fact:
        with self._database.reading(tenant) as uow:
            return read(uow)

    def _keep(self, name: Name, changes: int, at: datetime, found: object) -> None:
        now = time.monotonic()
        if now >= self._swept_at + KEPT_SECONDS:  # Names that nobody asks for again would stay for ever.
            self._entries = {each: entry for each, entry in self._entries.items() if now < entry.until}
            self._swept_at = now
        self._entries[name] = _Entry(changes, at, now + KEPT_SECONDS, found)
