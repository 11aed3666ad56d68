"""Bucketed: each hour's or day's value is priced on its own, and the prices are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.values.errors import InvalidValueError
from pricing_engine.tariffs.drafts import LineDraft, merge, negated
from pricing_engine.tariffs.graduated import Graduated
from pricing_engine.tariffs.measure import Measure, after_allowance
from pricing_engine.tariffs.package import Package
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.table import Scale, Table, without_allowance
from pricing_engine.tariffs.unit import Unit
from pricing_engine.tariffs.volume import Volume

PREFIX = "bucketed_"


@dataclass(frozen=True, slots=True)
class Bucketed:
    """`inner` prices one bucket; its tiers and packages start anew in each."""

    inner: Unit | Graduated | Volume | Package

    @property
    def model(self) -> str:
        """Name of the model on the wire."""
        return PREFIX + self.inner.model

    @staticmethod
    def read(fields: Fields, inner: type[Unit | Graduated | Volume | Package]) -> Bucketed:
        """Read the fields of the inner model."""
        return Bucketed(inner.read(fields))

    def document(self) -> dict[str, Any]:
        """Write the fields of the inner model."""
        return self.inner.document()

    def unit_decimals(self) -> int:
        """Digits behind the point of quantities in the inner price."""
        return self.inner.unit_decimals()

    def price_decimals(self) -> int:
        """Digits behind the point of amounts in the inner price."""
        return self.inner.price_decimals()

    def pricer(self, scale: Scale) -> BucketedPricer:
        """Compile the inner table once for all buckets."""
        return BucketedPricer(self.inner.table(without_allowance(scale)), scale.units(scale.free_front))


@dataclass(frozen=True, slots=True)
class BucketedPricer:
    """Included and discounted units are used up by the earliest buckets."""

    table: Table
    front: int

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the prices of all buckets, added up by component."""
        if measure.buckets is None:
            raise InvalidValueError("this model prices buckets", field="usage.buckets", code="buckets_required")
        buckets = after_allowance(measure.buckets, self.front)
        return merge([line for units in buckets for line in price_of(self.table, units)])


def price_of(table: Table, units: int) -> list[LineDraft]:
    """Return a table's lines for a quantity of either sign."""
    return table.lines(units) if units >= 0 else negated(table.lines(-units))
