"""Exact integers in polars: 128-bit columns, kept where polars cannot wrap.

polars wraps Int128 sums and products silently, so nothing is calculated before its bound is proven. All results stay
below BOUND, which leaves two bits for doubling and rounding.
"""

from __future__ import annotations

import polars as pl

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.money import RoundingMode

INT128 = pl.Int128()
BOUND = 2**125
"""No absolute value in a frame reaches this: about 4 x 10^37."""

_MAX_POWER = 36
_NARROW = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_WIDE = (pl.Int128,)


def int128(number: int) -> pl.Expr:
    """Return a literal. Raises LimitExceededError at BOUND."""
    require(abs(number), "literal")
    return pl.lit(number, dtype=INT128)


def power_of_ten(exponent: int) -> int:
    """Return 10^exponent. Raises LimitExceededError beyond 10^36."""
    if not 0 <= exponent <= _MAX_POWER:
        raise LimitExceededError(
            f"a frame holds at most {_MAX_POWER} digits of scale", field="scale", value=exponent, code="frame_overflow"
        )
    return int(10**exponent)


def require(bound: int, what: str = "units") -> int:
    """Return `bound`, proven to be below BOUND. Raises LimitExceededError otherwise."""
    if bound >= BOUND:
        raise LimitExceededError(
            "is too large to be exact in 128 bits; rate such rows one by one",
            field=what,
            value=bound,
            code="frame_overflow",
        )
    return bound


def extremes(column: pl.Series) -> tuple[int, int]:
    """Return the least and the greatest value of an integer column; zeros where it has none."""
    low, high = column.min(), column.max()
    return (low, high) if isinstance(low, int) and isinstance(high, int) else (0, 0)


def is_integer(dtype: pl.DataType | type[pl.DataType]) -> bool:
    """Whether a column of this type holds integers that fit Int128."""
    return dtype in _NARROW or dtype in _WIDE


def is_narrow(dtype: pl.DataType | type[pl.DataType]) -> bool:
    """Whether 2^60 values of this type always sum to less than BOUND."""
    return dtype in _NARROW


def require_integer(dtype: pl.DataType | None, name: str) -> pl.DataType:
    """Return the type of a column of integers. Raises InvalidValueError where it is absent or another."""
    if dtype is None or not is_integer(dtype):
        raise InvalidValueError(
            "must be a column of scaled integers", field=name, value=str(dtype), code="invalid_column"
        )
    return dtype


def largest(frame: pl.DataFrame, name: str) -> int:
    """Return the largest absolute value of an integer column."""
    low, high = extremes(frame.get_column(name))
    return max(-low, high)


def half_away(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Round numerator / denominator to an integer, half away from zero. Both below BOUND, the denominator positive."""
    return numerator.sign() * ((numerator.abs() * 2 + denominator) // (denominator * 2))


def round_to(units: pl.Expr, unit: int, mode: RoundingMode) -> pl.Expr:
    """Round scaled integers to multiples of `unit` > 0."""
    step = int128(unit)
    match mode:
        case RoundingMode.HALF_AWAY_FROM_ZERO:
            return half_away(units, step) * step
        case RoundingMode.CEILING:
            return ((units + (step - 1)) // step) * step
        case RoundingMode.FLOOR:
            return (units // step) * step
        case _:
            raise InvalidValueError("is not a rounding of units", field="rounding", value=mode, code="unknown_rounding")
