"""Charges: what one run found one customer to owe in one currency, as values, before any invoice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.rated_usage import RatedUsage
from models.values.quantity import EXACT


@dataclass(frozen=True, slots=True)
class CouponUse:
    """What a coupon takes off a charge, in positive minor units."""

    code: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ChargeDraft:
    """A charge to be posted. `kind`: close, interim or addition. `effective_at`: when it is earned.

    `future`: rows for a service that lies after `cutoff` are earned later.
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

    def by_feature(self, *, ahead: bool) -> tuple[tuple[str, Decimal], ...]:
        """Return exact sums by feature, of what is earned or, `ahead`, of what is billed before it is earned."""
        sums: dict[str, Decimal] = {}
        for row in self.rows:
            if self.is_ahead(row) == ahead:
                sums[row.feature] = EXACT.add(sums.get(row.feature, Decimal(0)), row.amount)
        return tuple(sums.items())

    def is_ahead(self, row: RatedUsage) -> bool:
        """Whether a row is billed before its service begins."""
        return row.in_advance and row.service.start >= self.cutoff


def sum_of(rows: tuple[RatedUsage, ...]) -> Decimal:
    """Return the exact sum of amounts."""
    total = Decimal(0)
    for row in rows:
        total = EXACT.add(total, row.amount)
    return total
