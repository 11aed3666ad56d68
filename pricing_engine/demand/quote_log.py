"""The quote log: what was asked for, at what price, and what came of it, as a polars frame.

One row a quote. An outcome teaches demand only if the customer decided at the price shown:
  * accepted, declined: a decision, counted;
  * sold_out: the customer never had the choice, so it is censored, not a refusal;
  * expired: nobody knows whether price or inattention; left out, or counted as a refusal in the share the
    caller names (`expiry_rises_with_price` in `diagnostics` says when leaving out is wrong);
  * honoured: an old price kept for someone; the decision was already counted when that price was quoted;
  * open: not decided yet.

Quantities: a log may have a column `quantities`, a list of numbers beside `features`; without it each counts once.
A model sees a feature's quantity in units of its typical one (`typical_quantities`), so that tokens and seats are of
one size; worth is per unit again where it is money.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import LoggedQuotes, QuoteDesign, quote_design
from pricing_engine.demand.price_basis import Floats


class QuoteOutcome(StrEnum):
    """What came of a quote."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXPIRED = "expired"
    SOLD_OUT = "sold_out"
    HONOURED = "honoured"
    OPEN = "open"


class PriceSource(StrEnum):
    """Who set the price: a known draw, the list, or a person who may have known more than the log does."""

    RANDOMISED = "randomised"
    LIST = "list"
    HUMAN = "human"


COLUMNS: dict[str, str] = {
    "quote_id": "text, unique",
    "quoted_at": "UTC instant",
    "segment": "text",
    "features": "list of feature keys",
    "price": "total shown, major units",
    "unit_cost": "total cost, major units",
    "outcome": "a QuoteOutcome",
    "price_source": "a PriceSource",
    "density": "probability density of the shown price per major unit, null unless randomised",
    "channel": "text: where the quote was shown",
}


QUANTITIES = "quantities"
"""The optional column: how much of each feature was asked for, in its units, above zero."""

DRAW = "draw"
"""The optional column: by how much a known draw moved the log of the price, 0 for quotes without one."""

CUSTOMER_SEGMENT = "customer_segment"
"""The optional column: the segment a customer belongs to, where its quotes are priced as those of another."""

BILLED, REST, REST_COST = "billed", "rest", "rest_cost"
"""Optional columns, major units, that say what the same selection would come to at other feature prices: how many times
each feature's price enters the total, and what features without a price to set add to total and cost."""


def check_quote_log(log: pl.DataFrame) -> pl.DataFrame:
    """Return `log` if it has the documented columns and legal values; raises InvalidValueError."""
    missing = [name for name in COLUMNS if name not in log.columns]
    if missing:
        raise InvalidValueError("lacks columns", field="quote_log", value=missing)
    for name, allowed in (("outcome", list(QuoteOutcome)), ("price_source", list(PriceSource))):
        strange = log.filter(~pl.col(name).is_in([str(value) for value in allowed]))[name].unique().to_list()
        if strange:
            raise InvalidValueError(f"must be one of {', '.join(allowed)}", field=name, value=strange)
    if QUANTITIES in log.columns:
        _check_quantities(log)
    if log["quote_id"].n_unique() != log.height:
        raise InvalidValueError("must be unique", field="quote_id")
    if log.filter((pl.col("price") < 0) | pl.col("price").is_null()).height:
        raise InvalidValueError("must be >= 0", field="price")
    return log


def decisions(log: pl.DataFrame, *, expired_as_refusal: float = 0.0) -> pl.DataFrame:
    """Return the rows that teach demand, with `accepted` 0 or 1 and `weight`.

    `expired_as_refusal`: the weight of an expired quote as a refusal, 0 to 1.
    """
    if not 0.0 <= expired_as_refusal <= 1.0:
        raise InvalidValueError("must be within 0..1", field="expired_as_refusal", value=expired_as_refusal)
    weight = (
        pl.when(pl.col("outcome").is_in(["accepted", "declined"]))
        .then(1.0)
        .when(pl.col("outcome") == "expired")
        .then(expired_as_refusal)
        .otherwise(0.0)
    )
    return log.with_columns(accepted=(pl.col("outcome") == "accepted").cast(pl.Float64), weight=weight).filter(
        pl.col("weight") > 0
    )


def features_of(log: pl.DataFrame) -> list[str]:
    """Return every feature key in the log, sorted."""
    keys: list[str] = log["features"].explode().drop_nulls().unique().sort().to_list()
    return keys


def typical_quantities(log: pl.DataFrame, features: Sequence[str]) -> tuple[float, ...]:
    """Return the median quantity of each feature over the quotes that contain it; nothing for a log without any."""
    if QUANTITIES not in log.columns:
        return ()
    medians = _exploded(log).group_by("features").agg(pl.col(QUANTITIES).median())
    found: dict[str, float] = dict(medians.iter_rows())
    return tuple(float(found.get(feature) or 1.0) for feature in features)


