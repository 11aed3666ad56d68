"""Compiled tariffs as polars expressions: the integers of `tariffs.table` and `tariffs.modifiers`, over columns.

Each function takes a bound that was proven and proves the next one, in Python integers, before it builds its step.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import gcd

import polars as pl

from pricing_engine.int128 import INT128, half_away, int128, require
from pricing_engine.tariffs.conversion import CEILING, HALF_UP, CompiledConversion
from pricing_engine.tariffs.modifiers import CompiledModifiers
from pricing_engine.tariffs.table import PackagedTable, PackageTable, SegmentTable, Table

_AMOUNT = "amount"
_CHAINED_EDGES = 8
_INT64_BOUND = 2**63


@dataclass(frozen=True, slots=True)
class Quantity:
    """Quantities >= 0 as Int128, none above `most`; `narrow`: the same, of `dtype`, which may be cheaper to compare."""

    wide: pl.Expr
    narrow: pl.Expr
    dtype: pl.DataType
    most: int


def converted(raw: Quantity, conversion: CompiledConversion | None) -> Quantity:
    """Turn raw units into billable ones."""
    if conversion is None:
        return raw
    numerator, denominator = int128(conversion.numerator), int128(conversion.denominator)
    require(raw.most * conversion.numerator + conversion.denominator)
    product = raw.wide * numerator
    if conversion.rounding == CEILING:
        whole = (product + int128(conversion.denominator - 1)) // denominator
    elif conversion.rounding == HALF_UP:
        whole = half_away(product, denominator)
    else:
        whole = product // denominator
    billable = whole * int128(conversion.one)
    return Quantity(billable, billable, INT128, require(conversion.apply(raw.most)))


def priced(units: Quantity, table: Table) -> tuple[pl.Expr, int]:
    """Price billable units; return the amount and its bound."""
    if isinstance(table, PackageTable):
        return _package_price(units, table)
    if isinstance(table, SegmentTable):
        return _segment_price(units, table)
    raise TypeError(f"no frame form of {type(table).__name__}")


def _segment_price(units: Quantity, table: SegmentTable) -> tuple[pl.Expr, int]:
    # bases[i] + rates[i] * (units - starts[i]) as levels[i] + rates[i] * units. Tiers that no row reaches are left
    # out: their integers need not fit.
    reached = bisect_left(table.edges, units.most)
    edges, rates = table.edges[:reached], table.rates[: reached + 1]
    levels = [table.bases[i] - rates[i] * table.starts[i] for i in range(reached + 1)]
    highest = max(map(abs, levels)) + max(map(abs, rates)) * units.most
    bound = require(max(highest, abs(table.at_free)), _AMOUNT)
    level, rate = (_by_tier(units, edges, values) for values in (levels, list(rates)))
    price = level + rate * units.wide
    if isinstance(table, PackagedTable):
        packages, bound = _packages(units, table, edges, bound)
        price = price + packages
    elif table.free_up_to == 0 and table.at_free == levels[0]:
        return price, bound  # Nothing used costs what the first tier's line says at zero.
    free = pl.lit(min(table.free_up_to, units.most), dtype=units.dtype)
    return pl.when(units.narrow <= free).then(int128(table.at_free)).otherwise(price), bound


def _packages(units: Quantity, table: PackagedTable, edges: tuple[int, ...], bound: int) -> tuple[pl.Expr, int]:
    reached = len(edges) + 1
    starts, sold = list(table.starts[:reached]), table.packages[:reached]
    require(units.most + max(starts) + max(each.size for each in sold))
    bound = require(bound + max((units.most // each.size + 1) * each.amount for each in sold), _AMOUNT)
    start = _by_tier(units, edges, starts)
    size = _by_tier(units, edges, [each.size for each in sold])
    amount = _by_tier(units, edges, [each.amount for each in sold])
    return (units.wide - start + size - int128(1)) // size * amount, bound


def _by_tier(units: Quantity, edges: tuple[int, ...], values: list[int]) -> pl.Expr:
    """Return, as Int128, the value of the first tier whose edge is not below the units; the last above all edges."""
    if len(edges) > _CHAINED_EDGES:
        tier = pl.lit(pl.Series(edges, dtype=units.dtype)).search_sorted(units.narrow, side="left")
        return pl.lit(pl.Series(values, dtype=INT128)).gather(tier)
    # Choosing among 64-bit integers takes a quarter of the time, and prices end in zeros: divide by what they share.
    shared = 1 if max(map(abs, values)) < _INT64_BOUND else gcd(*values)
    chosen_type = pl.Int64() if max(map(abs, values)) < shared * _INT64_BOUND else INT128
    chosen = pl.lit(values[-1] // shared, dtype=chosen_type)
    for edge, value in zip(reversed(edges), reversed(values[:-1]), strict=True):
        below = units.narrow <= pl.lit(edge, dtype=units.dtype)
        chosen = pl.when(below).then(pl.lit(value // shared, dtype=chosen_type)).otherwise(chosen)
    wide = chosen.cast(INT128)
    return wide if shared == 1 else wide * int128(shared)


def _package_price(units: Quantity, table: PackageTable) -> tuple[pl.Expr, int]:
    require(units.most + table.free_up_to + table.package_size)
    bound = require((units.most // table.package_size + 1) * abs(table.package_amount), _AMOUNT)
    beyond = pl.max_horizontal(units.wide - int128(table.free_up_to), int128(0))
    begun = beyond + int128(table.package_size - 1) if table.round_up else beyond
    return begun // int128(table.package_size) * int128(table.package_amount), bound


def modified(amount: pl.Expr, bound: int, modifiers: CompiledModifiers) -> pl.Expr:
    """Overage, percentage discount, maximum, minimum: `CompiledModifiers.total` as an expression."""
    if modifiers.commitment is not None:
        bound = require((bound + abs(modifiers.commitment)) * (abs(modifiers.overage_extra) + 1), _AMOUNT)
        commitment = int128(modifiers.commitment)
        extra = (amount - commitment) * int128(modifiers.overage_extra) // int128(modifiers.overage_one)
        amount = pl.when(amount > commitment).then(amount + extra).otherwise(amount)
    if modifiers.percent_off:
        require(bound * modifiers.percent_off, _AMOUNT)
        amount = amount - amount * int128(modifiers.percent_off) // int128(modifiers.percent_one)
    if modifiers.maximum is not None:
        amount = pl.min_horizontal(amount, int128(modifiers.maximum))
    if modifiers.minimum is not None:
        amount = pl.max_horizontal(amount, int128(modifiers.minimum))
    return amount
