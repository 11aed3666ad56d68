"""Rating: from usage and a tariff to an exact amount, each step explained.

Order: convert -> included units -> usage discount -> price -> event minimum -> overage -> percentage discount ->
maximum -> minimum. Bundle and size discounts, coupons, tax and prepaid credits follow, on the invoice's lines.

A split of a period is the difference of two cumulative amounts, so splits always sum to the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from models.values.errors import InvalidValueError
from models.values.money import Currency, from_minor, round_to_minor
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.compiled import CompiledTariff, compile_tariff
from pricing_engine.tariffs.drafts import LineDraft, difference
from pricing_engine.tariffs.measure import Measure
from pricing_engine.tariffs.modifiers import rounded, total_of
from pricing_engine.tariffs.scaling import unscaled
from pricing_engine.tariffs.tariff import Tariff
from pricing_engine.tariffs.usage import Usage, UsageEvent, UsageGroup, parse_usage

__all__ = [
    "CompiledTariff",
    "LineDiscount",
    "RatedLine",
    "Rating",
    "Step",
    "Usage",
    "UsageEvent",
    "UsageGroup",
    "compile_tariff",
    "parse_usage",
    "rate",
]

_ZERO = Decimal(0)
PRIOR_BILLED = "prior-billed"


@dataclass(frozen=True, slots=True)
class LineDiscount:
    """What one kind of discount takes off a line."""

    kind: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One component of a rated amount, in major units. `amount` is before discounts and charges."""

    component: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Decimal
    discounts: tuple[LineDiscount, ...] = ()
    charges: Decimal = _ZERO

    @property
    def discount(self) -> Decimal:
        """What all discounts take off."""
        return sum((part.amount for part in self.discounts), _ZERO)

    @property
    def total(self) -> Decimal:
        """What is due for this line."""
        return EXACT.subtract(EXACT.add(self.amount, self.charges), self.discount)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the explanation: what it was about (`units` or `amount`), before, after, and the rule."""

    name: str
    of: str
    before: Decimal
    after: Decimal
    rule: str


@dataclass(frozen=True, slots=True)
class Rating:
    """A rated amount in major units: exact, or rounded line by line. The lines' totals sum to it."""

    amount: Decimal
    lines: tuple[RatedLine, ...]
    steps: tuple[Step, ...]


def rate(tariff: Tariff | CompiledTariff, usage: Usage, currency: Currency, *, round_lines: bool = False) -> Rating:
    """Rate one split of a period (by default the whole period).

    round_lines: round each line and each discount half away from zero to the currency, and sum those.
    Raises InvalidValueError where the usage lacks or contradicts what the tariff needs.
    """
    compiled = tariff if isinstance(tariff, CompiledTariff) else compile_tariff(tariff)
    earlier = usage.earlier
    if earlier is None:
        compiled = compiled.for_usage((usage,))
    else:
        usage_now = usage.after(earlier)
        compiled = compiled.for_usage((usage_now, earlier))
    run = _Run(compiled, _minor(compiled, currency) if round_lines else 1)
    if earlier is None:
        if usage.prior_billed is not None:
            raise InvalidValueError(
                "needs prior_units", field="usage.prior_billed", code="prior_billed_without_prior_units"
            )
        return run.rating(run.lines(usage, final=usage.final, explain=True))
    now = run.lines(usage_now, final=usage.final, explain=True)
    before = run.lines(earlier, final=False, explain=False)
    return run.split_rating(now, before, usage.prior_billed, currency if round_lines else None)


def _minor(compiled: CompiledTariff, currency: Currency) -> int:
    digits = compiled.amount_exponent - currency.exponent
    return int(10**digits) if digits > 0 else 1


