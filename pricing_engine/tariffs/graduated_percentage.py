"""Graduated percentage: units are money, each tier bills a percentage of the part that falls into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from models.values.quantity import EXACT
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.table import Scale, SegmentTable
from pricing_engine.tariffs.table_pricer import TablePricer
from pricing_engine.tariffs.tier import (
    Tier,
    amount_decimals,
    edge_decimals,
    graduated_table,
    read_tiers,
    tiers_document,
)


@dataclass(frozen=True, slots=True)
class GraduatedPercentage:
    """Tiers whose per-unit component is a `rate` in percent."""

    tiers: tuple[Tier, ...]

    model = "graduated_percentage"

    @staticmethod
    def read(fields: Fields) -> GraduatedPercentage:
        """Read `tiers` with `rate`."""
        return GraduatedPercentage(read_tiers(fields, "rate"))

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        return {"tiers": tiers_document(self.tiers, "rate")}

    def unit_decimals(self) -> int:
        """Digits behind the point of the edges."""
        return edge_decimals(self.tiers)

    def price_decimals(self) -> int:
        """Digits behind the point of the rates as fractions of one."""
        return amount_decimals(self._per_unit())

    def table(self, scale: Scale) -> SegmentTable:
        """Compile to prefix sums."""
        return graduated_table(self._per_unit(), scale)

    def pricer(self, scale: Scale) -> TablePricer:
        """Compile to a pricer of `usage.units`."""
        return TablePricer(self.table(scale))

    def _per_unit(self) -> tuple[Tier, ...]:
        return tuple(
            replace(tier, unit_amount=None if tier.unit_amount is None else tier.unit_amount.scaleb(-2, EXACT))
            for tier in self.tiers
        )
