"""The selections that are asked for, with all that decides what they cost and earn at other feature prices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import QuoteDesign
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.quote_log import BILLED, REST, REST_COST, feature_matrix, positions, quantities_in_units


@dataclass(frozen=True, slots=True)
class Selections:
    """m distinct selections. At feature prices p (K,), in major units, selection i comes to `billed[i] @ p + rest[i]`.

    `chosen` (m, K): how much of each feature, in the model's units. `weight` (G, m): how often each segment asked.
    `billed` (m, K): how many times each price enters the total, what discounts take off left out. `rest`, `rest_cost`
    (m,): what the features without a price to set add to total and cost.
    """

    chosen: Floats
    weight: Floats
    billed: Floats
    rest: Floats
    rest_cost: Floats


def selections_of(design: QuoteDesign, discounts: Floats | None = None) -> Selections:
    """Return the selections of a design whose every feature has a price to set, and how often each segment asked.

    `discounts` (K,): shares off by number of features 1..K, as the catalog grants them.
    """
    off = np.zeros(len(design.features)) if discounts is None else discounts
    units = np.array(design.units) if design.units else np.ones(len(design.features))
    sizes = np.count_nonzero(design.chosen, axis=1)
    kept = 1.0 - np.where(sizes > 0, off[sizes - 1], 0.0)
    nothing = np.zeros(len(design.chosen))
    billed = design.chosen * units * kept[:, None]
    return _distinct(design.chosen, billed, nothing, nothing, design.segment, design.offered, len(design.segments))


def selections_from_log(log: pl.DataFrame, posterior: FeaturePosterior) -> Selections:
    """Return the selections of every quote of a log, whatever came of it, as they were billed.

    The log has the columns `BILLED`, `REST` and `REST_COST`; quotes of segments that the posterior does not know are
    left out. Raises InvalidValueError where a column is missing.
    """
    missing = [name for name in (BILLED, REST, REST_COST) if name not in log.columns]
    if missing:
        raise InvalidValueError("lacks columns", field="quote_log", value=missing)
    rows = log.filter(pl.col("segment").is_in(list(posterior.segments)))
    return _distinct(
        quantities_in_units(rows, posterior.features, posterior.units),
        feature_matrix(rows, posterior.features, BILLED),
        rows[REST].cast(pl.Float64).to_numpy(),
        rows[REST_COST].cast(pl.Float64).to_numpy(),
        positions(rows["segment"], posterior.segments),
        np.ones(rows.height),
        len(posterior.segments),
    )


def _distinct(
    chosen: Floats,
    billed: Floats,
    rest: Floats,
    rest_cost: Floats,
    segment: NDArray[np.int64],
    count: Floats,
    segments: int,
) -> Selections:
    """Collapse equal rows and count them by segment."""
    features = chosen.shape[1]
    rows, index = np.unique(np.column_stack([chosen, billed, rest, rest_cost]), axis=0, return_inverse=True)
    weight = np.zeros((segments, len(rows)))
    np.add.at(weight, (segment, index.ravel()), count)
    return Selections(
        np.ascontiguousarray(rows[:, :features]),
        weight,
        np.ascontiguousarray(rows[:, features : 2 * features]),
        np.ascontiguousarray(rows[:, -2]),
        np.ascontiguousarray(rows[:, -1]),
    )
