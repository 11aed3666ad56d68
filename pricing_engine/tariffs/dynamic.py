"""Dynamic: each event carries its own amount, or units are money; a multiplier adds the margin."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.measure import Measure
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of, scaled
from pricing_engine.tariffs.table import Scale
from pricing_engine.tariffs.table_pricer import required_units

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The sum of what events cost, times `multiplier`."""

    multiplier: Decimal = _ONE

    model = "dynamic"

    @staticmethod
    def read(fields: Fields) -> Dynamic:
        """Read `multiplier`, 1 where absent."""
        multiplier = fields.amount("multiplier", "negative_multiplier")
        return Dynamic(_ONE if multiplier is None else multiplier)

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        return {} if self.multiplier == _ONE else {"multiplier": plain(self.multiplier)}

    def unit_decimals(self) -> int:
        """No quantity is part of this price."""
        return 0

    def price_decimals(self) -> int:
        """Digits behind the point of the multiplier."""
        return decimals_of(self.multiplier)

    def pricer(self, scale: Scale) -> DynamicPricer:
        """Compile to one factor."""
        return DynamicPricer(
            unit_one=scale.unit_one,
            per_unit=scale.rate(self.multiplier),
            multiplier=scaled(self.multiplier, decimals_of(self.multiplier)),
            multiplier_one=10 ** decimals_of(self.multiplier),
            front=scale.units(scale.free_front),
        )


@dataclass(frozen=True, slots=True)
class DynamicPricer:
    """One lump sum. Amounts on events count whatever the units, also without any."""

    unit_one: int
    per_unit: int
    multiplier: int
    multiplier_one: int
    front: int

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the sum of the event amounts, or of units, times the multiplier."""
        if measure.event_amounts is not None:
            if self.front:
                raise InvalidValueError(
                    "free units have no price where events carry their amounts",
                    field="tariff",
                    code="allowance_on_event_amounts",
                )
            amount = sum(measure.event_amounts) * self.multiplier // self.multiplier_one
        else:
            units = required_units(measure)
            amount = self.per_unit * (max(units - self.front, 0) if units >= 0 else min(units + self.front, 0))
        return [LineDraft("usage", self.unit_one, None, amount)] if amount else []
