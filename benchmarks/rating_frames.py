"""Rating 2,000,000 (customer, meter) totals through a graduated tariff of five tiers.

Legs: our frame; one Int128 multiplication and sum over the same totals and a rate column, the least any exact rating
in polars can do; a loop over Python integers with bisection, the plain way to do it.
"""

from __future__ import annotations

import sys
from bisect import bisect_left

import numpy as np
import polars as pl

from benchmarks.harness import Benchmark, Clock, Ratio, run
from models.values.errors import LimitExceededError
from pricing_engine.rating_frame import rate_frame
from pricing_engine.tariffs.compiled import CompiledTariff, compile_tariff
from pricing_engine.tariffs.table import SegmentTable
from pricing_engine.tariffs.tariff import parse_tariff

ROWS = 2_000_000
SMALL_ROWS = 50_000
UNIT_SCALE = 6
REPEATS = 5
TARIFF = {
    "model": "graduated",
    "tiers": [
        {"up_to": "10", "unit_amount": "0.010000001"},
        {"up_to": "1000", "unit_amount": "0.008"},
        {"up_to": "100000", "unit_amount": "0.006", "flat_amount": "1"},
        {"up_to": "10000000", "unit_amount": "0.004", "flat_amount": "5"},
        {"up_to": None, "unit_amount": "0.002"},
    ],
}


def totals(clock: Clock) -> pl.DataFrame:
    """Return the totals: millionths of a unit from nothing to nine billion units, every tier well visited."""
    rows = SMALL_ROWS if clock.options.small else ROWS
    drawn = np.random.default_rng(20260901).lognormal(mean=21.0, sigma=6.0, size=rows)
    return pl.DataFrame({"units": drawn.clip(0, 9e15).astype(np.int64)})


def tariff() -> CompiledTariff:
    """Return the tariff, compiled: a price book is compiled once, not once a close."""
    return compile_tariff(parse_tariff(TARIFF), UNIT_SCALE)


def frame(clock: Clock) -> object:
    """Rate in polars, bounds proven."""
    frame_of_totals, compiled = totals(clock), tariff()
    rate_frame(frame_of_totals, compiled, unit_scale=UNIT_SCALE)  # Threads started, memory mapped.
    for _ in range(REPEATS):
        with clock:
            rated = rate_frame(frame_of_totals, compiled, unit_scale=UNIT_SCALE)
    _refuses_overflow(frame_of_totals, compiled)
    amounts = rated.frame.get_column("amount")
    return {"sum": str(sum(amounts.to_list())), "last": str(amounts[-1])}


def _refuses_overflow(frame_of_totals: pl.DataFrame, compiled: CompiledTariff) -> None:
    """Check, in the run that is timed, that a total which 128 bits cannot rate is refused."""
    huge = frame_of_totals.select(pl.col("units").cast(pl.Int128)).head(1000)
    huge = pl.concat([huge, pl.DataFrame({"units": pl.Series([2**120], dtype=pl.Int128)})])
    try:
        rate_frame(huge, compiled, unit_scale=UNIT_SCALE)
    except LimitExceededError:
        return
    raise AssertionError("an overflow was not refused")


def multiply_and_sum(clock: Clock) -> object:
    """Multiply the totals by a rate column and sum: what the frame is compared with, not a rating."""
    frame_of_totals = totals(clock)
    rates = pl.Series("rate", np.random.default_rng(7).integers(1, 10_000_001, frame_of_totals.height))
    wide = frame_of_totals.with_columns(pl.col("units").cast(pl.Int128), rates.cast(pl.Int128))
    product = (pl.col("units") * pl.col("rate")).sum()
    wide.select(product)
    for _ in range(REPEATS):
        with clock:
            total = wide.select(product).item()
    return {"sum": str(total)}


def integer_loop(clock: Clock) -> object:
    """Rate in a Python loop: one bisection, one multiplication a row, on the same compiled integers."""
    table = tariff().table
    assert isinstance(table, SegmentTable)
    edges, starts, rates, bases = table.edges, table.starts, table.rates, table.bases
    units = totals(clock).get_column("units").to_list()
    for _ in range(REPEATS):
        amounts = []
        with clock:
            for quantity in units:
                i = bisect_left(edges, quantity)
                amounts.append(bases[i] + rates[i] * (quantity - starts[i]))
    return {"sum": str(sum(amounts)), "last": str(amounts[-1])}


BENCHMARK = Benchmark(
    legs={"frame": frame, "multiply_and_sum": multiply_and_sum, "integer_loop": integer_loop},
    rows=[
        Ratio(
            "rating.frame_ratio",
            "frame",
            "multiply_and_sum",
            bar=12.0,
            better="lower",
            how="2,000,000 totals through five graduated tiers / one Int128 multiplication and sum of the same rows",
            same_checksum=False,  # The baseline is no rating; the other row compares every digit.
        ),
        Ratio(
            "rating.int_loop_ratio",
            "integer_loop",
            "frame",
            bar=10.0,
            better="higher",
            how="a loop over Python integers with bisection / our frame, the same 2,000,000 totals, equal sums",
        ),
    ],
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
