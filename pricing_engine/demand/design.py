"""The design of a demand fit: quotes as numbers, equal quotes collapsed into counted cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.price_basis import Floats


@dataclass(frozen=True, slots=True)
class QuoteDesign:
    """Cells of quotes that share features, segment and price, sorted by segment.

    `chosen` (n, K): how much of each feature, in its `units` (K,), of which none means one. `segment` (n,): index into
    `segments`. `price` (n,): total, major units. `accepted`, `offered` (n,): weighted counts,
    0 <= accepted <= offered.
    """

    features: tuple[str, ...]
    segments: tuple[str, ...]
    chosen: Floats
    segment: NDArray[np.int64]
    price: Floats
    accepted: Floats
    offered: Floats
    units: tuple[float, ...] = ()

    def rows_of(self, segment: int) -> slice:
        """Return where a segment's cells lie."""
        first, last = np.searchsorted(self.segment, [segment, segment + 1])
        return slice(int(first), int(last))

    @property
    def quotes(self) -> float:
        """Weighted number of quotes."""
        return float(self.offered.sum())

    def quotes_by_segment(self) -> Floats:
        """Weighted number of quotes (G,) of each segment."""
        counts = np.bincount(self.segment, weights=self.offered, minlength=len(self.segments))
        return counts.astype(np.float64)

    def quotes_by_feature(self) -> Floats:
        """Weighted number of quotes (K,) that contain each feature."""
        return np.asarray(self.offered @ (self.chosen != 0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LoggedQuotes:
    """n decided quotes: `chosen` (n, K), `segment` (n,), `price`, `unit_cost`, `accepted`, `density` (n,).

    `density`: of the shown price, per major unit; nan where the price was not drawn at random.
    """

    features: tuple[str, ...]
    segments: tuple[str, ...]
    chosen: Floats
    segment: NDArray[np.int64]
    price: Floats
    unit_cost: Floats
    accepted: Floats
    density: Floats

    def profit(self) -> Floats:
        """Return what each quote earned (n,), major units."""
        return np.asarray(self.accepted * (self.price - self.unit_cost))

    def design(self, rows: NDArray[np.bool_]) -> QuoteDesign:
        """Collapse some of the quotes."""
        return quote_design(
            self.chosen[rows],
            self.price[rows],
            self.accepted[rows],
            features=self.features,
            segment=self.segment[rows],
            segments=self.segments,
        )


def quote_design(
    chosen: Floats,
    price: Floats,
    accepted: Floats,
    *,
    features: Sequence[str],
    segment: NDArray[np.int64] | None = None,
    segments: Sequence[str] = ("all",),
    weight: Floats | None = None,
    units: tuple[float, ...] = (),
) -> QuoteDesign:
    """Collapse n quotes into cells: `chosen` (n, K) in `units`, `price` (n,), `accepted` (n,) of 0/1, `weight` (n,).

    Raises InvalidValueError for arrays of unequal length, numbers that are not finite, or a segment
    index outside `segments`.
    """
    count = len(price)
    index = np.zeros(count, dtype=np.int64) if segment is None else np.asarray(segment, dtype=np.int64)
    weights = np.ones(count) if weight is None else np.asarray(weight, dtype=np.float64)
    _check(chosen, price, accepted, index, weights, len(features), len(segments))
    names = [f"x{k}" for k in range(len(features))]
    columns = {"segment": index, "price": price} | {name: chosen[:, k] for k, name in enumerate(names)}
    frame = pl.DataFrame({**columns, "accepted": accepted, "weight": weights}).filter(pl.col("weight") > 0)
    # Sorted by every column, so that sums, and with them a posterior's hash, do not depend on the order of rows.
    rows = frame.sort(frame.columns).select(pl.all().cast(pl.Float64)).to_numpy()
    keys = rows[:, : len(columns)]
    starts = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
    starts = np.concatenate([[0], starts]) if len(rows) else np.empty(0, dtype=np.intp)
    counts = np.column_stack([rows[:, -2] * rows[:, -1], rows[:, -1]])
    sums = np.add.reduceat(counts, starts, axis=0) if len(rows) else counts
    cells = keys[starts]
    return QuoteDesign(
        tuple(features),
        tuple(segments),
        np.ascontiguousarray(cells[:, 2:]),
        cells[:, 0].astype(np.int64),
        np.ascontiguousarray(cells[:, 1]),
        np.ascontiguousarray(sums[:, 0]),
        np.ascontiguousarray(sums[:, 1]),
        units,
    )


def pair_columns(chosen: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the products (n, pairs) of the paired features' columns."""
    if not pairs:
        return np.empty((len(chosen), 0))
    first, second = np.asarray(pairs, dtype=np.intp).T
    return np.asarray(chosen[:, first] * chosen[:, second])


def linear_columns(chosen: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the columns (n, 1 + K + pairs) that enter the log-odds linearly: constant, features, pairs."""
    return np.column_stack([np.ones(len(chosen)), chosen, pair_columns(chosen, pairs)])


def _check(
    chosen: Floats,
    price: Floats,
    accepted: Floats,
    segment: NDArray[np.int64],
    weight: Floats,
    features: int,
    segments: int,
) -> None:
    count = len(price)
    if chosen.shape != (count, features) or any(len(column) != count for column in (accepted, segment, weight)):
        raise InvalidValueError("arrays must have one row a quote and one column a feature", field="design")
    for name, column in (("chosen", chosen), ("price", price), ("accepted", accepted), ("weight", weight)):
        if not np.all(np.isfinite(column)):
            raise InvalidValueError("must be finite", field=name, code="not_finite")
    if np.any(weight < 0) or np.any((accepted < 0) | (accepted > 1)):
        raise InvalidValueError("weights must be >= 0 and accepted in 0..1", field="design")
    if count and (segment.min() < 0 or segment.max() >= segments):
        raise InvalidValueError("must index a segment", field="segment", value=int(segment.max()))
