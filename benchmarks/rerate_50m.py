"""Re-rating a whole period: 50,000,000 events, 2 % of them recorded twice, five days of them outside the period.

Ours reads 256 sealed buckets, four to a task: it drops duplicates, keeps the period, groups by customer and meter
and rates every total through a graduated tariff of five tiers. The other leg is polars' own streaming scan and
group-by of the same rows in ten files, without dropping, keeping or rating anything. Both are checked against totals
that were added up with numpy while the events were drawn.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.harness import OUT, Benchmark, Clock, LegRun, Options, Ratio, Value, run
from benchmarks.rating_frames import UNIT_SCALE, tariff
from models.values.ids import BUCKET_COUNT, DEFAULT_TENANT, bucket_of
from models.values.money import currency
from models.values.period import Period
from pricing_engine.aggregation import Aggregation, AggregationKind
from pricing_engine.aggregation_frame import microseconds
from pricing_engine.rerating import MeterPlan, rerate, sealed

FOLDER = OUT / "rerate"
FLAT, SEALED, STAGE = FOLDER / "flat", FOLDER / "sealed", FOLDER / "stage"
TRUTH = FOLDER / "truth.json"
EVENTS, SMALL_EVENTS = 50_000_000, 1_000_000
FILES, METERS, BUCKETS_A_TASK, STAGES = 10, 10, 4, 16
EVENTS_A_TOTAL = 25
DUPLICATE_SHARE = 50
START = datetime(2026, 9, 1, tzinfo=UTC)
PERIOD = Period(START, START + timedelta(days=30))
RECORDED_DAYS = 35
USD = currency("USD")
COMPRESSION = {"compression": "zstd", "compression_level": 1}
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """How much is drawn: 50 million events of 200,000 customers, or a fiftieth of it."""

    events: int

    @property
    def customers(self) -> int:
        """Enough for `EVENTS_A_TOTAL` events a (customer, meter)."""
        return self.events // (EVENTS_A_TOTAL * METERS)


def prepare(options: Options) -> None:
    """Draw the events, write them flat and by bucket, and keep the truth and the time that bucketing took."""
    cleanup(options)
    for folder in (FLAT, SEALED, STAGE):
        folder.mkdir(parents=True)
    size = Size(SMALL_EVENTS if options.small else EVENTS)
    units = np.zeros(size.customers * METERS, dtype=np.int64)
    counts = np.zeros_like(units)
    for number, (chunk, is_first) in enumerate(_chunks(size)):
        chunk.write_parquet(FLAT / f"{number}.parquet", **COMPRESSION)  # type: ignore[arg-type]
        billed = chunk.filter(pl.lit(is_first) & (pl.col("time") < microseconds(PERIOD.end)))
        total = (
            billed.get_column("customer").to_numpy().astype(np.int64) * METERS + billed.get_column("meter").to_numpy()
        )
        np.add.at(units, total, billed.get_column("value").to_numpy())
        np.add.at(counts, total, 1)
    seconds = _bucket(size)
    shutil.rmtree(STAGE)
    truth = _truth(size, units[counts > 0], int(counts.sum()))
    TRUTH.write_text(json.dumps(truth | {"bucketing_seconds": round(seconds, 1)}))
    print(f"bucketing {size.events:,} events took {seconds:.1f} s", file=sys.stderr)


def _chunks(size: Size) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """Yield the events file by file, and which of them are recorded for the first time."""
    random = np.random.default_rng(20260901)
    rows = size.events // FILES
    window = RECORDED_DAYS * 86_400_000_000
    before: pl.DataFrame | None = None
    for _ in range(FILES):
        chunk = pl.DataFrame(
            {
                "customer": random.integers(0, size.customers, rows, dtype=np.uint32),
                "meter": random.integers(0, METERS, rows, dtype=np.uint16),
                "key_high": random.integers(0, 2**64, rows, dtype=np.uint64),
                "key_low": random.integers(0, 2**64, rows, dtype=np.uint64),
                "value": random.integers(1, 5_000_000_000, rows, dtype=np.int64),
                "time": microseconds(START) + random.integers(0, window, rows, dtype=np.int64),
            }
        )
        again = rows // DUPLICATE_SHARE
        fresh, source = chunk.head(rows - again), chunk.head(rows - again) if before is None else before
        repeated = source[random.integers(0, source.height, again)]
        yield pl.concat([fresh, repeated]), pl.Series([True] * fresh.height + [False] * again)
        before = fresh


def _bucket(size: Size) -> float:
    """Write each bucket's events to its own file, in the sealed order; return the seconds it took."""
    started = time.perf_counter()
    buckets = [bucket_of(DEFAULT_TENANT, str(customer)) for customer in range(size.customers)]
    of_customer = pl.Series(buckets, dtype=pl.UInt8)
    for flat in sorted(FLAT.iterdir()):
        events = pl.read_parquet(flat)
        events = events.with_columns(of_customer.gather(events.get_column("customer")).alias("bucket"))
        staged = events.with_columns((pl.col("bucket") % STAGES).alias("stage")).partition_by("stage", as_dict=True)
        for (stage,), part in staged.items():
            part.drop("stage").write_parquet(STAGE / f"{stage}-{flat.name}", compression="uncompressed")
    for stage in range(STAGES):
        events = sealed(pl.read_parquet(STAGE / f"{stage}-*.parquet"))
        for (bucket,), part in events.partition_by("bucket", as_dict=True, maintain_order=True).items():
            part.write_parquet(SEALED / f"{bucket:03d}.parquet", **COMPRESSION)  # type: ignore[arg-type]
    return time.perf_counter() - started


