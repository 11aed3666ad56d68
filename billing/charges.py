"""Charges: what one run found one customer to owe in one currency, as values, before any invoice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from billing.rated_usage import RatedUsage
from models.values.money import round_fraction
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.pricing import SHARE_DIGITS

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CouponUse:
    """What a coupon takes off a charge, in positive minor units."""

    code: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ChargeDraft:
    """A charge to be posted. `kind`: close, interim or addition. `cutoff`: up to when services are billed.

    It is effective at `effective_at`; what is billed in advance of its service is earned later.
    """

    id: str
    customer: str
    currency: str
    kind: str
    period: str
    known_at: datetime
    cutoff: datetime
    effective_at: datetime
    rows: tuple[RatedUsage, ...]
    coupons: tuple[CouponUse, ...] = ()

    @property
    def exact(self) -> Decimal:
        """The exact sum, in major units."""
        return sum_of(self.rows)

    def by_feature(self) -> tuple[tuple[str, Decimal], ...]:
        """Return exact sums by feature."""
        sums: dict[str, Decimal] = {}
        for row in self.rows:
            sums[row.feature] = EXACT.add(sums.get(row.feature, _ZERO), row.amount)
        return tuple(sums.items())


def part_after(row: RatedUsage, instant: datetime) -> Decimal:
    """Return what of an amount billed in advance is for service after `instant`, by elapsed time; 0 for all others."""
    if not row.in_advance or row.service.end <= instant or not row.amount:
        return _ZERO
    if row.service.start >= instant:
        return row.amount
    left = Period(instant, row.service.end).microseconds
    scaled = round_fraction(Fraction(row.amount) * left / row.service.microseconds * 10**SHARE_DIGITS)
    return Decimal(scaled).scaleb(-SHARE_DIGITS, EXACT)


def sum_of(rows: tuple[RatedUsage, ...]) -> Decimal:
    """Return the exact sum of amounts."""
    total = _ZERO
    for row in rows:
        total = EXACT.add(total, row.amount)
    return total
