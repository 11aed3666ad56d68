"""Time as the bridge sees it: handed in, so that tests can move it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Timing:
    """What time it is (aware UTC), and how to wait some seconds."""

    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[object]]


def real_timing() -> Timing:
    """Return the wall clock."""
    return Timing(lambda: datetime.now(UTC), asyncio.sleep)