def _truth(size: Size, units: np.ndarray, billed: int) -> dict[str, object]:
    compiled = tariff()
    amount = sum(compiled.price_scaled(int(total)) for total in units)
    return {
        "rows": size.events,
        "totals": len(units),
        "units": str(int(units.sum())),
        "billed": billed,
        "amount": str(amount),
    }


def cleanup(_: Options) -> None:
    """Remove the events."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def ours(clock: Clock) -> object:
    """Re-rate all buckets, one task of four after the other, and check every total against the truth."""
    truth = json.loads(TRUTH.read_text())
    files = sorted(str(path) for path in SEALED.iterdir())
    assert clock.options.small or len(files) == BUCKET_COUNT
    plan = MeterPlan(Aggregation(AggregationKind.SUM), tariff())
    plans: dict[object, MeterPlan] = dict.fromkeys(range(METERS), plan)
    with clock:
        results = [
            rerate(files[first : first + BUCKETS_A_TASK], PERIOD, plans, value_scale=UNIT_SCALE, of=USD)
            for first in range(0, len(files), BUCKETS_A_TASK)
        ]
    found = {
        "rows": sum(result.rows for result in results),
        "totals": sum(result.totals.height for result in results),
        "units": str(sum(sum(result.totals.get_column("units").to_list()) for result in results)),
        "billed": sum(result.totals.get_column("event_count").sum() for result in results),
        "amount": str(sum(sum(result.totals.get_column("amount").to_list()) for result in results)),
    }
    clock.facts["bucketing_seconds"] = truth.pop("bucketing_seconds")
    clock.facts["tasks"] = len(results)
    assert found == truth, f"{found} is not {truth}"
    return {"rows": found["rows"]}


def scan_and_group(clock: Clock) -> object:
    """Group the same rows by customer and meter, no more."""
    lazy = pl.scan_parquet(sorted(FLAT.iterdir()))
    with clock:
        grouped = (
            lazy.group_by("customer", "meter")
            .agg(pl.col("value").sum(), pl.len().alias("rows"))
            .collect(engine="streaming")
        )
    return {"rows": int(grouped.get_column("rows").sum())}


def peak_gib(one: LegRun) -> float:
    """Return the largest resident size of the leg's process."""
    return one.rss_bytes / GIB


BENCHMARK = Benchmark(
    legs={"ours": ours, "scan_and_group": scan_and_group},
    rows=[
        Ratio(
            "rating.rerate_50m_ratio",
            "ours",
            "scan_and_group",
            bar=1.75,
            better="lower",
            how="drop duplicates, keep the period, group and rate 50,000,000 events from 256 sealed buckets"
            " / a bare streaming scan and group-by of the same rows in ten files",
        ),
        Value(
            "rating.rerate_50m_gib",
            "ours",
            "GiB",
            bar=1.0,
            better="lower",
            how="peak resident memory of the process that re-rates them",
            of=peak_gib,
            rounds=2,
        ),
    ],
    prepare=prepare,
    cleanup=cleanup,
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
