"""The share of buyers who take a feature, by its posted price: what was seen, and a fitted curve with its band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.special import expit

from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.take_rates import fit_take_rates

_GRID = 41
_Z90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class SeenPrice:
    """One posted price in major units: how many were quoted it, and how many of them took the feature."""

    price: Decimal
    quoted: int
    taken: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The take rate at one price: most probable, and its 90 percent band."""

    price: float
    low: float
    mode: float
    high: float


@dataclass(frozen=True, slots=True)
class TakeCurve:
    """What is known of one feature. `curve` is empty where `lacking` names what there is too little of."""

    quotes: int
    seen: tuple[SeenPrice, ...]
    curve: tuple[CurvePoint, ...]
    lacking: str = ""


def take_curve(posted: Sequence[Decimal], taken: Sequence[bool], minimum_quotes: int) -> TakeCurve:
    """Fit one feature's take rate on what n buyers were asked and chose.

    `posted`: the price each was quoted, major units; `minimum_quotes`: with fewer no curve is drawn (`lacking` is
    "quotes"); one price alone teaches nothing about price (`lacking` is "prices").
    """
    seen = _seen(posted, taken)
    if len(posted) < max(1, minimum_quotes):
        return TakeCurve(len(posted), seen, (), "quotes")
    if len(seen) == 1:
        return TakeCurve(len(posted), seen, (), "prices")
    prices = np.array([float(price) for price in posted])
    fitted = fit_take_rates(
        np.array(taken, dtype=np.float64)[:, None], prices[:, None], features=["feature"]
    ).posteriors[0]
    grid = np.linspace(0.8 * prices.min(), 1.2 * prices.max(), _GRID)
    low, mode, high = _with_band(fitted, grid)
    points = zip(grid, low, mode, high, strict=True)
    return TakeCurve(len(posted), seen, tuple(CurvePoint(*map(float, point)) for point in points))


def _with_band(fitted: FeaturePosterior, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the take rate (n,) at prices (n,) and its band, symmetric in log-odds: the delta method at the mode.

    Draws of the slope, which is normal in its logarithm, would lean to one side of the mode.
    """
    demand = fitted.mode()
    odds = demand.log_odds(np.zeros((len(grid), 0)), grid, np.zeros(len(grid), dtype=np.int64))
    covariance = fitted.covariance(0)
    gradient = np.zeros((len(grid), len(covariance)))
    gradient[:, 0] = 1.0
    gradient[:, -1] = -np.exp(demand.log_slope[0]) * demand.basis.phi(grid, demand.ramp_log_weights)
    half = _Z90 * np.sqrt(np.einsum("ni,ij,nj->n", gradient, covariance, gradient))
    return expit(odds - half), expit(odds), expit(odds + half)


def _seen(posted: Sequence[Decimal], taken: Sequence[bool]) -> tuple[SeenPrice, ...]:
    counts: dict[Decimal, tuple[int, int]] = {}
    for price, took in zip(posted, taken, strict=True):
        quoted, bought = counts.get(price, (0, 0))
        counts[price] = quoted + 1, bought + took
    return tuple(SeenPrice(price, *counts[price]) for price in sorted(counts))
