"""Time as workers see it: handed in, so that tests can move it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Timing:
    """What time it is (aware UTC), and how to wait some seconds."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[object]]


def real_timing() -> Timing:
    """Return the wall clock."""
    return Timing(lambda: datetime.now(UTC), asyncio.sleep)


async def until_nothing_is_due(
    work: Callable[[], Awaitable[None]],
    next_due: Callable[[datetime], datetime | None],
    timing: Timing,
    patience: timedelta,
) -> None:
    """Work until nothing is due, and wait for what falls due within `patience` of the last thing done.

    `next_due`: when, after an instant, the next thing falls due; it blocks. The instant is from before the work: what
    falls due behind its last look, as where a lease runs out, would otherwise be left.
    """
    while True:
        began = timing.now()
        await work()
        due = await asyncio.to_thread(next_due, began)
        now = timing.now()
        if due is None or due > now + patience:
            return
        await timing.sleep(max((due - now).total_seconds(), 0.001))
