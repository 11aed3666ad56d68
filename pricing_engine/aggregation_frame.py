"""Aggregation over polars frames: the specification of `aggregation`, for millions of events of many meters at once.

Values and units are integers of a power of ten. Equal to the scalar aggregation to the last digit, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import MappingProxyType

import polars as pl

from models.values.errors import ConflictError, InvalidValueError
from models.values.period import Period
from pricing_engine.aggregation import CARRYING, QUOTIENT_DIGITS, Aggregation, AggregationKind
from pricing_engine.int128 import (
    INT128,
    half_away,
    int128,
    is_narrow,
    largest,
    power_of_ten,
    require,
    require_integer,
    round_to,
)
from pricing_engine.usage_event import Operation

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VALUE, _TIME, _ID, _OPERATION = "value", "time", "event_id", "operation"
_UNITS, _COUNT, _MASS = "units", "event_count", "__mass"
_INSIDE = "__inside"


@dataclass(frozen=True, slots=True)
class UnitsFrame:
    """One row a group: its keys, `units` (Int128 of 10^-scale units) and `event_count` (Int64), sorted by key."""

    frame: pl.DataFrame
    scale: int


def aggregate_frame(
    aggregation: Aggregation,
    events: pl.LazyFrame,
    period: Period,
    *,
    keys: Sequence[str],
    value_scale: int = 0,
    carried: pl.LazyFrame | None = None,
) -> UnitsFrame:
    """Aggregate events by `keys` and by the aggregation's properties.

    `events`: key and property columns; `time`, Int64 microseconds since 1970 or Datetime in UTC; `value`, integers
    of 10^-value_scale (anything for a unique count; absent for a count); optionally `operation` and `event_id`,
    within whose (keys, event_id) repeated events count once. `carried`: key and property columns and a `value` each,
    the level (or, one row each, the active values) at the start of the period.
    Raises ConflictError where events of one id differ, LimitExceededError where 128 bits might not be enough,
    InvalidValueError for a missing or unfit column.
    """
    schema = events.collect_schema()
    groups = [*keys, *aggregation.group_by]
    _check(aggregation, schema, groups, carried)
    _require_operations(aggregation, events)
    selected = _deduplicated(_selected(aggregation, events, period, schema), keys, schema)
    if carried is not None:
        selected = pl.concat([_as_events(carried, aggregation, groups), selected], how="diagonal_relaxed")
    _require_summable(aggregation, selected)
    fold = _FOLDS[aggregation.kind]
    folded, scale = fold(aggregation, selected, period, groups, value_scale)
    units = folded.with_columns(pl.col(_UNITS).cast(INT128))  # Without rows some folds leave the type open.
    rounding = aggregation.rounding
    if rounding is not None and rounding.precision < scale:
        unit = power_of_ten(scale - rounding.precision)
        units = units.with_columns(round_to(pl.col(_UNITS), unit, rounding.mode).alias(_UNITS))
    return UnitsFrame(units.select(*groups, _UNITS, _COUNT).sort(groups), scale)


def _check(aggregation: Aggregation, schema: pl.Schema, groups: list[str], carried: pl.LazyFrame | None) -> None:
    for name in [*groups, *aggregation.filters, _TIME]:
        if name not in schema:
            raise InvalidValueError("is no column of the events", field=name, code="invalid_column")
    if carried is not None and aggregation.kind not in CARRYING:
        raise InvalidValueError(
            f"{aggregation.kind} carries nothing from one period to the next", field="carried", code="not_recurring"
        )
    if aggregation.kind is not AggregationKind.COUNT and not aggregation.counts_values:
        require_integer(schema.get(_VALUE), _VALUE)


def _selected(aggregation: Aggregation, events: pl.LazyFrame, period: Period, schema: pl.Schema) -> pl.LazyFrame:
    """Keep what counts, with `time` in microseconds and `__inside` marking events of the period itself."""
    start, end = microseconds(period.start), microseconds(period.end)
    if start >= end:
        raise InvalidValueError("must hold time", field="period", value=period.start.isoformat(), code="empty_period")
    time = _time_column(schema)
    kept = events.with_columns(time.alias(_TIME)).filter(pl.col(_TIME) < end)
    if not aggregation.recurring:
        kept = kept.filter(pl.col(_TIME) >= start)
    for name, allowed in aggregation.filters.items():
        kept = kept.filter(pl.col(name).is_in(sorted(allowed)))
    if aggregation.kind is not AggregationKind.COUNT:
        kept = kept.filter(pl.col(_VALUE).is_not_null())
    return kept.with_columns((pl.col(_TIME) >= start).alias(_INSIDE))


def _time_column(schema: pl.Schema) -> pl.Expr:
    dtype = schema[_TIME]
    if dtype == pl.Int64:
        return pl.col(_TIME)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC":
        return pl.col(_TIME).dt.epoch("us")
    raise InvalidValueError(
        "must be Int64 microseconds or Datetime in UTC", field=_TIME, value=str(dtype), code="invalid_column"
    )


def _deduplicated(events: pl.LazyFrame, keys: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
    if _ID not in schema:
        return events
    named = events.filter(pl.col(_ID).is_not_null()).unique()
    conflict = named.group_by(*keys, _ID).len().filter(pl.col("len") > 1).head(1).collect()
    if conflict.height:
        raise ConflictError(
            "was sent before with other content",
            field=_ID,
            value=conflict.get_column(_ID)[0],
            code="event_conflict",
        )
    return pl.concat([events.filter(pl.col(_ID).is_null()), named])


def _as_events(carried: pl.LazyFrame, aggregation: Aggregation, groups: list[str]) -> pl.LazyFrame:
    """Turn what is carried into events before all others: a null time sorts first."""
    rows = carried.select(*groups, _VALUE, pl.lit(None, pl.Int64).alias(_TIME), pl.lit(value=False).alias(_INSIDE))
    if aggregation.kind is AggregationKind.UNIQUE_COUNT:
        return rows.with_columns(pl.lit(str(Operation.ADD)).alias(_OPERATION))
    return rows


def _require_operations(aggregation: Aggregation, events: pl.LazyFrame) -> None:
    if _OPERATION not in events.collect_schema():
        return
    known = list(Operation) if aggregation.kind is AggregationKind.UNIQUE_COUNT else [Operation.ADD]
    other = events.filter(~pl.col(_OPERATION).is_in([str(operation) for operation in known])).head(1).collect()
    if other.height:
        raise InvalidValueError(
            f"{aggregation.kind} knows {', '.join(known)}",
            field=_OPERATION,
            value=other.get_column(_OPERATION)[0],
            code="operation_not_allowed",
        )


def _require_summable(aggregation: Aggregation, events: pl.LazyFrame) -> None:
    if aggregation.counts_values or is_narrow(events.collect_schema()[_VALUE]):
        return
    found = events.select(pl.col(_VALUE).min().alias("low"), pl.col(_VALUE).max().alias("high"), pl.len()).collect()
    low, high, rows = found.row(0)
    require(max(-(low or 0), high or 0) * rows, "sum")


_Fold = Callable[[Aggregation, pl.LazyFrame, Period, list[str], int], tuple[pl.DataFrame, int]]
_wide_value = pl.col(_VALUE).cast(INT128)
_event_count = pl.col(_INSIDE).sum().cast(pl.Int64).alias(_COUNT)


def _simple(units: pl.Expr) -> _Fold:
    def fold(
        aggregation: Aggregation, events: pl.LazyFrame, _period: Period, groups: list[str], value_scale: int
    ) -> tuple[pl.DataFrame, int]:
        folded = events.group_by(groups).agg(units.cast(INT128).alias(_UNITS), _event_count).collect()
        return folded, 0 if aggregation.kind is AggregationKind.COUNT else value_scale

    return fold


def _average(
    _: Aggregation, events: pl.LazyFrame, _period: Period, groups: list[str], value_scale: int
) -> tuple[pl.DataFrame, int]:
    folded = events.group_by(groups).agg(_wide_value.sum().alias(_UNITS), _event_count).collect()
    return _quotient(folded, pl.col(_COUNT).cast(INT128), largest(folded, _COUNT), value_scale, largest(folded, _UNITS))


def _weighted(
    _: Aggregation, events: pl.LazyFrame, period: Period, groups: list[str], value_scale: int
) -> tuple[pl.DataFrame, int]:
    # The area under the steps: each change of level lasts from its instant to the end of the period.
    start, end = microseconds(period.start), microseconds(period.end)
    lasting = end - pl.max_horizontal(pl.col(_TIME).fill_null(start), pl.lit(start, pl.Int64))
    folded = (
        events.group_by(groups)
        .agg(
            (_wide_value * lasting.cast(INT128)).sum().alias(_UNITS),
            _wide_value.abs().sum().alias(_MASS),
            _event_count,
        )
        .collect()
    )
    # `units` may have wrapped; it is used only if the sum of the magnitudes proves that it cannot have.
    bound = largest(folded, _MASS) * (end - start)
    return _quotient(folded, int128(end - start), end - start, value_scale, bound)


def _quotient(
    folded: pl.DataFrame, divisor: pl.Expr, largest_divisor: int, value_scale: int, bound: int
) -> tuple[pl.DataFrame, int]:
    """Divide `units` of value_scale by `divisor`, rounded to QUOTIENT_DIGITS."""
    up, down = max(QUOTIENT_DIGITS - value_scale, 0), max(value_scale - QUOTIENT_DIGITS, 0)
    require(bound * power_of_ten(up))
    require(largest_divisor * power_of_ten(down))
    units = half_away(pl.col(_UNITS) * int128(power_of_ten(up)), divisor * int128(power_of_ten(down)))
    return folded.with_columns(units.alias(_UNITS)), QUOTIENT_DIGITS


def _unique(
    _: Aggregation, events: pl.LazyFrame, _period: Period, groups: list[str], _value_scale: int
) -> tuple[pl.DataFrame, int]:
    if _OPERATION not in events.collect_schema():
        events = events.with_columns(pl.lit(str(Operation.ADD)).alias(_OPERATION))
    removes = pl.col(_OPERATION) == str(Operation.REMOVE)
    by_value = events.group_by(*groups, _VALUE).agg(
        removes.sort_by(pl.col(_TIME), removes).last().not_().alias("active"), pl.col(_INSIDE).sum().cast(pl.Int64)
    )
    return (
        by_value.group_by(groups).agg(pl.col("active").sum().cast(INT128).alias(_UNITS), _event_count).collect(),
        0,
    )


def _latest(
    _: Aggregation, events: pl.LazyFrame, _period: Period, groups: list[str], value_scale: int
) -> tuple[pl.DataFrame, int]:
    has_id = _ID in events.collect_schema()
    order = [pl.col(_TIME), *([pl.col(_ID).fill_null("")] if has_id else []), pl.col(_VALUE)]
    folded = events.group_by(groups).agg(_wide_value.sort_by(order).last().alias(_UNITS), _event_count).collect()
    return folded, value_scale


def _percentile(
    aggregation: Aggregation, events: pl.LazyFrame, _period: Period, groups: list[str], value_scale: int
) -> tuple[pl.DataFrame, int]:
    share = Fraction(aggregation.percentile or 0) / 100
    rank = (pl.len().cast(pl.Int64) * share.numerator + (share.denominator - 1)) // share.denominator - 1
    folded = events.group_by(groups).agg(_wide_value.sort().gather(rank).first().alias(_UNITS), _event_count).collect()
    return folded, value_scale


_FOLDS: Mapping[AggregationKind, _Fold] = MappingProxyType(
    {
        AggregationKind.COUNT: _simple(pl.len()),
        AggregationKind.SUM: _simple(_wide_value.sum()),
        AggregationKind.MAX: _simple(_wide_value.max()),
        AggregationKind.MIN: _simple(_wide_value.min()),
        AggregationKind.AVERAGE: _average,
        AggregationKind.UNIQUE_COUNT: _unique,
        AggregationKind.LATEST: _latest,
        AggregationKind.WEIGHTED_SUM: _weighted,
        AggregationKind.PERCENTILE: _percentile,
    }
)


def microseconds(instant: datetime) -> int:
    """Return the microseconds from 1970 on, as `time` columns hold them."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
