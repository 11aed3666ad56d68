"""Burn-down: which grants pay, and how much each. Pure: grants in, takings out.

Order: the wallet's priority, the grant's priority, the earlier expiry, promotional before paid, the older grant
(after OpenMeter's credit order; Stripe's billing credits differ in the last but one).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from models.values.errors import RuleBrokenError
from models.values.money import round_fraction, shown_units

_NEVER = datetime.max.replace(tzinfo=UTC)


class InsufficientCreditError(RuleBrokenError):
    """A customer has less free credit than was asked for."""

    code = "insufficient_credit"

    @classmethod
    def of(cls, customer: str, asset: str, free: int, wanted: int) -> InsufficientCreditError:
        """Return the refusal of `wanted` ledger units of an asset, of which `free` are left."""
        rule = f"has {shown_units(free, asset)} {asset} free, and {shown_units(wanted, asset)} is needed"
        return cls(rule, field="customer", value=customer)


class GrantKind(StrEnum):
    """Bought, and owed until used; or given, and worth nothing until it lowers a price."""

    PAID = "paid"
    PROMOTIONAL = "promotional"


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant as it stands. Units are ledger units of the wallet's asset.

    `held` of the `remaining` units are kept for holds. A custom credit was bought for `cost_units` of `cost_asset`,
    `cost_remaining` of them for what remains; a currency costs itself. At expiry up to `rollover_units` live on for
    `rollover_days`, in all of a grant and of what voids gave back of it, whose `origin` it is.
    """

    id: str
    wallet: str
    customer: str
    asset: str
    kind: GrantKind
    remaining: int
    starts_at: datetime
    sequence: int
    held: int = 0
    units: int = 0
    priority: int = 0
    wallet_priority: int = 0
    features: frozenset[str] | None = None
    expires_at: datetime | None = None
    cost_asset: str = ""
    cost_units: int = 0
    cost_remaining: int = 0
    rollover_units: int = 0
    rollover_days: int = 0
    origin: str | None = None

    @property
    def is_custom(self) -> bool:
        """Units of a custom credit, not of a currency."""
        return "." in self.asset

    @property
    def free(self) -> int:
        """Units that neither are used nor held."""
        return self.remaining - self.held

    def in_force(self, at: datetime) -> bool:
        """Tell whether `at` lies from the start up to, but without, the expiry."""
        return self.starts_at <= at and (self.expires_at is None or at < self.expires_at)

    def pays_for(self, feature: str, at: datetime) -> bool:
        """Tell whether the grant is in force at `at` and open to `feature`."""
        return self.in_force(at) and (self.features is None or feature in self.features)


@dataclass(frozen=True, slots=True)
class Taking:
    """Units taken from one grant, and their share of what the grant cost."""

    grant: Grant
    units: int
    cost_units: int


def burn_order(grant: Grant) -> tuple[int, int, datetime, bool, int]:
    """Sort key of the order in which grants pay."""
    return (
        grant.wallet_priority,
        grant.priority,
        grant.expires_at or _NEVER,
        grant.kind is GrantKind.PAID,
        grant.sequence,
    )


def plan_burn(grants: Iterable[Grant], units: int, feature: str, at: datetime) -> list[Taking]:
    """Take up to `units` from the grants that may pay for `feature`, in burn order. May come to less."""
    takings = []
    for grant in sorted((grant for grant in grants if grant.pays_for(feature, at)), key=burn_order):
        taken = min(units, grant.free)
        if taken > 0:
            takings.append(take(grant, taken))
            units -= taken
    return takings


def take(grant: Grant, units: int) -> Taking:
    """Take `units` from a grant, with their share of its cost; the last taking gets what is left of the cost."""
    return Taking(grant, units, round_fraction(Fraction(grant.cost_remaining * units, grant.remaining)))


def rolled_over(grant: Grant, already: Sequence[int]) -> Grant | None:
    """Return the grant that lives on when `grant` expires, or None.

    `already`: units that rolled over before, piece by piece. Their number names the next one: an id stays short.
    """
    kept = min(grant.free, grant.rollover_units - sum(already))
    if kept <= 0 or grant.expires_at is None:
        return None
    return replace(
        grant,
        id=f"{grant.id}:rollover:{len(already)}",
        units=kept,
        remaining=kept,
        held=0,
        cost_units=take(grant, kept).cost_units,
        cost_remaining=take(grant, kept).cost_units,
        starts_at=grant.expires_at,
        expires_at=grant.expires_at + timedelta(days=grant.rollover_days),
        rollover_units=0,
        rollover_days=0,
        origin=None,
    )


def total(takings: Sequence[Taking]) -> int:
    """Sum of the units taken."""
    return sum(taking.units for taking in takings)
