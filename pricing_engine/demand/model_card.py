"""The model card: what a fitted demand rests on, how well it predicts, and what should worry its owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from models.values.canonical_json import Json
from pricing_engine.demand.design import LoggedQuotes
from pricing_engine.demand.diagnostics import (
    Calibration,
    Confounding,
    Drift,
    PriceEffect,
    Verdict,
    calibration,
    confounding,
    drift,
    placebo,
    price_effect,
)
from pricing_engine.demand.evaluation import Fit
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.fairness import Parity, ProxyCheck, parity, parity_ratio
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.quote_log import CUSTOMER_SEGMENT, logged_draws, logged_quotes, outcome_counts

_DRAWS = 200
_FOLDS = 5
_MISCALIBRATED = 0.05
_UNEQUAL = 1.25
_CONFOUNDED = "prices moved with demand that the log does not show"
_WRONG_SIGN = "dearer quotes sold better: price cannot be the cause"


@dataclass(frozen=True, slots=True)
class ElasticityRow:
    """Elasticity of one segment over its own quotes: (low, mean, high) at 90 percent, and how many quotes."""

    segment: str
    elasticity: tuple[float, float, float]
    quotes: float


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One version's card; `warnings` is empty for a model that may price by itself within its rails.

    `undeclared`: quotes by segments that were not told apart. `proxies`: None where nobody looked for any.
    """

    model_hash: str
    first_quote: datetime
    last_quote: datetime
    outcomes: Mapping[str, int]
    scale: str
    calibration: Calibration
    drift: Drift
    effect: PriceEffect
    placebo: PriceEffect
    confounding: Confounding
    elasticities: tuple[ElasticityRow, ...]
    segments: tuple[Parity, ...]
    channels: tuple[Parity, ...]
    undeclared: Mapping[str, int]
    proxies: ProxyCheck | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What an approver must know before these prices go live."""
        found = {
            "acceptance has drifted away from the model": self.drift.alarmed,
            "no effect of price is seen: only the rails bound these prices": not self.effect.seen,
            _WRONG_SIGN: self.effect.wrong_sign,
            "an effect is seen of prices that were dealt out anew: distrust the log": self.placebo.seen,
            _CONFOUNDED: self.confounding.verdict is Verdict.CONFOUNDED,
            "nobody can tell whether prices moved with demand": self.confounding.verdict is Verdict.UNTESTABLE,
            "predictions are off by 5 points more than chance makes them": self.calibration.excess_error
            > _MISCALIBRATED,
            "segments pay more than 25 percent apart for the same": parity_ratio(self.segments) > _UNEQUAL,
            "channels pay more than 25 percent apart for the same": parity_ratio(self.channels) > _UNEQUAL,
            self._standing_in: bool(self._standing_in),
        }
        return tuple(text for text, holds in found.items() if holds)

    @property
    def distrust(self) -> str:
        """Why no price may follow from the model; empty where prices may, within their rails.

        Its slope is not that of price where prices moved with demand that the log does not show; and where nobody can
        tell, dearer quotes that sold better say so. It must set none where segments tell what must not set prices.
        """
        if self._standing_in:
            return self._standing_in
        if self.confounding.verdict is Verdict.CONFOUNDED:
            return _CONFOUNDED
        unexplained = self.confounding.verdict is Verdict.UNTESTABLE and self.effect.wrong_sign
        return _WRONG_SIGN if unexplained else ""

    @property
    def _standing_in(self) -> str:
        """Say which segments or attributes stand in for protected ones; empty where none was found."""
        found = [] if self.proxies is None else self.proxies.found
        telling = [f"{each.attribute} tells {each.stands_for} ({figure(each.association, 2)})" for each in found]
        return f"segments stand in for what must not set prices: {', '.join(telling)}" if telling else ""

    def document(self) -> dict[str, Json]:
        """Return the card as JSON; estimates have 6 digits."""
        return {
            "model_hash": self.model_hash,
            "data": {
                "first_quote": self.first_quote.isoformat(),
                "last_quote": self.last_quote.isoformat(),
                "outcomes": dict(self.outcomes),
            },
            "scale": self.scale,
            "warnings": list(self.warnings),
            "distrust": self.distrust,
            "calibration": {
                "expected_error": figure(self.calibration.expected_error),
                "by_chance": figure(self.calibration.by_chance),
                "slope": figure(self.calibration.slope),
                "intercept": figure(self.calibration.intercept),
                "log_score": figure(self.calibration.log_score),
                "bins": [
                    {
                        "quotes": figure(row.quotes),
                        "predicted": figure(row.predicted),
                        "accepted": figure(row.accepted),
                    }
                    for row in self.calibration.bins
                ],
            },
            "drift": {
                "window_quotes": self.drift.window_quotes,
                "z": [figure(z) for z in self.drift.z],
                "alarms": list(self.drift.alarms),
            },
            "price_effect": _effect(self.effect),
            "placebo": _effect(self.placebo),
            "confounding": {
                "verdict": str(self.confounding.verdict),
                "z": figure(self.confounding.z),
                "instrument_f": figure(self.confounding.instrument_f),
                "naive": figure(self.confounding.naive),
                "corrected": figure(self.confounding.corrected),
            },
            "elasticities": [
                {
                    "segment": row.segment,
                    "elasticity_90": [figure(end) for end in row.elasticity],
                    "quotes": figure(row.quotes),
                }
                for row in self.elasticities
            ],
            "segments": _parities(self.segments),
            "channels": _parities(self.channels),
            "undeclared_segments": dict(self.undeclared),
            "proxies": None if self.proxies is None else self.proxies.document(),
        }


def model_card(
    log: pl.DataFrame,
    posterior: FeaturePosterior,
    *,
    seed: int,
    instruments: Floats | None = None,
    fit: Fit = fit_posterior,
    drift_window: int = 100,
    proxies: ProxyCheck | None = None,
) -> ModelCard:
    """Write the card of `posterior`, fitted on the checked quote log `log` by `fit`.

    Calibration and drift come from cross-fitted predictions, so no quote judges a model it taught.
    `instruments` (decisions in order of time, J): see `diagnostics.confounding`; by default the log's draws. Prices
    that were all drawn at random clear the log without; where there is no instrument either, it is untestable.
    `proxies`: what was found of attributes that stand in for protected ones.
    """
    quotes = logged_quotes(log, features=posterior.features, units=posterior.units)
    rng = np.random.default_rng(seed)
    predicted = _cross_fitted(quotes, fit, rng)
    design = quotes.design(np.ones(len(quotes.price), dtype=bool))
    return ModelCard(
        model_hash=posterior.content_hash,
        first_quote=log["quoted_at"].min(),  # type: ignore[arg-type]
        last_quote=log["quoted_at"].max(),  # type: ignore[arg-type]
        outcomes=outcome_counts(log),
        scale=str(posterior.basis.scale),
        calibration=calibration(predicted, quotes.accepted),
        drift=drift(predicted, quotes.accepted, drift_window),
        effect=price_effect(design),
        placebo=placebo(quotes, rng),
        confounding=_confounding(log, quotes, instruments),
        elasticities=elasticity_table(posterior, quotes, np.random.default_rng(seed)),
        segments=parity(log, CUSTOMER_SEGMENT if CUSTOMER_SEGMENT in log.columns else "segment"),
        channels=parity(log, "channel"),
        undeclared=_undeclared(log),
        proxies=proxies,
    )


def elasticity_table(
    posterior: FeaturePosterior, quotes: LoggedQuotes, rng: np.random.Generator
) -> tuple[ElasticityRow, ...]:
    """Return each segment's elasticity of expected sales over its own quotes, from draws of the posterior."""
    draws = [posterior.draw(rng) for _ in range(_DRAWS)]
    table = []
    for g, segment in enumerate(posterior.segments):
        rows = quotes.segment == g
        if not rows.any():
            continue
        facts = quotes.chosen[rows], quotes.price[rows], quotes.segment[rows]
        values = []
        for demand in draws:
            chance = demand.acceptance(*facts)
            values.append(float(chance @ demand.elasticity(*facts)) / max(float(chance.sum()), 1e-300))
        low, high = np.quantile(values, [0.05, 0.95])
        table.append(ElasticityRow(segment, (float(low), float(np.mean(values)), float(high)), float(rows.sum())))
    return tuple(table)


