"""Carrying what lies below a unit: exact amounts to ledger units, ledger units to minor units, nothing lost. Pure.

What is posted is always the rounded exact sum less what is posted already, so residues telescope and never add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from models.values.money import Currency, RoundingMode, round_fraction, round_to_ledger_units
from models.values.quantity import EXACT

Parts = tuple[tuple[str, int], ...]
"""Amounts by feature, or by tax code, in ledger units."""


@dataclass(frozen=True, slots=True)
class Accrual:
    """Exact amounts earned from one customer, in major units of `asset`, by feature.

    `key`: unique for ever, as for journals. A late or corrected amount is the difference only, negative included.
    """

    key: str
    customer: str
    asset: str
    effective_at: datetime
    by_feature: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """The exact sum so far in major units, and the ledger units posted for it."""

    exact: Decimal
    posted: int

    def residue(self, of: Currency) -> Decimal:
        """Return what is not posted, in ledger units: at most one half, either way."""
        return EXACT.subtract(self.exact.scaleb(of.ledger_exponent, EXACT), Decimal(self.posted))


def carry(
    so_far: Carried, by_feature: tuple[tuple[str, Decimal], ...], of: Currency
) -> tuple[Carried, tuple[tuple[str, int], ...]]:
    """Add exact amounts; return the new sum and what each one comes to in ledger units."""
    exact, posted = so_far.exact, so_far.posted
    units = []
    for feature, amount in by_feature:
        exact = EXACT.add(exact, amount)
        due = round_to_ledger_units(exact, of)
        units.append((feature, due - posted))
        posted = due
    return Carried(exact, posted), tuple(units)


def take_minor_units(
    unbilled: int, remainder: int, of: Currency, mode: RoundingMode = RoundingMode.HALF_AWAY_FROM_ZERO
) -> tuple[int, int]:
    """Split what a customer owes into whole minor units for the invoice and a change of the remainder.

    `unbilled` and `remainder`: balances in ledger units. Returns (net in minor units, units that go to the
    remainder account; negative where the invoice takes some up), so that afterwards nothing is unbilled:
    net * units_per_minor + change = unbilled.
    """
    net_minor = round_fraction(Fraction(unbilled + remainder, of.units_per_minor), mode)
    return net_minor, unbilled - net_minor * of.units_per_minor
