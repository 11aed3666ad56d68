"""A tariff compiled once to scaled integers: prefix sums and bisection for tiers, one multiplication a price."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal

from models.values.errors import InvalidValueError
from models.values.quantity import MAX_FRACTION_DIGITS
from pricing_engine.tariffs.conversion import CEILING, DIVIDE, CompiledConversion, UnitConversion, compile_conversion
from pricing_engine.tariffs.flat import IN_ARREARS, Flat
from pricing_engine.tariffs.graduated import Graduated
from pricing_engine.tariffs.measure import Measure, Pricer, ProratedChange
from pricing_engine.tariffs.modifiers import CompiledModifiers, compile_percent
from pricing_engine.tariffs.prorated import ProratedGraduatedPricer, ProratedVolumePricer
from pricing_engine.tariffs.scaling import decimals_of, decimals_of_all, exact_sum, scaled, unscaled
from pricing_engine.tariffs.table import Scale, Table
from pricing_engine.tariffs.table_pricer import AlwaysPricer, TablePricer
from pricing_engine.tariffs.tariff import LAST_ONLY, Shape, Tariff
from pricing_engine.tariffs.tier import in_block, in_blocks
from pricing_engine.tariffs.usage import Usage
from pricing_engine.tariffs.volume import Volume

MAX_CURRENCY_EXPONENT = 12
"""No currency or custom credit has a finer minor unit."""
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CompiledTariff:
    """Integers that price a tariff.

    A raw quantity x is the integer x * 10^unit_exponent; `conversion` (None: none) turns it into billable units of
    10^-billable_exponent; `table` (None: the shape needs more than one number) prices those as integers of
    10^-amount_exponent of the currency's major unit; `modifiers` finish the amount. `divisor`, nearly always 1,
    makes billable units and amounts that much finer where a conversion has no finite decimal form. For a
    SegmentTable:
    price = bases[i] + rates[i] * (units - starts[i]), i = bisect_left(edges, units), at_free up to free_up_to.
    """

    tariff: Tariff
    unit_exponent: int
    billable_exponent: int
    amount_exponent: int
    divisor: int
    conversion: CompiledConversion | None
    pricer: Pricer
    table: Table | None
    modifiers: CompiledModifiers
    is_plain: bool
    is_deferred: bool
    _finer: dict[int, CompiledTariff] = field(default_factory=dict, compare=False, repr=False)

    def price_scaled(self, units: int) -> int:
        """Return the whole period's amount of `units` (both scaled), minimum and maximum included.

        The fast path, about a microsecond: integers in, an integer out, no explanation. It equals `rate`.
        Raises InvalidValueError for a tariff that units alone do not price, and for a negative quantity unless
        the tariff says what it means.
        """
        table = self.table
        if table is None or self.modifiers.event_minimum is not None:
            raise InvalidValueError("units alone do not price this tariff", field="usage", code="units_not_enough")
        if units < 0:
            return self._negative_scaled(units, table)
        if self.is_plain:
            return table.price(units)
        return self.modifiers.total(table.price(self.billable(units)))

    def _negative_scaled(self, units: int, table: Table) -> int:
        if self.tariff.allow_negative is None:
            raise negative_units(unscaled(units, self.unit_exponent))
        billable = self.billable(-units)
        # What converts to nothing, and what is due whatever the usage, has no mirror image.
        if not billable or not self.tariff.allow_negative or isinstance(self.pricer, AlwaysPricer):
            return self.modifiers.total(table.price(0))
        return self.modifiers.total(-table.price(billable))

    def amount(self, units: Decimal) -> Decimal:
        """Return the whole period's exact amount of `units`, in major units. See `price_scaled`."""
        decimals = decimals_of(units)
        if decimals > self.unit_exponent:
            return self.at(decimals).amount(units)
        return unscaled(self.price_scaled(scaled(units, self.unit_exponent)), self.amount_exponent, self.divisor)

    def billable(self, units: int) -> int:
        """Turn raw scaled units into billable ones."""
        return units if self.conversion is None else self.conversion.apply(units)

    def at(self, unit_exponent: int) -> CompiledTariff:
        """Return this tariff compiled for quantities with at least that many digits behind the point."""
        if unit_exponent <= self.unit_exponent:
            return self
        if unit_exponent not in self._finer:
            self._finer[unit_exponent] = compile_tariff(self.tariff, unit_exponent)
        return self._finer[unit_exponent]

    def for_usage(self, usages: tuple[Usage, ...]) -> CompiledTariff:
        """Return this tariff compiled finely enough for every quantity in `usages`."""
        weights = 0 if self.tariff.windows is None else self.tariff.windows.decimals()
        return self.at(weights + max(_usage_decimals(usage) for usage in usages))

    def measure(self, usage: Usage) -> Measure:
        """Turn usage since the start of the period into scaled billable integers.

        Raises InvalidValueError for a negative quantity unless the tariff says what it means.
        """
        if self.tariff.windows is not None:
            usage = self.tariff.windows.weigh(usage)
        events = usage.events
        values = None if events is None else [event.value for event in events if event.value is not None]
        complete = values is not None and events is not None and len(values) == len(events)
        amounts = None if events is None else [event.amount for event in events if event.amount is not None]
        units = usage.units
        if units is None and values is not None and complete:
            units = exact_sum(values)
        return Measure(
            units=None if units is None else self._quantity(units),
            full_units=None if usage.full_units is None else self._quantity(usage.full_units),
            event_count=usage.event_count,
            values=tuple(map(self._quantity, values)) if values is not None and complete else None,
            event_amounts=tuple(scaled(amount, self.amount_exponent) * self.divisor for amount in amounts)
            if amounts
            else None,
            running_total=None if usage.running_total is None else tuple(map(self._quantity, usage.running_total)),
            changes=self._changes(usage),
            buckets=None if usage.buckets is None else tuple(map(self._quantity, usage.buckets)),
            groups=None
            if usage.groups is None
            else tuple((dict(group.properties), self._quantity(group.units)) for group in usage.groups),
            in_service=_in_service(usage),
        )

    def _changes(self, usage: Usage) -> tuple[ProratedChange, ...] | None:
        if usage.events is None or any(event.full is None or event.prorated is None for event in usage.events):
            return None
        return tuple(
            ProratedChange(self._signed(event.full or _ZERO), self._signed(event.prorated or _ZERO))
            for event in usage.events
        )

    def _signed(self, units: Decimal) -> int:
        return self.billable(scaled(units, self.unit_exponent))

    def _quantity(self, units: Decimal) -> int:
        if units < 0:
            if self.tariff.allow_negative is None:
                raise negative_units(units)
            if not self.tariff.allow_negative:
                return 0
        return self._signed(units)


