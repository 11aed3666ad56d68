"""Customers drawn from what was learnt: each a value for every feature, for tariffs to be tried on.

From quotes of whole selections: a draw of the posterior a customer, plus the logistic noise that the model
gives the total. From take rates: the latent value behind each observed choice, v_k >= p_k where the feature
was taken, so that what goes together in the log goes together here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.price_basis import Floats, Scale
from pricing_engine.demand.take_rates import TakeRates

_DRAWS = 50


@dataclass(frozen=True, slots=True)
class Customers:
    """In major units: `values` (n, K) of features in their typical quantities, `base` (n,) of having any at all."""

    values: Floats
    base: Floats


def customers_from_quotes(posterior: FeaturePosterior, count: int, rng: np.random.Generator) -> Customers:
    """Draw customers from an additive posterior, segments in the shares of their quotes.

    Raises RuleBrokenError on another scale, where a feature has no value in money of its own.
    """
    if posterior.basis.scale is not Scale.ADDITIVE:
        raise RuleBrokenError("values in money need the additive scale", field="scale", value=posterior.basis.scale)
    segment = rng.choice(len(posterior.segments), size=count, p=posterior.quotes_by_segment / posterior.quotes)
    values, base = np.empty((count, len(posterior.features))), np.empty(count)
    for rows in np.array_split(np.arange(count), min(_DRAWS, count)):
        demand = posterior.draw(rng)
        money = posterior.basis.unit / np.exp(demand.log_slope[segment[rows]])
        values[rows] = demand.worth[segment[rows]] * money[:, None]
        base[rows] = (demand.intercept[segment[rows]] + rng.logistic(size=len(rows))) * money
    return Customers(values, base)


def means_by_draw(terms: Floats) -> Floats:
    """Return the mean of `terms` (n,), one a customer as drawn, for the customers of each draw of the posterior."""
    return np.array([float(part.mean()) for part in np.array_split(terms, min(_DRAWS, len(terms)))])


def customers_from_takes(
    rates: TakeRates, taken: Floats, posted: Floats, count: int, rng: np.random.Generator
) -> Customers:
    """Draw customers behind observed choices `taken` (m, K) at posted prices (m, K), with replacement.

    The noise of each feature's logit is drawn truncated to what the customer chose. Raises
    InvalidValueError for arrays that do not match the rates.
    """
    features = len(rates.features)
    if taken.shape != posted.shape or taken.ndim != 2 or taken.shape[1] != features or not len(taken):
        raise InvalidValueError("must be (customers, features), both alike", field="taken", value=taken.shape)
    rows = rng.integers(0, len(taken), count)
    values = np.empty((count, features))
    for part in np.array_split(np.arange(count), min(_DRAWS, count)):
        seen = taken[rows[part]]
        nobody = np.zeros(len(part), dtype=np.int64)
        for k, posterior in enumerate(rates.posteriors):
            demand = posterior.draw(rng)
            money = posterior.basis.unit / float(np.exp(demand.log_slope[0]))
            utility = demand.utility(np.delete(seen, k, axis=1), nobody)
            taken_here = seen[:, k] > 0
            chance = 1.0 / (1.0 + np.exp(-(utility - posted[rows[part], k] / money)))
            # Uniform on the part of (0, 1) where the logistic noise leads to the observed choice.
            uniform = rng.uniform(1e-12, 1.0 - 1e-12, len(part))
            quantile = np.where(taken_here, 1.0 - chance * (1.0 - uniform), uniform * (1.0 - chance))
            quantile = np.clip(quantile, 1e-12, 1.0 - 1e-12)
            values[part, k] = money * (utility + np.log(quantile) - np.log1p(-quantile))
    return Customers(values, np.zeros(count))
