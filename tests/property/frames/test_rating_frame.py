"""The frame and the scalar path are one specification: random tariffs, random usage, equal to the last digit."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.money import currency, round_to_ledger_units
from pricing_engine.int128 import BOUND
from pricing_engine.rating import EventUsage, Usage, compile_tariff, rate
from pricing_engine.rating_frame import RatedFrame, rate_frame, rate_frames
from pricing_engine.tariffs.scaling import unscaled
from pricing_engine.tariffs.tariff import Tariff, parse_tariff
from tests.property.frames.tariffs import amounts, modifiers, prices, shapes, tariffs, tiers

USD = currency("USD")
SCALE = 6

# Quantities on, just below and just above round edges, and anything up to a billion units.
quantities = (
    st.integers(0, 2_001).map(lambda n: n * 10**SCALE)
    | st.integers(0, 2_001).map(lambda n: n * 10**SCALE + 1)
    | st.integers(0, 10**15)
)


def frame_of(units: list[int], **columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"units": pl.Series(units, dtype=pl.Int64), **columns})


def amounts_of(rated: RatedFrame) -> list[Decimal]:
    return [unscaled(amount, rated.exponent, rated.divisor) for amount in rated.frame.get_column("amount")]


@given(tariffs(), st.data())
def test_frame_and_scalar_rating_agree_to_the_last_digit(tariff: Tariff, data: st.DataObject) -> None:
    any_sign = quantities | quantities.map(lambda n: -n)
    units = data.draw(st.lists(quantities if tariff.allow_negative is None else any_sign, min_size=1, max_size=8))
    counts = data.draw(st.lists(st.integers(0, 1_000), min_size=len(units), max_size=len(units)))
    rated = rate_frame(frame_of(units, event_count=counts), tariff, unit_scale=SCALE)
    expected = [
        rate(tariff, Usage(units=unscaled(one, SCALE), event_count=count), USD).amount
        for one, count in zip(units, counts, strict=True)
    ]
    assert amounts_of(rated) == expected
    assert rated.with_ledger_units(USD).get_column("ledger_units").to_list() == [
        round_to_ledger_units(amount, USD) for amount in expected
    ]


@given(st.data())
def test_shapes_that_need_more_than_units_go_through_the_scalar_pricer(data: st.DataObject) -> None:
    inner = data.draw(shapes().filter(lambda shape: shape["model"] in {"unit", "graduated", "volume", "package"}))
    extra = data.draw(modifiers(inner))
    tariff = parse_tariff(inner | extra | {"model": f"bucketed_{inner['model']}", "allow_negative": None})
    rows = data.draw(st.lists(st.lists(st.integers(0, 10**10), max_size=4), min_size=1, max_size=4))
    counts = [len(row) for row in rows]
    frame = pl.DataFrame({"buckets": pl.Series(rows, dtype=pl.List(pl.Int64)), "event_count": counts})
    rated = rate_frame(frame, tariff, unit_scale=SCALE)
    expected = [
        rate(tariff, Usage(buckets=tuple(unscaled(one, SCALE) for one in row), event_count=len(row)), USD).amount
        for row in rows
    ]
    assert amounts_of(rated) == expected


@given(st.lists(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=4), max_size=4))
def test_events_with_values_or_amounts_are_rated_one_by_one(rows: list[list[tuple[int, int]]]) -> None:
    percentage = parse_tariff(
        {"model": "percentage", "rate": "1.3", "fixed_amount": "0.25", "free_units_per_events": "1"}
    )
    dynamic = parse_tariff({"model": "dynamic", "multiplier": "1.2"})
    frame = pl.DataFrame(
        {
            "event_values": pl.Series([[value for value, _ in row] for row in rows], dtype=pl.List(pl.Int64)),
            "event_amounts": pl.Series([[amount for _, amount in row] for row in rows], dtype=pl.List(pl.Int64)),
        }
    )
    for tariff in (percentage, dynamic):
        expected = [
            rate(
                tariff,
                Usage(
                    events=tuple(EventUsage(unscaled(value, SCALE), unscaled(amount, SCALE)) for value, amount in row)
                ),
                USD,
            ).amount
            for row in rows
        ]
        assert amounts_of(rate_frame(frame, tariff, unit_scale=SCALE)) == expected


@given(tiers(), st.lists(quantities, min_size=1, max_size=6), st.integers(0, 3))
def test_many_tariffs_in_one_frame(rows: list[dict[str, Any]], units: list[int], seed: int) -> None:
    books: dict[str, Tariff] = {
        "a": parse_tariff({"model": "graduated", "tiers": rows}),
        "b": parse_tariff({"model": "unit", "unit_amount": "0.000000000001"}),
        "c": parse_tariff(
            {"model": "unit", "unit_amount": "1", "unit_conversion": {"operation": "divide", "factor": "3600"}}
        ),
    }
    meters = ["abc"[(i + seed) % 3] for i in range(len(units))]
    rated = rate_frames(frame_of(units, meter=meters), books, by="meter", unit_scale=SCALE, of=USD)
    found = sorted(rated.select("meter", "units", "ledger_units").rows())
    assert found == sorted(
        (meter, one, round_to_ledger_units(rate(books[meter], Usage(units=unscaled(one, SCALE)), USD).amount, USD))
        for meter, one in zip(meters, units, strict=True)
    )


@given(prices, amounts, st.integers(1, 2**62), st.integers(0, 60))
def test_a_frame_is_right_or_refused_however_large_its_numbers(price: str, flat: str, units: int, shift: int) -> None:
    tariff = parse_tariff(
        {
            "model": "graduated",
            "tiers": [
                {"up_to": "5", "unit_amount": price, "flat_amount": flat},
                {"up_to": None, "unit_amount": "0.123456789"},
            ],
        }
    )
    huge = pl.DataFrame({"units": pl.Series([min(units << shift, BOUND * 2)], dtype=pl.Int128)})
    with suppress(LimitExceededError):
        rated = rate_frame(huge, tariff, unit_scale=SCALE)
        assert amounts_of(rated) == [rate(tariff, Usage(units=unscaled(huge.item(0, 0), SCALE)), USD).amount]


def test_overflow_is_refused_where_polars_would_wrap() -> None:
    tariff = parse_tariff({"model": "unit", "unit_amount": "12345.678901234567"})
    frame = pl.DataFrame({"units": pl.Series([10**26], dtype=pl.Int128)})
    with pytest.raises(LimitExceededError) as refused:
        rate_frame(frame, tariff, unit_scale=SCALE)
    assert refused.value.code == "frame_overflow"


@pytest.mark.parametrize(
    ("frame", "tariff", "code"),
    [
        (frame_of([-1]), {"model": "unit", "unit_amount": "1"}, "negative_units"),
        (pl.DataFrame({"units": [1.5]}), {"model": "unit", "unit_amount": "1"}, "invalid_column"),
        (pl.DataFrame({"amount": [1]}), {"model": "unit", "unit_amount": "1"}, "invalid_column"),
        (pl.DataFrame({"units": [1, None]}), {"model": "unit", "unit_amount": "1"}, "units_required"),
        (
            frame_of([1]),
            {"model": "unit", "unit_amount": "1", "event_minimum": "1"},
            "event_count_required_for_minimum",
        ),
        (frame_of([1]), {"model": "bucketed_unit", "unit_amount": "1"}, "buckets_required"),
    ],
)
def test_unfit_frames_are_refused(frame: pl.DataFrame, tariff: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        rate_frame(frame, parse_tariff(tariff), unit_scale=SCALE)
    assert refused.value.code == code


def test_a_row_without_tariff_is_refused() -> None:
    with pytest.raises(InvalidValueError) as refused:
        rate_frames(frame_of([1], meter=["x"]), {}, by="meter", unit_scale=SCALE, of=USD)
    assert refused.value.code == "tariff_missing"


@given(tariffs(), quantities)
def test_the_fast_path_says_what_the_explained_one_says(tariff: Tariff, units: int) -> None:
    """The integers that frames are built from: `amount` equals `rate`, negative quantities included."""
    if tariff.event_minimum is not None:
        return
    compiled = compile_tariff(tariff)
    for signed in (units,) if tariff.allow_negative is None else (units, -units):
        quantity = unscaled(signed, SCALE)
        assert compiled.amount(quantity) == rate(tariff, Usage(units=quantity), USD).amount


@pytest.mark.parametrize("included", [0, 5])
@pytest.mark.parametrize("sold", [{}, {"package_size": "4"}], ids=["units", "packages"])
@pytest.mark.parametrize("edges", [2, 20], ids=["chained", "searched"])
@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_an_edge_belongs_to_the_tier_it_ends(model: str, edges: int, sold: dict[str, str], included: int) -> None:
    """Random quantities hardly ever fall on one: explained, on the fast path and in a frame, on it and beside it."""
    price = "package_amount" if sold else "unit_amount"
    ends = [*(str(10 * n) for n in range(1, edges + 1)), None]
    rows = [{"up_to": end, "flat_amount": str(n + 3), price: str(n), **sold} for n, end in enumerate(ends)]
    tariff = parse_tariff({"model": model, "tiers": rows, "included_units": str(included)})
    units = [(10 * n + included) * 10**SCALE + step for n in range(1, edges + 1) for step in (-1, 0, 1)]
    quantities = [unscaled(one, SCALE) for one in units]
    explained = [rate(tariff, Usage(units=quantity), USD).amount for quantity in quantities]
    assert explained[:2] == [3, 3]
    assert explained[2] > 4
    assert [compile_tariff(tariff).amount(quantity) for quantity in quantities] == explained
    assert amounts_of(rate_frame(frame_of(units), tariff, unit_scale=SCALE)) == explained


def test_large_frames_are_cut_into_slices_that_change_nothing() -> None:
    tariff = parse_tariff(
        {"model": "volume", "tiers": [{"up_to": "1000", "unit_amount": "0.3"}, {"up_to": None, "unit_amount": "0.1"}]}
    )
    units = [n * 7_919 % 2_000_000_003 for n in range(300_001)]
    whole = rate_frame(frame_of(units, other=units), tariff, unit_scale=SCALE)
    compiled = compile_tariff(tariff, SCALE)
    assert whole.frame.get_column("amount").to_list() == [compiled.price_scaled(one) for one in units]
    assert whole.frame.get_column("other").to_list() == units
