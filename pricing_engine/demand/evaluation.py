"""What another price policy would have earned, from logged quotes: direct, self-normalised, doubly robust.

For a price drawn with known density f, and a target price pi(x):

    DR = mean[ D(x, pi) + w (R - D(x, p)) ],   w = K_h(ln p - ln pi) / (p f(p | x))

with D(x, p) = (p - cost) P(accept | x, p), cross-fitted so that no quote judges a model it taught (Dudik et
al. 2011; kernel smoothing for a continuous price, Kallus & Zhou 2018). Weighted estimates are refused when
too few quotes lie near the target prices: an answer carried by a handful of quotes is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import LoggedQuotes, QuoteDesign
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Floats

LEAST_EFFECTIVE_QUOTES = 1_000
_Z90 = 1.6448536269514722
_LARGEST_WEIGHT = 50.0
_MODEL_DRAWS = 50

Fit = Callable[[QuoteDesign], FeaturePosterior]


class Estimator(StrEnum):
    """How a policy's value is estimated."""

    DIRECT = "direct"
    SELF_NORMALISED = "self_normalised"
    DOUBLY_ROBUST = "doubly_robust"


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """Expected profit a quote, major units, with a 90 percent interval; or why there is none."""

    estimator: Estimator
    value: float | None
    low: float | None
    high: float | None
    effective_quotes: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """All estimates of one policy, what the log earned, and how many weights were clipped."""

    logged: PolicyValue
    estimates: tuple[PolicyValue, ...]
    uplift: PolicyValue
    bandwidth: float
    clipped: int

    def of(self, estimator: Estimator) -> PolicyValue:
        """Return one estimate."""
        return next(value for value in self.estimates if value.estimator is estimator)


def evaluate_policy(
    quotes: LoggedQuotes,
    target: Floats,
    *,
    seed: int,
    fit: Fit = fit_posterior,
    folds: int = 5,
    bandwidth: float | None = None,
    least_effective_quotes: float = LEAST_EFFECTIVE_QUOTES,
) -> PolicyEvaluation:
    """Estimate what the prices `target` (n,) would have earned a quote, without having shown them.

    `bandwidth`: half-width of the Epanechnikov kernel on ln price; by default from the spread of the log's
    own prices around the target. `uplift` is the doubly robust gain over the log, quote by quote. Raises
    InvalidValueError for target prices that are not above zero or too few quotes for the folds.
    """
    count = len(quotes.price)
    if target.shape != (count,) or not np.all(np.isfinite(target)) or np.any(target <= 0):
        raise InvalidValueError("must be one price above zero a quote", field="target")
    if count < 10 * folds:
        raise InvalidValueError(f"needs at least {10 * folds} quotes", field="quotes", value=count)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(count) % folds
    at_target, at_logged, draws = _cross_fitted(quotes, target, fold, folds, fit, rng)
    profit = quotes.profit()
    distance = np.log(quotes.price) - np.log(target)
    width = _bandwidth(distance) if bandwidth is None else bandwidth
    weight, clipped = _weights(quotes, distance, width)
    effective = float(weight.sum() ** 2 / np.maximum((weight**2).sum(), 1e-300))
    refused = _refusal(quotes, effective, least_effective_quotes)
    direct = _direct(at_target, draws, count)
    robust = at_target + weight * (profit - at_logged)
    weighted = [
        _interval(Estimator.DOUBLY_ROBUST, robust, effective, refused),
        _self_normalised(profit, weight, effective, refused),
    ]
    return PolicyEvaluation(
        logged=_interval(Estimator.DIRECT, profit, float(count), ""),
        estimates=(direct, *weighted),
        uplift=_interval(Estimator.DOUBLY_ROBUST, robust - profit, effective, refused),
        bandwidth=width,
        clipped=clipped,
    )


def _cross_fitted(
    quotes: LoggedQuotes, target: Floats, fold: NDArray[np.int64], folds: int, fit: Fit, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return expected profit (n,) at target and logged prices, and posterior draws of the target mean."""
    at_target, at_logged = np.empty(len(target)), np.empty(len(target))
    draws = np.zeros(_MODEL_DRAWS)
    for held_out in range(folds):
        rows = fold == held_out
        posterior = fit(quotes.design(~rows))
        mode = posterior.mode()
        chosen, segment, cost = quotes.chosen[rows], quotes.segment[rows], quotes.unit_cost[rows]
        at_target[rows] = (target[rows] - cost) * mode.acceptance(chosen, target[rows], segment)
        at_logged[rows] = (quotes.price[rows] - cost) * mode.acceptance(chosen, quotes.price[rows], segment)
        for draw in range(_MODEL_DRAWS):
            chance = posterior.draw(rng).acceptance(chosen, target[rows], segment)
            draws[draw] += float(((target[rows] - cost) * chance).sum()) / len(target)
    return at_target, at_logged, draws


def _bandwidth(distance: Floats) -> float:
    """Silverman's rule for the Epanechnikov kernel, from the spread of ln p - ln pi."""
    quartiles = np.quantile(distance, [0.25, 0.75])
    spread = min(float(distance.std()), float(quartiles[1] - quartiles[0]) / 1.349)
    return max(float(2.34 * spread * len(distance) ** -0.2), 1e-6)


def _weights(quotes: LoggedQuotes, distance: Floats, width: float) -> tuple[Floats, int]:
    kernel = 0.75 * np.maximum(1.0 - (distance / width) ** 2, 0.0) / width
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(kernel > 0, kernel / (quotes.price * quotes.density), 0.0)
    weight = np.nan_to_num(weight, nan=0.0, posinf=0.0)
    clipped = int(np.count_nonzero(weight > _LARGEST_WEIGHT))
    return np.minimum(weight, _LARGEST_WEIGHT), clipped


def _refusal(quotes: LoggedQuotes, effective: float, least: float) -> str:
    unknown = int(np.count_nonzero(~(quotes.density > 0)))
    if unknown:
        return f"{unknown} prices were not drawn with a known density"
    if effective < least:
        return f"only {effective:.0f} effective quotes near the target prices, {least:.0f} needed"
    return ""


def _interval(estimator: Estimator, terms: Floats, effective: float, refused: str) -> PolicyValue:
    if refused:
        return PolicyValue(estimator, None, None, None, effective, refused)
    mean, half = float(terms.mean()), _Z90 * float(terms.std(ddof=1)) / len(terms) ** 0.5
    return PolicyValue(estimator, mean, mean - half, mean + half, effective)


def _direct(at_target: Floats, draws: Floats, count: int) -> PolicyValue:
    """Give the model's own answer: it needs no randomised prices, and is as right as the model."""
    mean = float(at_target.mean())
    half = _Z90 * float(np.sqrt(draws.var(ddof=1) + at_target.var(ddof=1) / count))
    return PolicyValue(Estimator.DIRECT, mean, mean - half, mean + half, float(count))


def _self_normalised(profit: Floats, weight: Floats, effective: float, refused: str) -> PolicyValue:
    total = float(weight.sum())
    if refused or total == 0:
        return PolicyValue(Estimator.SELF_NORMALISED, None, None, None, effective, refused or "no quote near")
    mean = float(weight @ profit) / total
    half = _Z90 * float(np.sqrt((weight**2) @ (profit - mean) ** 2)) / total
    return PolicyValue(Estimator.SELF_NORMALISED, mean, mean - half, mean + half, effective)