def design_from_log(
    log: pl.DataFrame,
    *,
    features: Sequence[str] | None = None,
    as_of: datetime | None = None,
    half_life_days: float | None = None,
    expired_as_refusal: float = 0.0,
) -> QuoteDesign:
    """Collapse the log's decisions to a design.

    `half_life_days`: quotes that old at `as_of` count half. Raises InvalidValueError when a half-life has
    no `as_of`, or a quote is younger than `as_of`.
    """
    rows = decisions(log, expired_as_refusal=expired_as_refusal)
    keys = features_of(log) if features is None else list(features)
    if half_life_days is not None:
        rows = _discounted(rows, as_of, half_life_days)
    segments = log["segment"].unique().sort().to_list()
    units = typical_quantities(log, keys)
    return quote_design(
        quantities_in_units(rows, keys, units),
        rows["price"].cast(pl.Float64).to_numpy(),
        rows["accepted"].to_numpy(),
        features=keys,
        segment=positions(rows["segment"], segments),
        segments=segments,
        weight=rows["weight"].to_numpy(),
        units=units,
    )


def logged_quotes(
    log: pl.DataFrame, *, features: Sequence[str] | None = None, units: Sequence[float] = ()
) -> LoggedQuotes:
    """Return the log's decisions one by one in order of time, for evaluation and diagnosis.

    `units` (K,): what one of each feature means, those of the model that is judged; by default the typical quantities.
    """
    rows = decisions(log).sort("quoted_at", "quote_id")
    keys = features_of(log) if features is None else list(features)
    segments = log["segment"].unique().sort().to_list()
    randomised = pl.when(pl.col("price_source") == "randomised").then(pl.col("density"))
    return LoggedQuotes(
        tuple(keys),
        tuple(segments),
        quantities_in_units(rows, keys, units or typical_quantities(log, keys)),
        positions(rows["segment"], segments),
        rows["price"].cast(pl.Float64).to_numpy(),
        rows["unit_cost"].cast(pl.Float64).to_numpy(),
        rows["accepted"].to_numpy(),
        rows.select(randomised.cast(pl.Float64).fill_null(float("nan"))).to_series().to_numpy(),
    )


def logged_draws(log: pl.DataFrame) -> Floats | None:
    """Return the draws (n, 1) of the decisions that `logged_quotes` returns: what moved prices but not demand.

    None where the log has none.
    """
    if DRAW not in log.columns:
        return None
    draws = decisions(log).sort("quoted_at", "quote_id")[DRAW].cast(pl.Float64).to_numpy()
    return draws[:, None] if np.any(draws) else None


def positions(values: pl.Series, names: Sequence[str]) -> NDArray[np.int64]:
    """Return where each value stands in `names`, which holds them all."""
    index = values.replace_strict(list(names), list(range(len(names))), return_dtype=pl.Int64)
    return np.asarray(index.to_numpy(), dtype=np.int64)  # An empty column has no type of its own.


def quantities_in_units(rows: pl.DataFrame, features: Sequence[str], units: Sequence[float]) -> Floats:
    """Return how much of each feature a quote holds (n, K), in `units` (K,); 1 for each where the log names none."""
    if QUANTITIES in rows.columns:
        return feature_matrix(rows, features, QUANTITIES) / (np.array(units) if units else np.ones(len(features)))
    columns = [pl.col("features").list.contains(feature).cast(pl.Float64).alias(feature) for feature in features]
    return rows.select(columns).to_numpy() if columns else np.empty((rows.height, 0))


def feature_matrix(rows: pl.DataFrame, features: Sequence[str], column: str) -> Floats:
    """Return a column of lists beside `features` as a matrix (n, K), 0 where a quote lacks the feature."""
    known = _exploded(rows.with_row_index("row"), column).filter(pl.col("features").is_in(list(features)))
    matrix = np.zeros((rows.height, len(features)))
    matrix[known["row"].to_numpy(), positions(known["features"], features)] = known[column].to_numpy()
    return matrix


def _exploded(log: pl.DataFrame, column: str = QUANTITIES) -> pl.DataFrame:
    """Return one row a quote and feature, with the feature's entry of a column of lists as a float."""
    paired = log.filter(pl.col("features").list.len() > 0).explode("features", column)
    return paired.with_columns(pl.col(column).cast(pl.Float64))


def _check_quantities(log: pl.DataFrame) -> None:
    """Refuse lists of unequal length, and quantities that are not above zero."""
    if log.filter(pl.col("features").list.len() != pl.col(QUANTITIES).list.len()).height:
        raise InvalidValueError("needs one quantity a feature", field=QUANTITIES)
    amounts = _exploded(log)[QUANTITIES]
    if amounts.null_count() or not ((amounts > 0) & amounts.is_finite()).all():
        raise InvalidValueError("must be above zero; leave out what was not asked for", field=QUANTITIES)


def outcome_counts(log: pl.DataFrame) -> dict[str, int]:
    """Return how many quotes ended in each outcome, zeros included."""
    counted = dict(log["outcome"].value_counts().iter_rows())
    return {str(outcome): int(counted.get(str(outcome), 0)) for outcome in QuoteOutcome}


def _discounted(rows: pl.DataFrame, as_of: datetime | None, half_life_days: float) -> pl.DataFrame:
    if as_of is None or half_life_days <= 0:
        raise InvalidValueError("a half-life above zero needs as_of", field="half_life_days", value=half_life_days)
    age_days = (pl.lit(as_of) - pl.col("quoted_at")).dt.total_microseconds() / 86_400e6
    aged = rows.with_columns(age_days=age_days)
    if aged.filter(pl.col("age_days") < 0).height:
        raise InvalidValueError("must not lie before a quote of the log", field="as_of", value=as_of)
    return aged.with_columns(weight=pl.col("weight") * 0.5 ** (pl.col("age_days") / half_life_days))
