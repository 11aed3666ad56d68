"""Proration: which part of an amount a part of its period is worth, exactly.

amount x units used / units of the full period the piece belongs to (Kill Bill, InvoiceDateUtils), where a unit is a
local calendar day or a moment of elapsed time. Nothing is rounded here but in `round_pieces` and `repair`.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from models.values.errors import InvalidValueError
from models.values.money import Currency, RoundingMode, round_fraction, round_to_minor
from models.values.period import BillingCycle, Period, as_utc, local_midnight
from models.values.quantity import EXACT

_DAYS_A_FIXED_MONTH = 30
_MONTHS_A_YEAR = 12


class ProrationUnit(StrEnum):
    """What is counted: local calendar days, or elapsed time to the microsecond."""

    DAY = "day"
    SECOND = "second"


class ProrationBasis(StrEnum):
    """How long a month is: as in the calendar, or thirty days (30E/360; Kill Bill's fixed days)."""

    CALENDAR = "calendar"
    FIXED_30 = "fixed_30"


class MidPeriod(StrEnum):
    """How a change in the middle of a period is billed.

    Prorated: each side for its part. Whole: what it adds is due in full, as though it had stood since the period began,
    and what falls gives nothing back (Lago, `prorated: false`). Next period: nothing is billed or given back before the
    next one begins (Stripe, `proration_behavior: none`).
    """

    PRORATED = "prorated"
    WHOLE = "whole"
    NEXT_PERIOD = "next_period"


@dataclass(frozen=True, slots=True)
class ProrationRule:
    """How one subscription is prorated. A day is a calendar day of `zone`, be it 23, 24 or 25 hours long."""

    zone: ZoneInfo
    unit: ProrationUnit = ProrationUnit.DAY
    basis: ProrationBasis = ProrationBasis.CALENDAR

    def __post_init__(self) -> None:
        if self.unit is ProrationUnit.SECOND and self.basis is ProrationBasis.FIXED_30:
            raise InvalidValueError(
                "thirty-day months count days, not seconds", field="basis", value=self.basis, code="basis_needs_days"
            )


@dataclass(frozen=True, slots=True)
class Proration:
    """One piece: `used` of the period `full`, counted in days or microseconds, and the amount of the full period."""

    amount: Decimal
    used: Period
    full: Period
    used_units: int
    full_units: int

    @property
    def ratio(self) -> Fraction:
        """Part of the full period, 0 to 1; a full period of no length is due in full."""
        return Fraction(self.used_units, self.full_units) if self.full_units else Fraction(1)

    @property
    def exact(self) -> Fraction:
        """The prorated amount in major units, unrounded."""
        return Fraction(self.amount) * self.ratio


@dataclass(frozen=True, slots=True)
class PriceChange:
    """From `at` on, a full period costs `amount`: a start, an upgrade, a downgrade, or an end (zero)."""

    at: datetime
    amount: Decimal


def count_days(start: datetime, end: datetime, zone: ZoneInfo) -> int:
    """Return how many local midnights lie in (start, end]: the days from one local date to the other."""
    return (_local_date(end, zone) - _local_date(start, zone)).days


def trial_end(start: datetime, days: int, zone: ZoneInfo) -> datetime:
    """Return local midnight `days` after the local day of the first start: from then on the price is due."""
    return local_midnight(_local_date(start, zone) + timedelta(days=days), zone)


def end_of_day(instant: datetime, zone: ZoneInfo) -> datetime:
    """Return the end of the local day of `instant`: where a termination bills its own day in full (Lago)."""
    return local_midnight(_local_date(instant, zone) + timedelta(days=1), zone)


def prorate(amount: Decimal, *, used: Period, full: Period, rule: ProrationRule) -> Proration:
    """Prorate the amount of one full period by what of it is used; what lies outside the full period is not."""
    inside = used.intersection(full)
    if inside is None:
        return Proration(amount, used, full, 0, _units(full, full, rule))
    return Proration(amount, inside, full, _units(inside, full, rule), _units(full, full, rule))


def prorate_cycle(amount: Decimal, *, used: Period, cycle: BillingCycle, rule: ProrationRule) -> tuple[Proration, ...]:
    """Prorate a recurring amount over all turns of its cycle that `used` touches, one piece a turn, in order."""
    return tuple(prorate(amount, used=used, full=turn, rule=rule) for turn in cycle.periods(used))


def prorate_changes(changes: Sequence[PriceChange], *, full: Period, rule: ProrationRule) -> tuple[Proration, ...]:
    """Cut one full period where the price changes, one piece a price, in order of time.

    By the day, the day of a change belongs to the new price alone. Changes after the period are left out; the last
    one before it sets the first price. Raises InvalidValueError where two changes fall on one instant.
    """
    ordered = sorted(changes, key=lambda change: as_utc(change.at, "at"))
    for earlier, later in pairwise(ordered):
        if earlier.at == later.at:
            raise InvalidValueError(
                "two prices begin at one instant", field="at", value=later.at.isoformat(), code="ambiguous_change"
            )
    ends = [change.at for change in ordered[1:]] + [full.end]
    spans = [(change, Period(change.at, max(end, change.at))) for change, end in zip(ordered, ends, strict=True)]
    pieces = (prorate(change.amount, used=span, full=full, rule=rule) for change, span in spans)
    return tuple(piece for piece in pieces if piece.used_units)


def added(amount: Decimal, *, before: Decimal, highest: Decimal, paid: Decimal, rule: MidPeriod) -> Decimal:
    """Return what a change in the middle of a period adds to it, all for the whole period.

    `before`: what stood until the change; `highest`: the highest that stood since the period began; `paid`: the first,
    and all that changes added. Of a change that is prorated this is the difference, of which the rest of the period is
    due, but it gives back no more than is paid beyond what it leaves; the others are due as they are, and >= 0.
    """
    if rule is MidPeriod.PRORATED:
        left = min(EXACT.subtract(amount, paid), Decimal(0))
        return max(EXACT.subtract(amount, before), left)
    return max(EXACT.subtract(amount, highest), Decimal(0)) if rule is MidPeriod.WHOLE else Decimal(0)


def round_pieces(
    pieces: Sequence[Proration], of: Currency, mode: RoundingMode = RoundingMode.HALF_AWAY_FROM_ZERO
) -> tuple[int, ...]:
    """Round so that the pieces sum to their rounded whole: differences of the rounded running sum, in minor units.

    To round each piece alone, as Kill Bill does, call `round_to_minor` on each.
    """
    running, reached, rounded = Fraction(0), 0, []
    for piece in pieces:
        running += piece.exact
        now = round_to_minor(running, of, mode)
        rounded.append(now - reached)
        reached = now
    return tuple(rounded)


def repair(billed_minor: int, *, billed: Period, unused: Period, left_minor: int, rule: ProrationRule) -> int:
    """Return the credit in minor units, >= 0, for the unused part of an item that was billed for `billed`.

    The unused days of the item's own days, half up, and never more than `left_minor`: what of the item was not
    adjusted or credited before (Kill Bill, Item). Raises InvalidValueError unless 0 <= left_minor <= billed_minor.
    """
    if not 0 <= left_minor <= billed_minor:
        raise InvalidValueError(
            f"must be 0 to {billed_minor}, what was billed", field="left_minor", value=left_minor, code="out_of_range"
        )
    piece = prorate(Decimal(billed_minor), used=unused, full=billed, rule=rule)
    due = round_fraction(piece.exact) if not billed.is_empty else 0
    return min(due, left_minor)


def _units(part: Period, full: Period, rule: ProrationRule) -> int:
    if rule.unit is ProrationUnit.SECOND:
        return part.microseconds
    if rule.basis is ProrationBasis.FIXED_30:
        return _fixed_days(part, full, rule.zone)
    return count_days(part.start, part.end, rule.zone)


def _fixed_days(part: Period, full: Period, zone: ZoneInfo) -> int:
    """Days of twelve equal months. Counts are differences of one position, so pieces sum to their whole."""
    anchor = max(_local_date(full.start, zone).day, _local_date(full.end, zone).day)
    start, end = (_fixed_position(_local_date(at, zone), anchor) for at in (part.start, part.end))
    return end - start


def _fixed_position(day: date, anchor: int) -> int:
    # Where a cycle meant for the 31st begins on the month's last day, that day stands for the 30th.
    is_last = day.day == monthrange(day.year, day.month)[1]
    in_month = min(anchor if is_last and anchor > day.day else day.day, _DAYS_A_FIXED_MONTH)
    return (day.year * _MONTHS_A_YEAR + day.month) * _DAYS_A_FIXED_MONTH + in_month


def _local_date(instant: datetime, zone: ZoneInfo) -> date:
    return as_utc(instant, "instant").astimezone(zone).date()
