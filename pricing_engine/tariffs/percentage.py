"""Percentage of the money that passes through, plus an amount per event, with free events and bounds per event.

Free allowances, in the order of the events. The first `free_units_per_events` events are free; with
`free_units_per_total_aggregation` as well (or alone) they are free only as long as their running total stays
below it, and the event that passes it pays for the part above. An event is free of the fixed amount while the
running total, itself included, is below the free amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.measure import Measure, after_allowance
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of_all
from pricing_engine.tariffs.table import Scale
from pricing_engine.tariffs.table_pricer import required_units

_NAMES = (
    "rate",
    "fixed_amount",
    "free_units_per_total_aggregation",
    "per_transaction_min_amount",
    "per_transaction_max_amount",
)


@dataclass(frozen=True, slots=True)
class Percentage:
    """`rate` in percent, None: only fixed amounts are due. An allowance of 0 is none."""

    rate: Decimal | None
    fixed_amount: Decimal | None = None
    free_units_per_events: int = 0
    free_units_per_total_aggregation: Decimal | None = None
    per_transaction_min_amount: Decimal | None = None
    per_transaction_max_amount: Decimal | None = None

    model = "percentage"

    @staticmethod
    def read(fields: Fields) -> Percentage:
        """Read rate, fixed amount, allowances and bounds."""
        return Percentage(
            fields.percent("rate", "negative_rate"),
            fields.amount("fixed_amount", "negative_price"),
            fields.count("free_units_per_events", "free_events_not_whole") or 0,
            fields.amount("free_units_per_total_aggregation", "negative_free_units") or None,
            fields.amount("per_transaction_min_amount", "negative_transaction_bound"),
            fields.amount("per_transaction_max_amount", "negative_transaction_bound"),
        )

    @property
    def prices_events(self) -> bool:
        """Whether each event counts, not only their sum and number."""
        bounds = (self.per_transaction_min_amount, self.per_transaction_max_amount)
        is_free = self.free_units_per_total_aggregation is not None and self.fixed_amount is not None
        return bool(self.free_units_per_events) or is_free or bounds != (None, None)

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        numbers = ((name, getattr(self, name)) for name in _NAMES)
        document: dict[str, Any] = {name: plain(number) for name, number in numbers if number is not None}
        if self.free_units_per_events:
            document["free_units_per_events"] = str(self.free_units_per_events)
        return document

    def unit_decimals(self) -> int:
        """Digits behind the point of the free amount."""
        return decimals_of_all((self.free_units_per_total_aggregation,))

    def price_decimals(self) -> int:
        """Digits behind the point of the rate as a fraction of one, and of the amounts."""
        return decimals_of_all(
            (self._fraction(), self.fixed_amount, self.per_transaction_min_amount, self.per_transaction_max_amount)
        )

    def _fraction(self) -> Decimal:
        return (self.rate or Decimal(0)).scaleb(-2, EXACT)

    def pricer(self, scale: Scale) -> PercentagePricer:
        """Compile to integers."""

        def amount(number: Decimal | None) -> int | None:
            return None if number is None else scale.amount(number)

        return PercentagePricer(
            unit_one=scale.unit_one,
            front=scale.units(scale.free_front),
            unit_amount=self._fraction(),
            rate=scale.rate(self._fraction()),
            fixed_amount=self.fixed_amount,
            fixed=amount(self.fixed_amount) or 0,
            free_events=self.free_units_per_events,
            free_amount=scale.units(self.free_units_per_total_aggregation or Decimal(0)),
            lower=amount(self.per_transaction_min_amount),
            upper=amount(self.per_transaction_max_amount),
        )


@dataclass(frozen=True, slots=True)
class PercentagePricer:
    """Prices events one by one where that matters, else their total."""

    unit_one: int
    front: int
    unit_amount: Decimal
    rate: int
    fixed_amount: Decimal | None
    fixed: int
    free_events: int
    free_amount: int
    lower: int | None
    upper: int | None

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return percentage, fixed amounts, and what the bounds per event add or take."""
        values = self._values(measure)
        if self.lower is not None or self.upper is not None:
            return self._bounded_lines(values)
        units = sum(values) if values is not None and measure.units is None else required_units(measure)
        if self.front and values is None:
            units = max(units - self.front, 0)
        elif self.front and values is not None:
            units = sum(values)
        free_units, free_events = self._free(measure, values, units)
        events = 0
        if self.fixed_amount is not None:
            events = max(_event_count(measure, values) - free_events, 0)
        return self._lines(units - free_units, events)

    def _values(self, measure: Measure) -> list[int] | None:
        if measure.values is not None:
            return after_allowance(measure.values, self.front)
        needs_events = self.lower is not None or self.upper is not None
        if needs_events and measure.event_count == 1:
            return after_allowance([required_units(measure)], self.front)
        return None

    def _free(self, measure: Measure, values: list[int] | None, units: int) -> tuple[int, int]:
        """Return the free units and the number of events free of the fixed amount."""
        if not self.free_events and not self.free_amount:
            return 0, 0
        running = self._running_total(measure, values, units)
        reached = running[-1] if running else 0
        if not self.free_amount:
            return reached, self.free_events
        below = sum(1 for total in running if total < self.free_amount)
        return min(reached, self.free_amount), min(below, self.free_events) if self.free_events else below

    def _running_total(self, measure: Measure, values: list[int] | None, units: int) -> list[int]:
        if values is not None:
            running = list(accumulate(values))
        elif measure.running_total is not None:
            return [max(total - self.front, 0) for total in measure.running_total]
        elif not self.free_events and self.fixed_amount is None:
            running = [units]  # Without a price per event only the total matters.
        elif measure.event_count == 1:
            running = [units]
        else:
            raise InvalidValueError(
                "free events or amounts need the events, or running_total", field="usage.events", code="events_required"
            )
        return running[: self.free_events] if self.free_events else running

    def _lines(self, units: int, events: int) -> list[LineDraft]:
        lines = []
        if units:
            lines.append(LineDraft("percentage", units, self.unit_amount, units * self.rate))
        if self.fixed_amount is not None and events:
            lines.append(LineDraft("fixed", events * self.unit_one, self.fixed_amount, events * self.fixed))
        return lines

    def _bounded_lines(self, values: list[int] | None) -> list[LineDraft]:
        if values is None:
            raise InvalidValueError(
                "bounds per event need the events", field="usage.events", code="events_required_for_bounds"
            )
        paid_units = paid_events = raised = lowered = running = 0
        for i, value in enumerate(values):
            running += value
            paid, is_free = self._payable(i, value, running)
            if is_free:
                continue
            paid_units += paid
            paid_events += 1
            amount = paid * self.rate + self.fixed
            bounded = amount if self.lower is None else max(amount, self.lower)
            bounded = bounded if self.upper is None else min(bounded, self.upper)
            raised += max(bounded - amount, 0)
            lowered += min(bounded - amount, 0)
        lines = self._lines(paid_units, paid_events)
        if raised:
            lines.append(LineDraft("transaction-minimum", self.unit_one, None, raised))
        if lowered:
            lines.append(LineDraft("transaction-maximum", self.unit_one, None, lowered))
        return lines

    def _payable(self, index: int, value: int, running: int) -> tuple[int, bool]:
        """Return how much of an event is paid for, and whether it is free altogether."""
        if self.free_events and index >= self.free_events:
            return value, False
        if not self.free_amount:
            return value, bool(self.free_events)
        if running < self.free_amount:
            return 0, True
        return min(value, running - self.free_amount), False


def _event_count(measure: Measure, values: list[int] | None) -> int:
    if measure.event_count is not None:
        return measure.event_count
    if values is not None:
        return len(values)
    raise InvalidValueError(
        "a fixed amount per event needs the number of events, earlier splits' included",
        field="usage.event_count",
        code="event_count_required",
    )
