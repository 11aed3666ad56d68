"""Rating: from usage and a tariff to an exact amount, each step explained.

Order: convert -> included units -> usage discount -> price -> event minimum -> overage -> percentage discount ->
maximum -> minimum. Bundle and size discounts, coupons, tax and prepaid credits follow, on the invoice's lines.

A split of a period is the difference of two cumulative amounts, so splits always sum to the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from models.values.errors import InvalidValueError
from models.values.money import Currency, from_minor, round_to_minor
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.compiled import CompiledTariff, compile_tariff
from pricing_engine.tariffs.drafts import LineDraft, difference, is_shown
from pricing_engine.tariffs.measure import Measure
from pricing_engine.tariffs.modifiers import rounded, total_of
from pricing_engine.tariffs.scaling import exact_sum, unscaled
from pricing_engine.tariffs.tariff import Tariff
from pricing_engine.tariffs.usage import EventUsage, Usage, UsageGroup, parse_usage

__all__ = [
    "CompiledTariff",
    "EventUsage",
    "LineDiscount",
    "RatedLine",
    "Rating",
    "Step",
    "Usage",
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
        return exact_sum(part.amount for part in self.discounts)

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
    prior_billed that no earlier units explain (prior_units 0 or absent) only uses up the maximum and the minimum.
    Raises InvalidValueError where the usage lacks or contradicts what the tariff needs.
    """
    compiled = tariff if isinstance(tariff, CompiledTariff) else compile_tariff(tariff)
    earlier = usage.earlier
    billed = usage.prior_billed
    if billed is not None and (earlier is None or earlier.is_nothing):
        found = _beside(compiled, usage, billed, currency, round_lines=round_lines)
        if found is not None:
            return found
    if earlier is None:
        compiled = compiled.for_usage((usage,))
        run = _Run(compiled, _minor(compiled, currency) if round_lines else 1)
        return run.rating(run.lines(usage, final=usage.final, explain=True))
    cumulative = usage.after(earlier)
    compiled = compiled.for_usage((cumulative, earlier))
    run = _Run(compiled, _minor(compiled, currency) if round_lines else 1)
    now = run.lines(cumulative, final=usage.final, explain=True)
    before = run.lines(earlier, final=False, explain=False)
    return run.split_rating(now, before, billed, currency if round_lines else None)


def _beside(
    compiled: CompiledTariff, usage: Usage, billed: Decimal, currency: Currency, *, round_lines: bool
) -> Rating | None:
    """Rate a split beside which something was billed that no earlier units explain: it uses up the bounds.

    Returns None where the earlier bill is what no units cost under this tariff (a flat fee, a minimum), so that
    the ordinary difference applies. Raises InvalidValueError where there is no bound to count it against.
    """
    tariff = compiled.tariff
    if usage.earlier is not None:
        without_units = rate(compiled, usage.earlier, currency, round_lines=round_lines).amount
        rounding = from_minor(1, currency)  # The bill may have been rounded up.
        if tariff.maximum_spend is None or billed < EXACT.add(without_units, rounding):
            return None
    most, least = tariff.maximum_spend, tariff.minimum_spend
    bound = least if most is None else most
    if bound is None:
        raise InvalidValueError(
            "needs prior_units, or a maximum_spend or minimum_spend to count against",
            field="usage.prior_billed",
            value=billed,
            code="prior_billed_without_prior_units",
        )

    def room(bound: Decimal) -> Decimal:
        spent, of = (_rounded(billed, currency), _rounded(bound, currency)) if round_lines else (billed, bound)
        return max(EXACT.subtract(of, spent), _ZERO)

    left = replace(
        tariff,
        maximum_spend=None if most is None else room(most),
        minimum_spend=None if least is None else room(least),
    )
    alone = replace(usage, prior_units=None, prior_billed=None, prior=None)
    rating = rate(left, alone, currency, round_lines=round_lines)
    rule = f"{plain(billed)} billed beside this usage counts against the {'minimum' if most is None else 'maximum'}"
    return replace(rating, steps=(Step("earlier_bill", "amount", bound, room(bound), rule), *rating.steps))


def _minor(compiled: CompiledTariff, currency: Currency) -> int:
    digits = compiled.amount_exponent - currency.exponent
    return int(10**digits) * compiled.divisor if digits >= 0 else 1


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
        return [line for line in lines if is_shown(line)]

    def _explain_units(self, usage: Usage, measure: Measure) -> None:
        tariff = self._compiled.tariff
        billable = _billable_total(measure)
        if billable is None:
            return
        converted = self._units(billable)
        if tariff.windows is not None:
            weighed = tariff.windows.weigh(usage)
            rule = "each unit counts its window's factor"
            self._steps.append(Step("windows", "units", _raw_total(usage), _raw_total(weighed), rule))
            usage = weighed
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
        self._steps.append(Step(name, "amount", self._amount(before), self._amount(after), rule))

    def _amount(self, amount: int) -> Decimal:
        return unscaled(amount, self._compiled.amount_exponent, self._compiled.divisor)

    def _units(self, units: int) -> Decimal:
        return unscaled(units, self._compiled.billable_exponent, self._compiled.divisor)

    def rating(self, lines: list[LineDraft]) -> Rating:
        """Turn drafts into the result."""
        amount = self._amount(total_of(lines))
        return Rating(amount, self._settled(lines, amount), tuple(self._steps))

    def split_rating(
        self, now: list[LineDraft], before: list[LineDraft], prior_billed: Decimal | None, rounded_to: Currency | None
    ) -> Rating:
        """Subtract what earlier splits billed."""
        cumulative = self._amount(total_of(now))
        derived = self._amount(total_of(before))
        billed = derived if prior_billed is None else prior_billed
        if rounded_to is not None:
            billed = _rounded(billed, rounded_to)
        lines = self._settled(difference(now, before), EXACT.subtract(cumulative, derived))
        if billed != derived:
            correction = EXACT.subtract(derived, billed)
            lines += (RatedLine(PRIOR_BILLED, Decimal(1), correction, correction),)
        amount = EXACT.subtract(cumulative, billed)
        rule = f"less {plain(billed)} billed by earlier splits"
        return Rating(amount, lines, (*self._steps, Step("earlier_splits", "amount", cumulative, amount, rule)))

    def _settled(self, lines: list[LineDraft], amount: Decimal) -> tuple[RatedLine, ...]:
        """Turn drafts into lines that sum to `amount`.

        Only amounts without finite decimal form can miss it, by the last of 24 places: the last line takes that.
        """
        settled = [self._line(line) for line in lines]
        if self._compiled.divisor != 1 and settled:
            rest = amount
            for line in settled:
                rest = EXACT.subtract(rest, line.total)
            settled[-1] = replace(settled[-1], amount=EXACT.add(settled[-1].amount, rest))
        return tuple(settled)

    def _line(self, line: LineDraft) -> RatedLine:
        amount = self._amount(line.amount)
        charges = self._amount(line.charge)
        lump = amount if line.quantity >= 0 else amount.copy_negate()
        unit_amount = lump if line.unit_amount is None else line.unit_amount
        return RatedLine(
            line.component,
            self._units(line.quantity),
            charges if line.charge else unit_amount,
            amount,
            tuple(LineDiscount(kind, self._amount(off)) for kind, off in line.discounts.items() if off),
            charges,
        )


def _rounded(amount: Decimal, of: Currency) -> Decimal:
    return from_minor(round_to_minor(amount, of), of)


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
    return exact_sum(numbers or (event.value or _ZERO for event in usage.events or ()))
