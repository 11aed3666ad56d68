"""What the frames rely on polars for: an upgrade that changes one of these must fail here, not on invoices."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.money import RoundingMode, round_fraction
from pricing_engine.int128 import (
    BOUND,
    INT128,
    half_away,
    int128,
    is_narrow,
    power_of_ten,
    require,
    require_integer,
    round_to,
)

EDGE = [-(BOUND - 1), -(10**30), -7, -5, -1, 0, 1, 5, 7, 10**30, BOUND - 1]


def wide(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"v": pl.Series(values, dtype=INT128)})


def test_int128_wraps_silently_which_is_why_bounds_are_proven_first() -> None:
    """Were this ever to raise, the guards could be looser; as long as it does not, they must stay."""
    frame = wide(2**126, 2**126)
    assert frame.select(pl.col("v").sum()).item() == -(2**127)
    assert frame.select(pl.col("v") * 4).to_series().to_list() == [0, 0]
    assert frame.select(pl.lit(1).alias("k"), "v").group_by("k").agg(pl.col("v").sum()).row(0)[1] == -(2**127)


def test_grouped_decimal_sums_are_not_relied_on() -> None:
    """polars 2.1: the in-memory grouped sum of decimals wraps, so no decimal is ever summed in a frame."""
    values = pl.Series([Decimal("9e28")] * 3, dtype=pl.Decimal(38, 9))
    frame = pl.DataFrame({"k": [1, 1, 1], "v": values})
    assert frame.group_by("k").agg(pl.col("v").sum()).row(0)[1] != Decimal("27e28")


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_sums_of_64_bit_integers_cast_to_128_are_exact(engine: str) -> None:
    frame = pl.LazyFrame({"k": [1, 1, 1, 2], "v": [2**63 - 1, 2**63 - 1, 2**63 - 1, -(2**63)]})
    total = frame.group_by("k").agg(pl.col("v").cast(INT128).sum()).sort("k").collect(engine=engine)  # type: ignore[call-overload]
    assert total.rows() == [(1, 3 * (2**63 - 1)), (2, -(2**63))]


def test_int128_floor_division_and_modulo_are_those_of_python() -> None:
    for divisor in (1, 2, 3, 7, 10**18, 10**36):
        got = wide(*EDGE).select(
            (pl.col("v") // int128(divisor)).alias("quotient"), (pl.col("v") % int128(divisor)).alias("rest")
        )
        assert got.rows() == [divmod(value, divisor) for value in EDGE]


def test_int128_comparison_minimum_and_clip_are_exact() -> None:
    frame = wide(*EDGE)
    assert frame.select(pl.min_horizontal("v", int128(3))).to_series().to_list() == [min(v, 3) for v in EDGE]
    assert frame.filter(pl.col("v") > int128(10**30 - 1)).to_series().to_list() == [10**30, BOUND - 1]
    assert frame.select(pl.col("v").min(), pl.col("v").max().alias("high")).row(0) == (EDGE[0], EDGE[-1])


def test_int128_survives_a_round_trip_through_python() -> None:
    assert wide(*EDGE).get_column("v").to_list() == EDGE


@pytest.mark.parametrize("mode", [RoundingMode.HALF_AWAY_FROM_ZERO, RoundingMode.CEILING, RoundingMode.FLOOR])
@pytest.mark.parametrize("unit", [1, 2, 10, 10**6, 10**36])
def test_rounding_in_frames_is_rounding_of_money(mode: RoundingMode, unit: int) -> None:
    values = [*EDGE, unit // 2, -(unit // 2), unit // 2 + 1, 3 * unit // 2]
    got = wide(*values).select(round_to(pl.col("v"), unit, mode)).to_series().to_list()
    assert got == [round_fraction(Fraction(value, unit), mode) * unit for value in values]


def test_half_away_divides_by_a_column() -> None:
    frame = pl.DataFrame(
        {"n": pl.Series([-5, 5, 4, -7, BOUND - 1], dtype=INT128), "d": pl.Series([2, 2, 3, 3, 7], dtype=INT128)}
    )
    got = frame.select(half_away(pl.col("n"), pl.col("d"))).to_series().to_list()
    assert got == [round_fraction(Fraction(n, d)) for n, d in frame.rows()]


def test_decimal_columns_hold_38_digits_and_refuse_more() -> None:
    """Rated amounts leave as Decimal(38, 0): other engines read Int128 in Parquet as bytes."""
    exact = wide(10**37, -(10**37)).select(pl.col("v").cast(pl.Decimal(38, 0)).cast(INT128))
    assert exact.to_series().to_list() == [10**37, -(10**37)]
    with pytest.raises(pl.exceptions.InvalidOperationError):
        wide(10**38).select(pl.col("v").cast(pl.Decimal(38, 0)))


def test_bounds_are_refused_with_a_code() -> None:
    for refused in (lambda: require(BOUND), lambda: int128(-BOUND), lambda: power_of_ten(37), lambda: power_of_ten(-1)):
        with pytest.raises(LimitExceededError) as error:
            refused()
        assert error.value.code == "frame_overflow"
    assert require(BOUND - 1) == BOUND - 1
    assert pl.select(int128(-(BOUND - 1))).item() == -(BOUND - 1)


def test_only_integers_are_taken_and_only_64_bits_need_no_bound() -> None:
    for dtype in (pl.Float64(), pl.Decimal(38, 2), pl.String(), pl.UInt128(), None):
        with pytest.raises(InvalidValueError):
            require_integer(dtype, "value")
    assert is_narrow(pl.UInt64())
    assert not is_narrow(INT128)
