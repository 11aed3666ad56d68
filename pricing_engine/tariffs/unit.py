"""Per unit: every unit at one price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.quantity import plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of
from pricing_engine.tariffs.table import Piece, Scale, SegmentTable
from pricing_engine.tariffs.table_pricer import TablePricer


@dataclass(frozen=True, slots=True)
class Unit:
    """`unit_amount` None: no price is set, nothing is billed."""

    unit_amount: Decimal | None

    model = "unit"

    @staticmethod
    def read(fields: Fields) -> Unit:
        """Read `unit_amount`."""
        return Unit(fields.amount("unit_amount", "negative_price"))

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        return {} if self.unit_amount is None else {"unit_amount": plain(self.unit_amount)}

    def unit_decimals(self) -> int:
        """No quantity is part of this price."""
        return 0

    def price_decimals(self) -> int:
        """Digits behind the point of the price."""
        return decimals_of(self.unit_amount)

    def table(self, scale: Scale) -> SegmentTable:
        """Compile to one straight piece."""
        return single_rate_table("usage", self.unit_amount, scale)

    def pricer(self, scale: Scale) -> TablePricer:
        """Compile to a pricer of `usage.units`."""
        return TablePricer(self.table(scale))


def single_rate_table(component: str, unit_amount: Decimal | None, scale: Scale) -> SegmentTable:
    """Compile one rate for every unit after the free ones."""
    front = scale.units(scale.free_front)
    piece = Piece(component, unit_amount, component, None, 0)
    rate = 0 if unit_amount is None else scale.rate(unit_amount)
    return SegmentTable(scale.unit_one, front, 0, (), (front,), (rate,), (0,), True, (piece,))  # noqa: FBT003
