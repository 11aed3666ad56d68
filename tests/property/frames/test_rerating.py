"""A re-rate says what the scalar loop says about each customer, however its events lie in files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import ConflictError, InvalidValueError
from models.values.ids import bucket_of
from models.values.money import currency, round_to_ledger_units
from models.values.period import Period
from pricing_engine.aggregation import Aggregation, AggregationKind, aggregate
from pricing_engine.rating import Usage, compile_tariff, rate
from pricing_engine.rerating import MeterPlan, Rerated, event_key, rerate, sealed
from pricing_engine.tariffs.tariff import parse_tariff
from pricing_engine.usage_event import UsageEvent

USD = currency("USD")
SCALE = 6
START = datetime(2024, 3, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=31))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIERS = [{"up_to": "10", "unit_amount": "0.01", "flat_amount": "1"}, {"up_to": None, "unit_amount": "0.0000001"}]
GRADUATED = compile_tariff(parse_tariff({"model": "graduated", "tiers": TIERS}))
HOURS = compile_tariff(
    parse_tariff({"model": "unit", "unit_amount": "3", "unit_conversion": {"operation": "divide", "factor": "3600"}})
)
PLANS: dict[object, MeterPlan] = {
    "tokens": MeterPlan(Aggregation(AggregationKind.SUM), GRADUATED),
    "words": MeterPlan(Aggregation(AggregationKind.SUM), GRADUATED),
    "calls": MeterPlan(Aggregation(AggregationKind.COUNT), GRADUATED),
    "peak": MeterPlan(Aggregation(AggregationKind.MAX), HOURS),
    "level": MeterPlan(Aggregation(AggregationKind.WEIGHTED_SUM), HOURS),
}
METERS = [*PLANS, "unplanned"]

rows = st.fixed_dictionaries(
    {
        "event_id": st.integers(0, 1_000_000).map(str),
        "customer": st.sampled_from(["ann", "ben", "cho", "dan"]),
        "meter": st.sampled_from(METERS),
        "value": st.integers(0, 10**12),
        "day": st.integers(-2, 33),
    }
)


def sealed_row(row: dict[str, Any]) -> dict[str, Any]:
    high, low = event_key("default", "gateway", row["event_id"])
    return {
        "bucket": bucket_of("default", row["customer"]),
        "customer": row["customer"],
        "meter": row["meter"],
        "key_high": high,
        "key_low": low,
        "value": row["value"],
        "time": (START + timedelta(days=row["day"]) - EPOCH) // timedelta(microseconds=1),
    }


SCHEMA = {
    "bucket": pl.UInt8, "customer": pl.String, "meter": pl.String, "key_high": pl.UInt64, "key_low": pl.UInt64,
    "value": pl.Int64, "time": pl.Int64,
}  # fmt: skip


def write(folder: Path, name: str, events: list[dict[str, Any]], order: Callable[[pl.DataFrame], pl.DataFrame]) -> str:
    path = str(folder / f"{name}.parquet")
    order(pl.DataFrame([sealed_row(row) for row in events], schema=SCHEMA)).write_parquet(path)
    return path


def expected(events: list[dict[str, Any]]) -> set[tuple[str, str, Decimal, int, int]]:
    results = set()
    for customer in {row["customer"] for row in events}:
        for meter, plan in PLANS.items():
            mine = [
                UsageEvent(START + timedelta(days=row["day"]), Decimal(row["value"]).scaleb(-SCALE), row["event_id"])
                for row in events
                if (row["customer"], row["meter"]) == (customer, meter)
            ]
            units = aggregate(plan.aggregation, mine, PERIOD)
            if units.event_count:
                amount = rate(plan.tariff, Usage(units=units.units), USD).amount
                due = round_to_ledger_units(amount, USD)
                results.add((customer, str(meter), units.units, units.event_count, due))
    return results


def found(result: Rerated) -> set[tuple[str, str, Decimal, int, int]]:
    scales = {"calls": 0, "level": 12}
    return {
        (
            row["customer"],
            row["meter"],
            Decimal(row["units"]).scaleb(-scales.get(row["meter"], SCALE)),
            row["event_count"],
            row["ledger_units"],
        )
        for row in result.totals.iter_rows(named=True)
    }


@given(st.lists(rows, max_size=20, unique_by=lambda row: row["event_id"]), st.data())
def test_files_order_and_repetition_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("sealed")
    resent = [row for row in events if data.draw(st.booleans())]
    recorded = data.draw(st.permutations([*events, *resent]))
    files = data.draw(st.integers(1, 3))
    order = data.draw(st.sampled_from([sealed, lambda frame: frame]))
    sources = [write(folder, str(i), recorded[i::files], order) for i in range(files)]
    result = rerate(sources, PERIOD, PLANS, value_scale=SCALE, of=USD)
    assert found(result) == expected(events)
    assert (result.rows, result.duplicates) == (len(recorded), len(resent))
    assert result.outside_period == sum(not 0 <= row["day"] < 31 for row in events)
    billed = sum(count for *_, count, _ in found(result))
    assert result.rows == billed + result.duplicates + result.outside_period + result.without_plan


@given(st.lists(rows, min_size=1, max_size=20, unique_by=lambda row: row["event_id"]))
def test_tasks_over_other_buckets_sum_to_one_task_over_all(
    tmp_path_factory: pytest.TempPathFactory, events: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("sealed")
    buckets = sorted({bucket_of("default", row["customer"]) for row in events})
    sources = [
        write(folder, str(one), [row for row in events if bucket_of("default", row["customer"]) == one], sealed)
        for one in buckets
    ]
    whole = rerate(sources, PERIOD, PLANS, value_scale=SCALE, of=USD)
    parts = [rerate([source], PERIOD, PLANS, value_scale=SCALE, of=USD) for source in sources]
    assert set().union(*map(found, parts)) == found(whole)
    assert sum(part.rows for part in parts) == whole.rows


def test_one_event_with_two_contents_is_refused(tmp_path: Path) -> None:
    event = {"event_id": "e", "customer": "ann", "meter": "tokens", "value": 1, "day": 1}
    source = write(tmp_path, "conflict", [event, {**event, "value": 2}], sealed)
    with pytest.raises(ConflictError) as refused:
        rerate([source], PERIOD, PLANS, value_scale=SCALE, of=USD)
    assert refused.value.code == "event_conflict"


def test_one_event_may_feed_two_meters(tmp_path: Path) -> None:
    event = {"event_id": "e", "customer": "ann", "meter": "tokens", "value": 1_000_000, "day": 1}
    source = write(tmp_path, "two", [event, {**event, "meter": "words"}], sealed)
    result = rerate([source], PERIOD, PLANS, value_scale=SCALE, of=USD)
    assert (result.duplicates, result.totals.height) == (0, 2)


@pytest.mark.parametrize("spoilt", ["missing", "null"])
def test_files_that_are_not_sealed_usage_are_refused(tmp_path: Path, spoilt: str) -> None:
    event = {"event_id": "e", "customer": "ann", "meter": "tokens", "value": 1, "day": 1}
    path = write(tmp_path, "spoilt", [event], sealed)
    frame = pl.read_parquet(path)
    frame = frame.drop("meter") if spoilt == "missing" else frame.with_columns(meter=pl.lit(None, pl.String))
    frame.write_parquet(path)
    with pytest.raises(InvalidValueError) as refused:
        rerate([path], PERIOD, PLANS, value_scale=SCALE, of=USD)
    assert refused.value.code == "invalid_column"


def test_without_events_or_plans_nothing_is_rated(tmp_path: Path) -> None:
    event = {"event_id": "e", "customer": "ann", "meter": "tokens", "value": 1, "day": 1}
    empty, one = write(tmp_path, "empty", [], sealed), write(tmp_path, "one", [event], sealed)
    nothing = rerate([empty], PERIOD, PLANS, value_scale=SCALE, of=USD)
    assert (nothing.rows, nothing.totals.height, nothing.duplicates) == (0, 0, 0)
    assert rerate([one], PERIOD, {}, value_scale=SCALE, of=USD).without_plan == 1


def test_event_keys_never_change() -> None:
    """They are stored in sealed files: a value that moves would make every old event new."""
    assert event_key("default", "gateway", "evt-1") == (10600366274829463531, 860969642322072383)
    assert event_key("default", "gatewaye", "vt-1") != event_key("default", "gateway", "evt-1")
