"""Rating over polars frames: millions of totals through the integers of a compiled tariff.

The same specification as `rating`, which defines it: amounts are equal to the last digit, modifiers included, or the
frame is refused. Every bound is proven in Python integers from the largest quantity before polars multiplies.
Shapes that one number per row does not price are rated row by row by the scalar pricer itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import polars as pl

from models.values.errors import InvalidValueError
from models.values.money import Currency
from pricing_engine.int128 import (
    INT128,
    extremes,
    half_away,
    int128,
    largest,
    power_of_ten,
    require,
    require_integer,
)
from pricing_engine.price_expressions import Quantity, converted, modified, priced
from pricing_engine.tariffs.compiled import CompiledTariff, compile_tariff, negative_units
from pricing_engine.tariffs.modifiers import CompiledModifiers, total_of
from pricing_engine.tariffs.scaling import unscaled
from pricing_engine.tariffs.table import Table
from pricing_engine.tariffs.table_pricer import AlwaysPricer
from pricing_engine.tariffs.tariff import Tariff
from pricing_engine.tariffs.usage import EventUsage, Usage

UNITS, EVENT_COUNT, AMOUNT = "units", "event_count", "amount"
EXPONENT, DIVISOR, LEDGER_UNITS = "exponent", "divisor", "ledger_units"
_FULL_UNITS, _BUCKETS, _VALUES, _AMOUNTS = "full_units", "buckets", "event_values", "event_amounts"
_SLICE_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class RatedFrame:
    """The totals with `amount`, Int128: integers of 1 / (10^exponent x divisor) of a major unit."""

    frame: pl.DataFrame
    exponent: int
    divisor: int

    def with_ledger_units(self, of: Currency) -> pl.DataFrame:
        """Add `ledger_units`, rounded half away from zero, and `exponent` and `divisor` as columns."""
        up, down = max(of.ledger_exponent - self.exponent, 0), max(self.exponent - of.ledger_exponent, 0)
        bound = require(largest(self.frame, AMOUNT) * power_of_ten(up), AMOUNT)
        step = require(power_of_ten(down) * self.divisor, AMOUNT)
        amount = pl.col(AMOUNT) * int128(power_of_ten(up)) if up else pl.col(AMOUNT)
        rounded = half_away(amount, int128(step)) if step != 1 and bound else amount
        return self.frame.with_columns(
            rounded.alias(LEDGER_UNITS),
            pl.lit(self.exponent, pl.Int32).alias(EXPONENT),
            int128(self.divisor).alias(DIVISOR),
        )


def rate_frame(totals: pl.DataFrame, tariff: Tariff | CompiledTariff, *, unit_scale: int) -> RatedFrame:
    """Rate whole periods, one a row, each as `rate` would, unrounded.

    `totals`: `units`, integers of 10^-unit_scale metered units; `event_count` where the tariff has a minimum per
    event; for shapes that need more, `full_units`, or lists of integers in `buckets`, `event_values` (scaled like
    units) and `event_amounts` (of 10^-unit_scale major units). Other columns pass through.
    Raises LimitExceededError where 128 bits might not hold a step, InvalidValueError as `rate` does or for a
    missing or unfit column.
    """
    given = tariff if isinstance(tariff, CompiledTariff) else compile_tariff(tariff, unit_scale)
    compiled = given.at(unit_scale)
    if compiled.table is None:
        amounts = [_rate_one(compiled, row, unit_scale) for row in totals.iter_rows(named=True)]
        require(max(map(abs, amounts), default=0), AMOUNT)
        rated = totals.with_columns(pl.Series(AMOUNT, amounts, dtype=INT128))
    else:
        rated = _rate_column(totals, compiled, compiled.table, unit_scale)
    return RatedFrame(rated, compiled.amount_exponent, compiled.divisor)


def rate_frames(
    totals: pl.DataFrame, tariffs: Mapping[Any, Tariff | CompiledTariff], *, by: str, unit_scale: int, of: Currency
) -> pl.DataFrame:
    """Rate each row by the tariff that its column `by` names; see `rate_frame` and `with_ledger_units`.

    Rows come back grouped by tariff. Raises InvalidValueError for a row without tariff.
    """
    parts = []
    for (key,), part in totals.partition_by(by, as_dict=True, maintain_order=True).items():
        if key not in tariffs:
            raise InvalidValueError("has no tariff", field=by, value=key, code="tariff_missing")
        parts.append(rate_frame(part, tariffs[key], unit_scale=unit_scale).with_ledger_units(of))
    return pl.concat(parts) if parts else totals


def _rate_column(totals: pl.DataFrame, compiled: CompiledTariff, table: Table, unit_scale: int) -> pl.DataFrame:
    amount = _amount_expression(totals, compiled, table, unit_scale).alias(AMOUNT)
    if totals.height <= _SLICE_ROWS:
        return totals.with_columns(amount)
    # Slices keep the intermediate columns in the processor's cache, and run on all cores.
    slices = totals.select(pl.selectors.by_name(UNITS, EVENT_COUNT, require_all=False)).iter_slices(_SLICE_ROWS)
    return totals.with_columns(
        pl.concat(part.lazy().select(amount) for part in slices).collect(engine="in-memory").to_series()
    )


def _amount_expression(totals: pl.DataFrame, compiled: CompiledTariff, table: Table, unit_scale: int) -> pl.Expr:
    dtype = require_integer(totals.schema.get(UNITS), UNITS)
    units = totals.get_column(UNITS)
    if units.null_count():
        raise InvalidValueError("must not be null", field=UNITS, code="units_required")
    finer = power_of_ten(compiled.unit_exponent - unit_scale)
    lowest, highest = extremes(units)
    most = require(max(-lowest, highest) * finer)
    if lowest < 0 and compiled.tariff.allow_negative is None:
        raise negative_units(unscaled(lowest * finer, compiled.unit_exponent))
    wide = pl.col(UNITS).cast(INT128)
    wide = wide.abs() if lowest < 0 else wide
    if finer != 1:
        wide = wide * int128(finer)
    is_native = lowest >= 0 and finer == 1
    quantity = Quantity(wide, pl.col(UNITS), dtype, most) if is_native else Quantity(wide, wide, INT128, most)
    billable = converted(quantity, compiled.conversion)
    price, bound = priced(billable, table)
    if lowest < 0:
        price, bound = _mirrored(price, bound, billable, compiled, table.price(0))
    price, bound = _with_event_minimum(totals, price, bound, compiled.modifiers)
    return modified(price, bound, compiled.modifiers)


def _mirrored(
    price: pl.Expr, bound: int, billable: Quantity, compiled: CompiledTariff, at_zero: int
) -> tuple[pl.Expr, int]:
    """Give negative rows minus the price of their magnitude.

    What converts to nothing, what the tariff rates as nothing, and what is due whatever the usage has no mirror image.
    """
    negative, bound = pl.col(UNITS) < 0, max(bound, abs(at_zero))
    if not compiled.tariff.allow_negative or isinstance(compiled.pricer, AlwaysPricer):
        return pl.when(negative).then(int128(at_zero)).otherwise(price), bound
    return pl.when(negative & (billable.wide > 0)).then(-1 * price).otherwise(price), bound


def _with_event_minimum(
    totals: pl.DataFrame, price: pl.Expr, bound: int, modifiers: CompiledModifiers
) -> tuple[pl.Expr, int]:
    if modifiers.event_minimum is None:
        return price, bound
    if EVENT_COUNT not in totals.schema:
        raise InvalidValueError(
            "a minimum per event needs the number of events",
            field=EVENT_COUNT,
            code="event_count_required_for_minimum",
        )
    require_integer(totals.schema[EVENT_COUNT], EVENT_COUNT)
    most = require(largest(totals, EVENT_COUNT) * modifiers.event_minimum, AMOUNT)
    due = pl.col(EVENT_COUNT).cast(INT128) * int128(modifiers.event_minimum)
    return pl.max_horizontal(price, due), max(bound, most)


def _rate_one(compiled: CompiledTariff, row: dict[str, Any], unit_scale: int) -> int:
    """Rate one row with the scalar pricer: what `rate` sums, still scaled."""
    usage = _usage(row, unit_scale)
    exact = compiled.for_usage((usage,))
    if (exact.amount_exponent, exact.divisor) != (compiled.amount_exponent, compiled.divisor):
        raise InvalidValueError(
            "a row cannot be finer than the frame's scale", field="unit_scale", value=unit_scale, code="scale_mismatch"
        )
    measure = exact.measure(usage)
    lines = exact.pricer.lines(measure)
    exact.modifiers.apply(lines, event_count=measure.event_count, final=True, minor=1, trace=None)
    return total_of(lines)


def _usage(row: dict[str, Any], unit_scale: int) -> Usage:
    def number(name: str) -> Decimal | None:
        value = row.get(name)
        return None if value is None else unscaled(value, unit_scale)

    def numbers(name: str) -> list[Decimal] | None:
        values = row.get(name)
        return None if values is None else [unscaled(value, unit_scale) for value in values]

    values, amounts, buckets = numbers(_VALUES), numbers(_AMOUNTS), numbers(_BUCKETS)
    events = None
    if values is not None or amounts is not None:
        pairs = zip_longest(values or [], amounts or [])
        events = tuple(EventUsage(value=value, amount=amount) for value, amount in pairs)
    return Usage(
        units=number(UNITS),
        event_count=row.get(EVENT_COUNT),
        events=events,
        buckets=None if buckets is None else tuple(buckets),
        full_units=number(_FULL_UNITS),
    )
