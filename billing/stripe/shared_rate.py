"""One request rate for all workers of a tenant: evenly spaced slots, handed out by the database in small runs."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from billing.database import Database
from billing.repositories.inserting import insert_new
from billing.timing import Timing
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.outbox import StripeRateRow

RATE = table_of(StripeRateRow)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND_US = 1_000_000
_LONGEST_RUN = 32


class SharedRate:
    """Await `take` before each request. Slots are `1 / per_second` apart over all processes together.

    A run of slots costs one short transaction and holds at most a quarter of a second's worth. Slots more than a second
    old lapse: they would come as a burst.
    """

    def __init__(self, database: Database, tenant: str, per_second: float, timing: Timing) -> None:
        self._database = database
        self._tenant = tenant
        self._interval_us = max(1, round(_SECOND_US / per_second))
        self._run = max(1, min(int(per_second / 4), _LONGEST_RUN))
        self._timing = timing
        self._slots: deque[int] = deque()
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the next slot."""
        async with self._lock:
            oldest_valid = self._now_us() - _SECOND_US
            while self._slots and self._slots[0] < oldest_valid:
                self._slots.popleft()
            if not self._slots:
                self._slots.extend(await asyncio.to_thread(self._reserve))
            slot = self._slots.popleft()
        wait_us = slot - self._now_us()
        if wait_us > 0:
            await self._timing.sleep(wait_us / _SECOND_US)

    async def back_off(self) -> None:
        """Leave a second free after a refusal: somebody else may use the same account."""
        async with self._lock:
            self._slots.clear()
            await asyncio.to_thread(self._reserve, _SECOND_US)

    def _reserve(self, skip_us: int = 0) -> list[int]:
        count = 0 if skip_us else self._run

        def work(uow: UnitOfWork) -> int:
            row = {"tenant": self._tenant, "name": "requests", "next_slot_us": 0}
            insert_new(uow, RATE, row)
            mine = (RATE.c.tenant == self._tenant) & (RATE.c.name == "requests")
            free = uow.connection.execute(select(RATE.c.next_slot_us).where(mine).with_for_update()).scalar_one()
            first = max(int(free), self._now_us()) + skip_us
            after = first + count * self._interval_us
            uow.connection.execute(update(RATE).where(mine).values(next_slot_us=after))
            return first

        first = self._database.write(self._tenant, work)
        return [first + number * self._interval_us for number in range(count)]

    def _now_us(self) -> int:
        return (self._timing.now() - _EPOCH) // _MICROSECOND
