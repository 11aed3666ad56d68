"""A clock that tests move by hand: 25 hours pass in no time."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


class MovableClock:
    """Stands still until moved; sleeping moves it. Shared between threads."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the instant it stands at."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on."""
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def advance_to(self, instant: datetime) -> None:
        """Move on to `instant`, never back."""
        with self._lock:
            self._now = max(self._now, instant)

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.advance(max(seconds, 0))


class PassingClock(MovableClock):
    """A second passes whenever somebody looks at it."""

    def now(self) -> datetime:
        """Return the instant a second after the last look."""
        self.advance(1)
        return super().now()


class WallClock(MovableClock):
    """The real time, for runs that must not pretend."""

    def now(self) -> datetime:
        """Return the present."""
        return real_now()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def real_now() -> datetime:
    """The wall clock, for lanes that run in real time."""
    return datetime.now(UTC)
