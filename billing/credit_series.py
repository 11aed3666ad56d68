"""Credit that is granted again and again: a grant, and those that follow it at the turns of an interval. Pure.

As OpenMeter's recurring grants, Lago's recurring top-ups and Flexprice's recurring credit grants. Each is a grant of
its own here, with its own expiry and rollover, so nothing has to run when a turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from billing.burn_down import Grant
from models.values.period import BillingCycle, Interval

MAX_TIMES = 120
_UTC = ZoneInfo("UTC")


def grant_series(first: Grant, every: Interval, times: int) -> Iterator[Grant]:
    """Yield `times` grants: the first, then one a turn, `:2`, `:3` and so on behind its id.

    Start and expiry move along the calendar in UTC at their time of day; one on the 31st falls on the last day of a
    shorter month, and on the 31st again after it.
    """
    yield first
    for turn in range(1, times):
        expires_at = None if first.expires_at is None else _moved(first.expires_at, every, turn)
        starts_at = _moved(first.starts_at, every, turn)
        yield replace(first, id=f"{first.id}:{turn + 1}", starts_at=starts_at, expires_at=expires_at)


def _moved(instant: datetime, every: Interval, turns: int) -> datetime:
    cycle = BillingCycle.anniversary(every, _UTC, instant)
    return cycle.start_of(turns) + (instant.astimezone(UTC) - cycle.start_of(0))