def _in_service(usage: Usage) -> tuple[int, int] | None:
    """Return service days and full days as integers of one scale; None where not given."""
    days, of_days = usage.service_days, usage.full_days
    if days is None or of_days is None:
        return None
    exponent = decimals_of_all((days, of_days))
    return scaled(days, exponent), scaled(of_days, exponent)


def negative_units(units: Decimal) -> InvalidValueError:
    """Return the refusal of a negative quantity."""
    return InvalidValueError(
        "must be >= 0; a tariff may say allow_negative", field="usage.units", value=units, code="negative_units"
    )


def _usage_decimals(usage: Usage) -> int:
    numbers = [usage.units, usage.full_units, *(usage.running_total or ()), *(usage.buckets or ())]
    numbers += [group.units for group in usage.groups or ()]
    numbers += [units for _, units in usage.window_units or ()]
    for event in usage.events or ():
        numbers += (event.value, event.amount, event.full, event.prorated)
    return decimals_of_all(numbers)


def compile_tariff(tariff: Tariff, unit_exponent: int = 0) -> CompiledTariff:
    """Compile for quantities of at least `unit_exponent` digits behind the point.

    The result's own `unit_exponent` says how quantities must be scaled: as asked, or more where tier edges need it.
    """
    shape, conversion, included, discount = _unblocked(tariff)
    least = max(shape.unit_decimals(), decimals_of(included), decimals_of(discount))
    if tariff.prorated:
        least = MAX_FRACTION_DIGITS
    if conversion is None:
        raw = billable = max(unit_exponent, least)
        compiled_conversion, divisor = None, 1
    else:
        raw = unit_exponent
        compiled_conversion, billable, divisor = compile_conversion(conversion, raw, least)
    extra = _modifier_decimals(tariff)
    amount_exponent = extra + max(billable + shape.price_decimals(), raw, _modifier_amount_decimals(tariff))
    if divisor != 1:
        amount_exponent = max(amount_exponent, MAX_CURRENCY_EXPONENT)
    scale = Scale(billable, amount_exponent, divisor, included, discount, tariff.zero_usage_flat_fee)
    pricer = _pricer(tariff, shape, scale)
    modifiers = _compile_modifiers(tariff, scale)
    return CompiledTariff(
        tariff=tariff,
        unit_exponent=raw,
        billable_exponent=billable,
        amount_exponent=amount_exponent,
        divisor=divisor,
        conversion=compiled_conversion,
        pricer=pricer,
        table=pricer.table if isinstance(pricer, TablePricer | AlwaysPricer) and tariff.windows is None else None,
        modifiers=modifiers,
        is_plain=compiled_conversion is None and modifiers.is_identity,
        is_deferred=tariff.volume_split == LAST_ONLY or (isinstance(shape, Flat) and shape.payment_term == IN_ARREARS),
    )


