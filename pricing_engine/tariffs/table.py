"""Compiled price tables: from a quantity to an amount in a handful of integer operations.

All numbers are integers: quantities of 10^-unit_exponent billable units, amounts of 10^-amount_exponent of the
currency's major unit, rates of 10^-(amount_exponent - unit_exponent) per unit. So `rate * quantity` is an amount.
Where a unit conversion divides by what has no finite decimal form, quantities and amounts are `divisor` times finer.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import Protocol

from models.values.quantity import EXACT
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.scaling import scaled

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Scale:
    """The scales of a compiled tariff, and what its modifiers change in the tables.

    included: a free tier in front, in billable units; usage_discount: units taken off before pricing;
    zero_fee: whether the first tier's flat amount is due when nothing is left to bill.
    """

    unit_exponent: int
    amount_exponent: int
    divisor: int = 1
    included: Decimal = _ZERO
    usage_discount: Decimal = _ZERO
    zero_fee: bool = True

    def units(self, number: Decimal) -> int:
        """Scale a quantity."""
        return scaled(number, self.unit_exponent) * self.divisor

    def rate(self, number: Decimal) -> int:
        """Scale an amount per unit."""
        return scaled(number, self.amount_exponent - self.unit_exponent)

    def amount(self, number: Decimal) -> int:
        """Scale an amount."""
        return scaled(number, self.amount_exponent) * self.divisor

    @property
    def unit_one(self) -> int:
        """One unit."""
        return int(10**self.unit_exponent) * self.divisor

    @property
    def free_front(self) -> Decimal:
        """Units before the first that is billed."""
        return EXACT.add(self.included, self.usage_discount)


class Table(Protocol):
    """Prices quantities >= 0. `lines(x)` sums to `price(x)`, always."""

    def price(self, units: int) -> int:
        """Return the cumulative amount of `units`."""
        ...

    def lines(self, units: int) -> list[LineDraft]:
        """Return the same amount by component."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """What one tier adds to the lines. A component that is None is absent."""

    unit_component: str
    unit_amount: Decimal | None
    flat_component: str
    flat_amount: Decimal | None
    flat_scaled: int


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """A price in straight pieces: on piece i it is bases[i] + rates[i] * (units - starts[i]).

    Piece i ends at edges[i], inclusive; the last has no end. `bases` are the prefix sums: all that is due on
    reaching the piece, flat amounts included. Up to `free_up_to` (inclusive) the price is `at_free`.
    cumulative: earlier pieces stay due (graduated); else only the piece reached prices the whole (volume).
    """

    unit_one: int
    free_up_to: int
    at_free: int
    edges: tuple[int, ...]
    starts: tuple[int, ...]
    rates: tuple[int, ...]
    bases: tuple[int, ...]
    cumulative: bool
    pieces: tuple[Piece, ...]

    def price(self, units: int) -> int:
        """Return the cumulative amount of `units`."""
        if units <= self.free_up_to:
            return self.at_free
        i = bisect_left(self.edges, units)
        return self.bases[i] + self.rates[i] * (units - self.starts[i])

    def tier_of(self, units: int) -> int:
        """Return the index of the tier that `units` reach; 0 while nothing is billed."""
        return bisect_left(self.edges, units)

    def lines(self, units: int) -> list[LineDraft]:
        """Return the amount of `units` tier by tier, unit component before flat."""
        if units <= self.free_up_to:
            return self._free_lines()
        last = bisect_left(self.edges, units)
        lines: list[LineDraft] = []
        for i in range(last + 1) if self.cumulative else (last,):
            piece = self.pieces[i]
            quantity = (units if i == last else self.edges[i]) - self.starts[i]
            if piece.unit_amount is not None:
                lines.append(LineDraft(piece.unit_component, quantity, piece.unit_amount, self.rates[i] * quantity))
            lines += self._package_lines(i, quantity)
            if piece.flat_amount is not None:
                lines.append(LineDraft(piece.flat_component, self.unit_one, piece.flat_amount, piece.flat_scaled))
        return lines

    def _package_lines(self, tier: int, quantity: int) -> list[LineDraft]:
        return []

    def _free_lines(self) -> list[LineDraft]:
        first = self.pieces[0]
        lines = []
        if first.unit_amount is not None and first.unit_amount == 0:
            lines.append(LineDraft(first.unit_component, 0, first.unit_amount, 0))
        if self.at_free and first.flat_amount is not None:
            lines.append(LineDraft(first.flat_component, self.unit_one, first.flat_amount, first.flat_scaled))
        return lines


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages of `size` units at `amount`, a package begun as a whole one; both scaled, but for `unit_amount`."""

    size: int
    amount: int
    unit_amount: Decimal | None

    def count(self, units: int) -> int:
        """Return how many packages hold `units`."""
        return -(-units // self.size)

    def price(self, units: int) -> int:
        """Return what they cost."""
        return self.count(units) * self.amount


@dataclass(frozen=True, slots=True)
class PackagedTable(SegmentTable):
    """Straight pieces some of which are sold by the package: to piece i's price comes that of its packages.

    `bases` hold the packages of the pieces before.
    """

    packages: tuple[Packages, ...]

    @staticmethod
    def of(segments: SegmentTable, packages: tuple[Packages, ...]) -> PackagedTable:
        """Return the segments with the packages of each."""
        shared = {each.name: getattr(segments, each.name) for each in fields(segments)}
        return PackagedTable(**shared, packages=packages)

    def price(self, units: int) -> int:
        """Return the cumulative amount of `units`."""
        if units <= self.free_up_to:
            return self.at_free
        i = bisect_left(self.edges, units)
        beyond = units - self.starts[i]
        return self.bases[i] + self.rates[i] * beyond + self.packages[i].price(beyond)

    def _package_lines(self, tier: int, quantity: int) -> list[LineDraft]:
        sold = self.packages[tier]
        if sold.unit_amount is None:
            return []
        count = sold.count(quantity)
        return [LineDraft(f"tier-{tier + 1}-package", count * self.unit_one, sold.unit_amount, count * sold.amount)]


@dataclass(frozen=True, slots=True)
class PackageTable:
    """A price per package begun (or, rounding down, per full package) above the free units."""

    unit_one: int
    free_up_to: int
    package_size: int
    package_amount: int
    round_up: bool
    unit_amount: Decimal | None

    def packages(self, units: int) -> int:
        """Return how many packages `units` are billed as."""
        beyond = units - self.free_up_to
        if beyond <= 0:
            return 0
        return -(-beyond // self.package_size) if self.round_up else beyond // self.package_size

    def price(self, units: int) -> int:
        """Return the cumulative amount of `units`."""
        return self.packages(units) * self.package_amount

    def lines(self, units: int) -> list[LineDraft]:
        """Return one line whose quantity is the number of packages."""
        packages = self.packages(units)
        if self.unit_amount is None or packages == 0:
            return []
        return [LineDraft("usage", packages * self.unit_one, self.unit_amount, packages * self.package_amount)]


def without_allowance(scale: Scale) -> Scale:
    """Return the scale for tables in front of which the allowance is used up elsewhere."""
    return replace(scale, included=_ZERO, usage_discount=_ZERO)
