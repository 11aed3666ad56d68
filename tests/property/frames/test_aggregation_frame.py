"""Two implementations of one specification: what a loop over decimals says, polars says to the last digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from models.values.period import Period
from pricing_engine.aggregation import Aggregation, AggregationKind, Carried, GroupKey, UnitRounding, aggregate
from pricing_engine.aggregation_frame import aggregate_frame
from pricing_engine.usage_event import Operation, UsageEvent

START = datetime(2024, 3, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=31))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REGIONS = ("eu", "us", None)
SCALE = 6

numbers = st.integers(-(10**12), 10**12).map(lambda n: Decimal(n).scaleb(-SCALE)) | st.sampled_from(
    [Decimal(0), Decimal(1)]
)
# Few instants, so that many events share one; some before and some behind the period.
times = st.integers(-3, 33).map(lambda days: START + timedelta(days=days)) | st.integers(0, 31 * 86_400_000_000).map(
    lambda us: START + timedelta(microseconds=us)
)
roundings = st.none() | st.builds(UnitRounding, st.sampled_from(["round", "ceil", "floor"]), st.integers(-4, 8))


def optional(value: str | None) -> dict[str, str]:
    return {} if value is None else {"region": value}


@st.composite
def aggregations(draw: st.DrawFn) -> Aggregation:
    kind = draw(st.sampled_from(AggregationKind))
    carrying = kind in {"sum", "latest", "unique_count", "weighted_sum"}
    return Aggregation(
        kind,
        group_by=draw(st.sampled_from([(), ("region",)])),
        filters=draw(st.sampled_from([{}, {"region": frozenset({"eu", "asia"})}])),
        rounding=draw(roundings),
        percentile=draw(st.decimals("0.001", 100, places=3)) if kind is AggregationKind.PERCENTILE else None,
        recurring=carrying and draw(st.booleans()),
    )


@st.composite
def event_lists(draw: st.DrawFn, aggregation: Aggregation) -> list[UsageEvent]:
    unique = aggregation.kind is AggregationKind.UNIQUE_COUNT
    values = st.none() | (st.sampled_from(["a", "b", "c", "1"]) if unique else numbers)
    operations = st.sampled_from(Operation) if unique else st.just(Operation.ADD)
    events = draw(
        st.lists(
            st.builds(UsageEvent, times, values, st.none(), operations, st.sampled_from(REGIONS).map(optional)),
            max_size=12,
        )
    )
    named = [
        UsageEvent(event.time, event.value, f"e{i}", event.operation, event.properties)
        if draw(st.booleans())
        else event
        for i, event in enumerate(events)
    ]
    resent = [event for event in named if event.event_id and draw(st.booleans())]
    return draw(st.permutations([*named, *resent]))


def scaled(value: object) -> object:
    return int(value.scaleb(SCALE)) if isinstance(value, Decimal) else value


def frame_of(customers: Mapping[str, Sequence[UsageEvent]], aggregation: Aggregation) -> pl.LazyFrame:
    rows = [
        (
            customer,
            event.properties.get("region"),
            event.time,
            scaled(event.value),
            event.event_id,
            str(event.operation),
        )
        for customer, events in customers.items()
        for event in events
    ]
    value = pl.String if aggregation.kind is AggregationKind.UNIQUE_COUNT else pl.Int64
    schema = {
        "customer": pl.String, "region": pl.String, "time": pl.Datetime("us", "UTC"), "value": value,
        "event_id": pl.String, "operation": pl.String,
    }  # fmt: skip
    return pl.LazyFrame(rows, schema=schema, orient="row")


def carried_frame(customers: Mapping[str, Mapping[GroupKey, Carried]], aggregation: Aggregation) -> pl.LazyFrame:
    unique = aggregation.kind is AggregationKind.UNIQUE_COUNT
    rows = [
        (customer, (key or (None,))[0], value)
        for customer, carried in customers.items()
        for key, carry in carried.items()
        for value in (sorted(carry.active) if unique else [scaled(carry.level)])
    ]
    schema = {"customer": pl.String, "region": pl.String, "value": pl.String if unique else pl.Int64}
    return pl.LazyFrame(rows, schema=schema, orient="row")


@given(st.data(), aggregations())
def test_polars_and_scalar_aggregation_agree_to_the_last_digit(data: st.DataObject, aggregation: Aggregation) -> None:
    customers = {name: data.draw(event_lists(aggregation), label=name) for name in ("ann", "ben")}
    frame = aggregate_frame(aggregation, frame_of(customers, aggregation), PERIOD, keys=["customer"], value_scale=SCALE)
    expected = {
        (name, *group.key): (group.units, group.event_count)
        for name, events in customers.items()
        for group in aggregate(aggregation, events, PERIOD).groups
    }
    assert without_nothing(result_of(frame.frame, frame.scale)) == without_nothing(expected)


@given(st.data(), aggregations())
def test_they_agree_on_what_is_carried_into_the_period(data: st.DataObject, aggregation: Aggregation) -> None:
    if aggregation.kind not in {"sum", "latest", "unique_count", "weighted_sum"}:
        return
    customers = {name: data.draw(event_lists(aggregation), label=name) for name in ("ann", "ben")}
    keys = st.sampled_from(REGIONS).map(lambda region: (region,)) if aggregation.group_by else st.just(())
    if aggregation.kind is AggregationKind.UNIQUE_COUNT:
        carries = st.builds(Carried, active=st.frozensets(st.sampled_from("abc"), min_size=1))
    else:
        carries = st.builds(Carried, numbers)
    carried = {name: data.draw(st.dictionaries(keys, carries, max_size=3), label=name) for name in customers}
    frame = aggregate_frame(
        aggregation,
        frame_of(customers, aggregation),
        PERIOD,
        keys=["customer"],
        value_scale=SCALE,
        carried=carried_frame(carried, aggregation),
    )
    result = result_of(frame.frame, frame.scale)
    expected = {
        (name, *group.key): (group.units, group.event_count)
        for name, events in customers.items()
        for group in aggregate(aggregation, events, PERIOD, carried=carried[name]).groups
    }
    assert without_nothing(result) == without_nothing(expected)
    assert {(name, *key) for name, carries_ in carried.items() for key in carries_} <= set(result)


def result_of(frame: pl.DataFrame, scale: int) -> dict[tuple[object, ...], tuple[Decimal, int]]:
    return {tuple(key): (Decimal(units).scaleb(-scale), count) for *key, units, count in frame.iter_rows()}


def without_nothing(
    result: dict[tuple[object, ...], tuple[Decimal, int]],
) -> dict[tuple[object, ...], tuple[Decimal, int]]:
    """Leave out groups without events and units: a frame has no row for a group nobody named."""
    return {key: value for key, value in result.items() if value != (0, 0)}