def _pricer(tariff: Tariff, shape: Shape, scale: Scale) -> Pricer:
    if tariff.prorated and isinstance(shape, Graduated):
        return ProratedGraduatedPricer(shape.table(scale))
    if tariff.prorated and isinstance(shape, Volume):
        return ProratedVolumePricer(shape.table(scale))
    return shape.pricer(scale)


def _unblocked(tariff: Tariff) -> tuple[Shape, UnitConversion | None, Decimal, Decimal]:
    """Restate billing units as what they are: a division, rounded up, with edges and allowances in blocks."""
    shape, conversion = tariff.shape, tariff.unit_conversion
    included, discount = tariff.included_units or _ZERO, tariff.usage_discount or _ZERO
    block = tariff.billing_units
    if block is None:
        return shape, conversion, included, discount
    if isinstance(shape, Graduated | Volume):
        shape = replace(shape, tiers=in_blocks(shape.tiers, block))
    return shape, UnitConversion(DIVIDE, block, CEILING), in_block(included, block), in_block(discount, block)


def _modifier_decimals(tariff: Tariff) -> int:
    """Digits that the overage factor and the discount add behind the point."""
    overage = 0 if tariff.overage is None else decimals_of(tariff.overage.factor)
    discount = 0 if tariff.percentage_discount is None else decimals_of(tariff.percentage_discount) + 2
    return overage + discount


def _modifier_amount_decimals(tariff: Tariff) -> int:
    commitment = None if tariff.overage is None else tariff.overage.commitment
    return decimals_of_all((tariff.event_minimum, commitment, tariff.maximum_spend, tariff.minimum_spend))


def _compile_modifiers(tariff: Tariff, scale: Scale) -> CompiledModifiers:
    def amount(number: Decimal | None) -> int | None:
        return None if number is None else scale.amount(number)

    factor = Decimal(1) if tariff.overage is None else tariff.overage.factor
    overage_one = 10 ** decimals_of(factor)
    percent_off, percent_one = compile_percent(tariff.percentage_discount)
    return CompiledModifiers(
        unit_one=scale.unit_one,
        event_minimum=amount(tariff.event_minimum),
        commitment=None if tariff.overage is None else amount(tariff.overage.commitment),
        overage_extra=scaled(factor, decimals_of(factor)) - overage_one,
        overage_one=overage_one,
        percent_off=percent_off,
        percent_one=percent_one,
        maximum=amount(tariff.maximum_spend),
        minimum=amount(tariff.minimum_spend),
    )
