"""What happens to a price after the shape has set it, in this order, each on the lines before it.

event minimum -> overage -> percentage discount -> maximum spend -> minimum spend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of, half_away, scaled

PERCENTAGE_DISCOUNT = "percentage"
MAXIMUM_SPEND = "maximum_spend"
Trace = Callable[[str, int, int, str], None]
"""Told each step: its name, the amount before and after, the rule."""


@dataclass(frozen=True, slots=True)
class Overage:
    """What the price exceeds `commitment` by is multiplied by `factor`."""

    commitment: Decimal
    factor: Decimal

    @staticmethod
    def read(fields: Fields) -> Overage:
        """Read `commitment` and `factor`."""
        commitment = fields.amount("commitment", "negative_commitment")
        factor = fields.amount("factor", "negative_overage_factor")
        fields.finish("unknown_overage_field")
        if commitment is None or factor is None:
            missing = "commitment" if commitment is None else "factor"
            raise InvalidValueError("is required", field=fields.path(missing), code="incomplete_overage")
        return Overage(commitment, factor)

    def document(self) -> dict[str, Any]:
        """Write the overage in wire form."""
        return {"commitment": plain(self.commitment), "factor": plain(self.factor)}


@dataclass(frozen=True, slots=True)
class CompiledModifiers:
    """The modifiers as integers of the tariff's amount scale.

    The scale leaves room for every digit that factor and percentage add, so their divisions come out whole.
    `total` is `apply` on the sum alone, for prices without explanation: both give the same amount.
    """

    unit_one: int
    event_minimum: int | None
    commitment: int | None
    overage_extra: int  # (factor - 1) * overage_one
    overage_one: int
    percent_off: int  # percent * percent_one / 100
    percent_one: int
    maximum: int | None
    minimum: int | None

    @property
    def is_identity(self) -> bool:
        """True where nothing happens to a price known from units alone."""
        return self.commitment is None and not self.percent_off and self.maximum is None and self.minimum is None

    def total(self, amount: int) -> int:
        """Return what a whole period's price becomes, rounded nowhere."""
        if self.commitment is not None and amount > self.commitment:
            amount += (amount - self.commitment) * self.overage_extra // self.overage_one
        if self.percent_off:
            amount -= amount * self.percent_off // self.percent_one
        if self.maximum is not None and amount > self.maximum:
            amount = self.maximum
        if self.minimum is not None and amount < self.minimum:
            amount = self.minimum
        return amount

    def apply(
        self, lines: list[LineDraft], *, event_count: int | None, final: bool, minor: int, trace: Trace | None
    ) -> None:
        """Change `lines` in place. Every amount this makes is rounded to a multiple of `minor` (1: not at all)."""
        self._raise_to_event_minimum(lines, event_count, minor, trace)
        self._add_overage(lines, minor, trace)
        self._discount(lines, minor, trace)
        self._cap(lines, minor, trace)
        if final:
            self._top_up(lines, minor, trace)

    def _raise_to_event_minimum(
        self, lines: list[LineDraft], event_count: int | None, minor: int, trace: Trace | None
    ) -> None:
        if self.event_minimum is None:
            return
        if event_count is None:
            raise InvalidValueError(
                "a minimum per event needs the number of events, earlier splits' included",
                field="usage.event_count",
                code="event_count_required_for_minimum",
            )
        before = total_of(lines)
        due = rounded(event_count * self.event_minimum, minor)
        if before < due:
            lines.append(LineDraft("event-minimum", self.unit_one, None, due - before))
        if trace:
            trace("event_minimum", before, max(before, due), f"at least the minimum of {event_count} events")

    def _add_overage(self, lines: list[LineDraft], minor: int, trace: Trace | None) -> None:
        if self.commitment is None:
            return
        before = total_of(lines)
        extra = 0
        if before > self.commitment:
            extra = _share(before - self.commitment, self.overage_extra, self.overage_one, minor)
            if extra:
                lines.append(LineDraft("overage", self.unit_one, None, extra))
        if trace:
            trace("overage", before, before + extra, "what exceeds the commitment is multiplied")

    def _discount(self, lines: list[LineDraft], minor: int, trace: Trace | None) -> None:
        if not self.percent_off:
            return
        before = total_of(lines)
        for line in lines:
            off = _share(line.amount, self.percent_off, self.percent_one, minor)
            if off:
                line.discounts[PERCENTAGE_DISCOUNT] = off
        if trace:
            trace("percentage_discount", before, total_of(lines), "a percentage of each line")

    def _cap(self, lines: list[LineDraft], minor: int, trace: Trace | None) -> None:
        if self.maximum is None:
            return
        before = total_of(lines)
        excess = before - rounded(self.maximum, minor)
        left = excess
        for line in reversed(lines):
            if left <= 0:
                break
            off = min(max(line.total, 0), left)
            if off:
                line.discounts[MAXIMUM_SPEND] = off
                left -= off
        if trace:
            trace("maximum_spend", before, before - max(excess, 0), "at most the maximum, taken off the last lines")

    def _top_up(self, lines: list[LineDraft], minor: int, trace: Trace | None) -> None:
        if self.minimum is None:
            return
        before = total_of(lines)
        missing = rounded(self.minimum, minor) - before
        if missing > 0:
            lines.append(LineDraft("minimum-spend", self.unit_one, None, 0, charge=missing))
        if trace:
            trace("minimum_spend", before, before + max(missing, 0), "at least the minimum")


def compile_percent(percent: Decimal | None) -> tuple[int, int]:
    """Return a percentage as a fraction of integers: 33.3 -> (333, 1000)."""
    if percent is None:
        return 0, 1
    digits = decimals_of(percent)
    return scaled(percent, digits), 100 * 10**digits


def total_of(lines: list[LineDraft]) -> int:
    """Return what all lines come to."""
    return sum(line.total for line in lines)


def rounded(amount: int, minor: int) -> int:
    """Round to a multiple of `minor`, half away from zero."""
    return amount if minor == 1 else half_away(amount, minor) * minor


def _share(amount: int, numerator: int, denominator: int, minor: int) -> int:
    if minor == 1:
        return amount * numerator // denominator
    return half_away(amount * numerator, denominator * minor) * minor
