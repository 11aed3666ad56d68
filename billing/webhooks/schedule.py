"""When a delivery is tried again, and when an endpoint is given up. Pure; docs/webhooks.md shows the same table."""

from __future__ import annotations

from datetime import datetime, timedelta

WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""After the first, second ... failed try, as Standard Webhooks recommends: ten tries within about three days."""

DISABLED_AFTER = timedelta(days=5)
"""An endpoint at which nothing has arrived for so long is disabled."""

SPREAD = 0.2
"""Waits are lengthened by up to this part, so that receivers that come back are not met by everything at once."""


def next_try(tries: int, now: datetime, jitter: float) -> datetime | None:
    """Return when to try again after `tries` failed tries, None when it is given up. `jitter` in [0, 1)."""
    if tries > len(WAITS):
        return None
    return now + WAITS[tries - 1] * (1 + SPREAD * jitter)


def is_given_up(failing_since: datetime, now: datetime) -> bool:
    """Whether an endpoint has failed for so long that it is disabled."""
    return now - failing_since >= DISABLED_AFTER
