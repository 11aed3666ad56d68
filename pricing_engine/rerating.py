"""Re-rating a period from sealed usage: one pure task over the files of a few buckets, a frame of rated totals out.

A customer's events lie in one bucket, so tasks need nothing from each other: any number of them may run anywhere, in
any order, and again. A task reads, drops what was recorded twice, keeps the period, groups and rates; it writes
nothing and holds no money. Who runs it posts its result exactly once.

Sealed files hold the columns of COLUMNS and lie in SEALED_ORDER. Then a repeated event stands next to the first one,
and finding it takes a comparison instead of a hash table. The order is checked, and restored where it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import polars as pl

from models.values.errors import ConflictError, InvalidValueError
from models.values.money import Currency
from models.values.period import Period
from pricing_engine.aggregation import Aggregation
from pricing_engine.aggregation_frame import aggregate_frame, microseconds
from pricing_engine.int128 import INT128
from pricing_engine.rating_frame import rate_frame
from pricing_engine.tariffs.compiled import CompiledTariff

SEALED_ORDER = ("bucket", "customer", "meter", "key_high", "key_low")
COLUMNS = (*SEALED_ORDER, "value", "time")
"""`key_high`, `key_low`: see `event_key`. `value`: integers of one scale. `time`: Int64 microseconds since 1970."""

_METER, _CUSTOMER, _TIME = "meter", "customer", "time"
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """How one meter's events become an amount."""

    aggregation: Aggregation
    tariff: CompiledTariff


@dataclass(frozen=True, slots=True)
class Rerated:
    """`totals`: customer, meter, group-by columns, `units` (Int128), `event_count`, and what `rate_frame` adds.

    Every row read is counted once: rows = billed + duplicates + outside_period + without_plan.
    """

    totals: pl.DataFrame
    rows: int
    duplicates: int
    outside_period: int
    without_plan: int


def event_key(tenant: str, source: str, event_id: str) -> tuple[int, int]:
    """Return 128 bits that stand for one event: its idempotency key, hashed. Stored, so it must never change."""
    parts = (f"{len(part)}:{part}" for part in (tenant, source, event_id))
    digest = blake2b("".join(parts).encode(), digest_size=_KEY_BYTES).digest()
    half = _KEY_BYTES // 2
    return int.from_bytes(digest[:half], "big"), int.from_bytes(digest[half:], "big")


def sealed(events: pl.DataFrame) -> pl.DataFrame:
    """Put a bucket's events into the order in which they are sealed."""
    return events.sort(SEALED_ORDER)


def rerate(
    sources: Sequence[str], period: Period, plans: Mapping[object, MeterPlan], *, value_scale: int, of: Currency
) -> Rerated:
    """Rate all usage in the Parquet files `sources` (paths or URLs) that lies in `period`, by its meter's plan.

    Values are integers of 10^-value_scale units. Events of meters without plan are counted, not rated.
    Raises ConflictError where one event was recorded with two contents, and the errors of aggregating and rating.
    """
    events = _in_order(pl.scan_parquet(list(sources)).collect())
    rows = events.height
    events = _distinct(events)
    duplicates = rows - events.height
    start, end = microseconds(period.start), microseconds(period.end)
    inside = events.filter(pl.col(_TIME).is_between(start, end, closed="left"))
    totals, billed = _rated(inside, period, plans, value_scale, of)
    return Rerated(totals, rows, duplicates, events.height - inside.height, inside.height - billed)


def _in_order(events: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in COLUMNS if name not in events.columns]
    if missing:
        raise InvalidValueError("is no column of the sealed events", field=missing[0], code="invalid_column")
    unknown = [name for name in SEALED_ORDER if events.get_column(name).null_count()]
    if unknown:
        raise InvalidValueError("must not be null in sealed events", field=unknown[0], code="invalid_column")
    # Compared from the last column to the first: `later` tells whether a row may follow the one before it.
    may_follow = pl.lit(value=True)
    for name in reversed(SEALED_ORDER):
        before = pl.col(name).shift()
        may_follow = (pl.col(name) > before) | ((pl.col(name) == before) & may_follow)
    return events if events.select(may_follow.all()).item() else sealed(events)


def _distinct(events: pl.DataFrame) -> pl.DataFrame:
    repeated = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in SEALED_ORDER).fill_null(value=False)
    marked = events.select(repeated.alias("repeated")).to_series()
    if not marked.any():
        return events
    content = [name for name in events.columns if name not in SEALED_ORDER]
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in content)
    conflict = events.select(pl.lit(marked) & differs).to_series()
    if conflict.any():
        at = events.filter(conflict).row(0, named=True)
        raise ConflictError(
            "was recorded before with other content",
            field="event_key",
            value=f"{at['key_high']:016x}{at['key_low']:016x}",
            code="event_conflict",
        )
    return events.filter(~marked)


def _rated(
    events: pl.DataFrame, period: Period, plans: Mapping[object, MeterPlan], value_scale: int, of: Currency
) -> tuple[pl.DataFrame, int]:
    """Rate the meters of each plan together; also return how many events had a plan."""
    meters: list[tuple[MeterPlan, list[object]]] = []
    for meter, plan in plans.items():
        same = next((known for like, known in meters if like == plan), None)
        if same is None:
            meters.append((plan, [meter]))
        else:
            same.append(meter)
    parts, billed = [], 0
    for plan, names in meters:
        mine = events.filter(pl.col(_METER).is_in(pl.Series(names, dtype=events.schema[_METER]).implode()))
        billed += mine.height
        units = aggregate_frame(
            plan.aggregation, mine.lazy(), period, keys=[_CUSTOMER, _METER], value_scale=value_scale
        )
        parts.append(rate_frame(units.frame, plan.tariff, unit_scale=units.scale).with_ledger_units(of))
    return (pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame(schema={"units": INT128})), billed