class _Run:
    """One call of `rate`: collects the steps while drafting lines."""

    __slots__ = ("_compiled", "_minor", "_steps")

    def __init__(self, compiled: CompiledTariff, minor: int) -> None:
        self._compiled = compiled
        self._minor = minor
        self._steps: list[Step] = []

    def lines(self, usage: Usage, *, final: bool, explain: bool) -> list[LineDraft]:
        """Rate usage from the start of the period on."""
        compiled = self._compiled
        if compiled.is_deferred and not final:
            return []
        measure = compiled.measure(usage)
        if explain:
            self._explain_units(usage, measure)
        lines = compiled.pricer.lines(measure)
        if self._minor != 1:
            for line in lines:
                line.amount = rounded(line.amount, self._minor)
        if explain:
            self._trace("price", 0, total_of(lines), f"{compiled.tariff.model} price")
        compiled.modifiers.apply(
            lines,
            event_count=measure.event_count,
            final=final,
            minor=self._minor,
            trace=self._trace if explain else None,
        )
        return [line for line in lines if line.amount or line.charge or _is_free_of_charge(line)]

    def _explain_units(self, usage: Usage, measure: Measure) -> None:
        tariff = self._compiled.tariff
        billable = _billable_total(measure)
        if billable is None:
            return
        converted = unscaled(billable, self._compiled.billable_exponent)
        if self._compiled.conversion is not None:
            raw = _raw_total(usage)
            rule = tariff.unit_conversion.describe() if tariff.unit_conversion else "whole blocks"
            self._steps.append(Step("unit_conversion", "units", raw, converted, rule))
        for name, allowance, rule in (
            ("included_units", tariff.included_units, "a free tier in front"),
            ("usage_discount", tariff.usage_discount, "units taken off"),
        ):
            if allowance is not None:
                left = max(EXACT.subtract(converted, allowance), _ZERO)
                self._steps.append(Step(name, "units", converted, left, rule))
                converted = left

    def _trace(self, name: str, before: int, after: int, rule: str) -> None:
        exponent = self._compiled.amount_exponent
        self._steps.append(Step(name, "amount", unscaled(before, exponent), unscaled(after, exponent), rule))

    def rating(self, lines: list[LineDraft]) -> Rating:
        """Turn drafts into the result."""
        amount = unscaled(total_of(lines), self._compiled.amount_exponent)
        return Rating(amount, tuple(map(self._line, lines)), tuple(self._steps))

    def split_rating(
        self, now: list[LineDraft], before: list[LineDraft], prior_billed: Decimal | None, rounded_to: Currency | None
    ) -> Rating:
        """Subtract what earlier splits billed."""
        exponent = self._compiled.amount_exponent
        cumulative = unscaled(total_of(now), exponent)
        derived = unscaled(total_of(before), exponent)
        billed = derived if prior_billed is None else prior_billed
        if rounded_to is not None:
            billed = from_minor(round_to_minor(billed, rounded_to), rounded_to)
        lines = [self._line(line) for line in difference(now, before)]
        if billed != derived:
            correction = EXACT.subtract(derived, billed)
            lines.append(RatedLine(PRIOR_BILLED, Decimal(1), correction, correction))
        amount = EXACT.subtract(cumulative, billed)
        rule = f"less {plain(billed)} billed by earlier splits"
        return Rating(amount, tuple(lines), (*self._steps, Step("earlier_splits", "amount", cumulative, amount, rule)))

    def _line(self, line: LineDraft) -> RatedLine:
        exponent = self._compiled.amount_exponent
        amount = unscaled(line.amount, exponent)
        charges = unscaled(line.charge, exponent)
        unit_amount = line.unit_amount if line.unit_amount is not None else amount
        return RatedLine(
            line.component,
            unscaled(line.quantity, self._compiled.billable_exponent),
            charges if line.charge else unit_amount,
            amount,
            tuple(LineDiscount(kind, unscaled(off, exponent)) for kind, off in line.discounts.items() if off),
            charges,
        )


def _is_free_of_charge(line: LineDraft) -> bool:
    """Return whether the price is zero: such a line shows what was used for nothing; what rounds to zero is cut."""
    return line.unit_amount == _ZERO


def _billable_total(measure: Measure) -> int | None:
    if measure.units is not None:
        return measure.units
    if measure.buckets is not None:
        return sum(measure.buckets)
    return None if measure.groups is None else sum(units for _, units in measure.groups)


def _raw_total(usage: Usage) -> Decimal:
    if usage.units is not None:
        return usage.units
    numbers = usage.buckets or tuple(group.units for group in usage.groups or ())
    return sum(numbers or (event.value or _ZERO for event in usage.events or ()), _ZERO)
