"""The price that earns most from one quote, given demand; vectorised over quotes.

Additive scale: p = c + (1 + W(exp(a - beta c - 1))) / beta with Lambert's W (Li & Huh 2011), where w = W(e^z)
is found from w + ln w = z by Newton, which cannot overflow. Multiplicative scale: the root of
beta (1 - q)(1 - c / p) = 1, unique where beta > 1. Flexible: a grid on ln p, refined.

Prices are capped at `highest`: where demand hardly falls, the optimum is not a number but the cap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pricing_engine.demand.feature_posterior import FeatureDemand
from pricing_engine.demand.price_basis import Floats, Scale

_NEWTON_STEPS = 5
_BISECTIONS = 50
_GRID = 64
_REFINEMENTS = 3


def lambert_w_of_exp(z: Floats) -> Floats:
    """Return w with w + ln w = z, that is W(exp z), to 1e-14 relative for z in [-700, 1e15]."""
    small = np.exp(np.minimum(z, 1.0))
    w = np.where(z > 1.0, z - np.log(np.maximum(z, 1.0)), small / (1.0 + small))
    for _ in range(_NEWTON_STEPS):
        w = w * (1.0 + z - np.log(w)) / (1.0 + w)
    return np.asarray(w)


def optimal_prices(
    demand: FeatureDemand, chosen: Floats, unit_cost: Floats, segment: NDArray[np.int64], highest: Floats
) -> Floats:
    """Return the price (n,) in [unit_cost, highest] that maximises (p - cost) P(accept | p), major units."""
    utility, slope = demand.utility(chosen, segment), np.exp(demand.log_slope[segment])
    if demand.basis.scale is Scale.ADDITIVE:
        beta = slope / demand.basis.unit
        free = unit_cost + (1.0 + lambert_w_of_exp(utility - beta * unit_cost - 1.0)) / beta
    elif demand.basis.scale is Scale.MULTIPLICATIVE:
        free = _multiplicative(utility, slope, unit_cost, highest, demand.basis.unit)
    else:
        free = _by_grid(demand, utility, slope, unit_cost, highest)
    return np.clip(free, unit_cost, np.maximum(highest, unit_cost))


def _multiplicative(utility: Floats, slope: Floats, cost: Floats, highest: Floats, unit: float) -> Floats:
    low = np.log(np.maximum(cost, 1e-9 * highest))
    high = np.log(np.maximum(highest, 1e-300))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        refused = expit(slope * (middle - np.log(unit)) - utility)
        rising = slope * refused * (1.0 - cost * np.exp(-middle)) < 1.0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray(np.exp((low + high) / 2))


def _by_grid(demand: FeatureDemand, utility: Floats, slope: Floats, cost: Floats, highest: Floats) -> Floats:
    """Refine the best of a log-spaced grid; a flexible demand may have several local optima."""
    low = np.log(np.maximum(cost, 1e-4 * highest))
    high = np.log(highest)
    for _ in range(_REFINEMENTS):
        grid = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _GRID)
        price = np.exp(grid)
        phi = demand.basis.phi(price.ravel(), demand.ramp_log_weights).reshape(price.shape)
        profit = (price - cost[:, None]) * expit(utility[:, None] - slope[:, None] * phi)
        best = profit.argmax(axis=1)
        width = (high - low) / (_GRID - 1)
        centre = grid[np.arange(len(best)), best]
        low, high = np.maximum(centre - width, low), np.minimum(centre + width, high)
    return np.asarray(np.exp((low + high) / 2))
