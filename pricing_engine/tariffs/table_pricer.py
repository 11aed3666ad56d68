"""Shapes whose price is a function of one number: a compiled table does it all."""

from __future__ import annotations

from dataclasses import dataclass

from models.values.errors import InvalidValueError
from pricing_engine.tariffs.drafts import LineDraft, negated
from pricing_engine.tariffs.measure import Measure
from pricing_engine.tariffs.scaling import half_away
from pricing_engine.tariffs.table import SegmentTable, Table


@dataclass(frozen=True, slots=True)
class TablePricer:
    """Looks the quantity up. A negative one is mirrored: price(-x) = -price(x)."""

    table: Table

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the price of `units`."""
        units = required_units(measure)
        return self.table.lines(units) if units >= 0 else negated(self.table.lines(-units))


@dataclass(frozen=True, slots=True)
class AlwaysPricer:
    """A flat price: due whatever the usage, also without any; prorated, the part of the period in service.

    A full period of no days makes no part of anything: then the whole amount is due.
    """

    table: SegmentTable
    proration: bool

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the flat amount."""
        lines = self.table.lines(0)
        if self.proration and measure.in_service is not None:
            days, of_days = measure.in_service
            for line in lines:
                line.amount = half_away(line.amount * days, of_days) if of_days else line.amount
        return lines


def required_units(measure: Measure) -> int:
    """Return `units`. Raises InvalidValueError where they are not given."""
    if measure.units is None:
        raise InvalidValueError("this model prices units", field="usage.units", code="units_required")
    return measure.units
