"""What the quotes of a log would have earned at other feature prices: an evaluation before anything is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import numpy as np
import polars as pl

from pricing_engine.demand.evaluation import LEAST_EFFECTIVE_QUOTES, PolicyEvaluation, evaluate_policy
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.quote_log import (
    BILLED,
    QUANTITIES,
    REST,
    PriceSource,
    decisions,
    feature_matrix,
    logged_quotes,
)
from pricing_engine.price_sheet import PriceSheet


def evaluate_sheets(
    log: pl.DataFrame,
    posterior: FeaturePosterior,
    sheets: Mapping[str, PriceSheet],
    *,
    seed: int,
    least_effective_quotes: float = LEAST_EFFECTIVE_QUOTES,
    unit_values: Mapping[str, float] = MappingProxyType({}),
) -> PolicyEvaluation:
    """Estimate what the decided quotes of a log would have earned at the prices of `sheets`, by segment, before jitter.

    Where some prices were drawn at random it is those quotes that are looked at: list prices of a holdout have no
    density. `unit_values`: what a unit of a feature that is short earns if kept, in major units; selling it costs that
    much more. Fits anew on parts of the log, in the scale and with the pairs of `posterior`. The log has the columns
    `BILLED` and `REST`. Raises InvalidValueError for fewer than 50 decisions.
    """
    paid = log.filter((pl.col("price") > 0) & pl.col("segment").is_in(list(sheets)))
    drawn = paid.filter(pl.col("price_source") == str(PriceSource.RANDOMISED))
    paid = drawn if drawn.height else paid
    quotes = logged_quotes(paid, features=posterior.features, units=posterior.units)
    rows = decisions(paid).sort("quoted_at", "quote_id")
    if unit_values:
        kept = feature_matrix(rows, list(unit_values), QUANTITIES) @ np.array(list(unit_values.values()))
        quotes = replace(quotes, unit_cost=quotes.unit_cost + kept)
    prices = np.zeros((len(quotes.segments), len(posterior.features)))
    for g, segment in enumerate(quotes.segments):
        for price in sheets[segment].prices:
            if price.feature in posterior.features:
                prices[g, posterior.features.index(price.feature)] = float(price.price)
    billed = feature_matrix(rows, posterior.features, BILLED)
    total = (billed * prices[quotes.segment]).sum(axis=1) + rows[REST].to_numpy()
    fit = partial(fit_posterior, scale=posterior.basis.scale, pairs=posterior.pairs)
    return evaluate_policy(
        quotes, np.maximum(total, 1e-9), seed=seed, fit=fit, least_effective_quotes=least_effective_quotes
    )
