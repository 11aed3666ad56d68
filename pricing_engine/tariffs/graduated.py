"""Graduated: each tier prices the units that fall into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
class Graduated:
    """Tier i prices the units above the edge before it up to its own, and adds its flat amount once entered."""

    tiers: tuple[Tier, ...]

    model = "graduated"

    @staticmethod
    def read(fields: Fields) -> Graduated:
        """Read `tiers`."""
        return Graduated(read_tiers(fields, "unit_amount"))

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        return {"tiers": tiers_document(self.tiers, "unit_amount")}

    def unit_decimals(self) -> int:
        """Digits behind the point of the edges."""
        return edge_decimals(self.tiers)

    def price_decimals(self) -> int:
        """Digits behind the point of the amounts."""
        return amount_decimals(self.tiers)

    def table(self, scale: Scale) -> SegmentTable:
        """Compile to prefix sums."""
        return graduated_table(self.tiers, scale)

    def pricer(self, scale: Scale) -> TablePricer:
        """Compile to a pricer of `usage.units`."""
        return TablePricer(self.table(scale))
