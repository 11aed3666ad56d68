"""What requests read again and again (keys, what a price depends on, what a customer may use), kept for a second.

A change through this process is seen at once: an entry counts only while the tenant's facts are those it was read
from. Other processes see it within a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio.to_thread

from billing.database import Database
from billing.unit_of_work import UnitOfWork

KEPT_SECONDS = 1.0

Fact = TypeVar("Fact")


class Kept:
    """Facts by tenant and name. Those who want the same at the same time share one reading of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[tuple[str, Hashable], tuple[int, float, Any]] = {}
        self._reading: dict[tuple[str, Hashable, int], Future[Any]] = {}
        self._swept_at = time.monotonic()

    async def get(self, tenant: str, name: Hashable, read: Callable[[UnitOfWork], Fact]) -> Fact:
        """Return a fact, reading it where it is not known. None is not kept. Raises what `read` raises."""
        changes = self._database.changes(tenant)
        kept = self._entries.get((tenant, name))
        if kept is not None and kept[0] == changes and time.monotonic() < kept[1]:
            found: Fact = kept[2]
            return found
        key = (tenant, name, changes)
        if key in self._reading:
            return await asyncio.wrap_future(self._reading[key])
        reading: Future[Fact] = Future()
        self._reading[key] = reading
        try:
            found = await anyio.to_thread.run_sync(self._read, tenant, read)
        except BaseException as error:
            reading.set_exception(error)
            raise
        finally:
            del self._reading[key]
        reading.set_result(found)
        if found is not None:
            self._keep(tenant, name, changes, found)
        return found

    def _read(self, tenant: str, read: Callable[[UnitOfWork], Fact]) -> Fact:
        with self._database.reading(tenant) as uow:
            return read(uow)

    def _keep(self, tenant: str, name: Hashable, changes: int, found: object) -> None:
        now = time.monotonic()
        if now >= self._swept_at + KEPT_SECONDS:  # Names that nobody asks for again would stay for ever.
            self._entries = {each: entry for each, entry in self._entries.items() if now < entry[1]}
            self._swept_at = now
        self._entries[tenant, name] = (changes, now + KEPT_SECONDS, found)
