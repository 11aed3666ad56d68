"""From a quote log to a fitted model and its card, and whether what came later still follows it."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

from models.values.canonical_json import Json
from pricing_engine.demand.diagnostics import Drift, drift
from pricing_engine.demand.fairness import ProxyCheck
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.model_card import model_card
from pricing_engine.demand.posterior_fit import find_pairs, fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.quote_log import decisions, design_from_log, logged_quotes

_LEAST_FOR_A_CARD = 50


def learn(log: pl.DataFrame) -> FeaturePosterior:
    """Fit feature demand on a checked log: the scale by evidence, then those pairs of features that evidence bears out.

    Raises NoQuotesError where nothing in the log was decided.
    """
    design = design_from_log(log)
    alone = fit_posterior(design)
    pairs = find_pairs(design, alone)
    if not pairs:
        return alone
    paired = fit_posterior(design, alone.basis.scale, pairs=pairs)
    return paired if paired.log_evidence > alone.log_evidence else alone


def in_money(log: pl.DataFrame, posterior: FeaturePosterior) -> FeaturePosterior:
    """Return the posterior where it gives features a value in money, else the additive one of the same log."""
    if posterior.basis.scale is Scale.ADDITIVE:
        return posterior
    design = design_from_log(log, features=posterior.features)
    return fit_posterior(design, Scale.ADDITIVE, pairs=posterior.pairs)


def card_document(
    log: pl.DataFrame, posterior: FeaturePosterior, proxies: ProxyCheck | None = None
) -> dict[str, Json] | None:
    """Return the card of what was learned from a log, None for fewer decisions than could judge it."""
    if decisions(log).height < _LEAST_FOR_A_CARD:
        return None
    again = partial(fit_posterior, scale=posterior.basis.scale, pairs=posterior.pairs)
    return model_card(log, posterior, seed=0, fit=again, proxies=proxies).document()


def drift_from(posterior: FeaturePosterior, log: pl.DataFrame, window_quotes: int = 100) -> Drift:
    """Compare the decisions of a log that the model did not learn from with its predictions, in order of time.

    Quotes of segments or with features that the model has not seen say nothing about it and are left out.
    """
    known = pl.col("segment").is_in(list(posterior.segments)) & (
        pl.col("features").list.eval(pl.element().is_in(list(posterior.features))).list.all()
    )
    if posterior.basis.scale is not Scale.ADDITIVE:
        known &= pl.col("price") > 0
    quotes = logged_quotes(log.filter(known), features=posterior.features, units=posterior.units)
    segments = np.array([posterior.segments.index(name) for name in quotes.segments], dtype=np.int64)
    predicted = posterior.mode().acceptance(quotes.chosen, quotes.price, segments[quotes.segment])
    return drift(predicted, quotes.accepted, window_quotes)