def _undeclared(log: pl.DataFrame) -> dict[str, int]:
    """Return how many quotes there are of each segment that is priced as another."""
    if CUSTOMER_SEGMENT not in log.columns:
        return {}
    moved = log.filter(pl.col(CUSTOMER_SEGMENT) != pl.col("segment"))
    return dict(sorted(moved[CUSTOMER_SEGMENT].value_counts().iter_rows()))


def _cross_fitted(quotes: LoggedQuotes, fit: Fit, rng: np.random.Generator) -> Floats:
    fold = rng.permutation(len(quotes.price)) % _FOLDS
    predicted = np.empty(len(quotes.price))
    for held_out in range(_FOLDS):
        rows = fold == held_out
        demand = fit(quotes.design(~rows)).mode()
        predicted[rows] = demand.acceptance(quotes.chosen[rows], quotes.price[rows], quotes.segment[rows])
    return predicted


def _confounding(log: pl.DataFrame, quotes: LoggedQuotes, instruments: Floats | None) -> Confounding:
    if instruments is None and bool(np.all(quotes.density > 0)):
        return replace(confounding(quotes, None), verdict=Verdict.CLEAR)
    return confounding(quotes, logged_draws(log) if instruments is None else instruments)


def _effect(effect: PriceEffect) -> dict[str, Json]:
    return {
        "low": figure(effect.low),
        "effect": figure(effect.effect),
        "high": figure(effect.high),
        "seen": effect.seen,
    }


def _parities(groups: tuple[Parity, ...]) -> list[Json]:
    return [
        {
            "group": group.group,
            "quotes": group.quotes,
            "price_index": figure(group.price_index),
            "acceptance": figure(group.acceptance),
        }
        for group in groups
    ]
