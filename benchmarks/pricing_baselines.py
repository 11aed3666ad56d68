"""Policies to be better than: a fixed price, cost-plus, Thompson sampling over a price menu and over a logit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import expit

from pricing_engine.demand.markets import Market, Pricer
from pricing_engine.demand.price_basis import Floats

_MENU = 12
_CELLS = 56


class FixedMiddle:
    """The middle of the price range, always."""

    def __init__(self, market: Market, seed: int) -> None:
        self._price = sum(market.price_range) / 2

    def propose(self, features: Floats | None = None, n: int = 1) -> Floats:
        """Return n prices."""
        return np.full(n, self._price)

    def observe(self, prices: Floats, accepted: Floats, features: Floats | None = None) -> None:
        """Learn nothing."""


class CostPlus(FixedMiddle):
    """Four times cost."""

    def __init__(self, market: Market, seed: int) -> None:
        self._price = min(max(4 * market.unit_cost, market.price_range[0]), market.price_range[1])


class MenuThompson:
    """Twelve prices, a beta posterior for each, the best of one draw."""

    def __init__(self, market: Market, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._menu = np.geomspace(*market.price_range, _MENU)
        self._cost = market.unit_cost
        self._taken, self._refused = np.ones((2, _MENU))

    def propose(self, features: Floats | None = None, n: int = 1) -> Floats:
        """Return n prices, one draw each."""
        chance = self._rng.beta(self._taken, self._refused, (n, _MENU))
        return np.asarray(self._menu[((self._menu - self._cost) * chance).argmax(axis=1)])

    def observe(self, prices: Floats, accepted: Floats, features: Floats | None = None) -> None:
        """Count outcomes."""
        which = np.abs(np.log(prices)[:, None] - np.log(self._menu)).argmin(axis=1)
        self._taken += np.bincount(which, accepted, _MENU)
        self._refused += np.bincount(which, 1 - accepted, _MENU)


class LogitThompson:
    """A two-parameter logit in price with a Laplace posterior, one draw a batch."""

    def __init__(self, market: Market, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._grid = np.linspace(*market.price_range, _CELLS)
        self._cost = market.unit_cost
        self._columns = np.column_stack([np.ones(_CELLS), -self._grid / self._grid.mean()])
        self._offered, self._taken = np.zeros((2, _CELLS))
        self._prior_mean, self._prior_precision = np.array([2.0, 3.0]), np.diag([1 / 9, 1 / 9])
        self._mode = self._prior_mean

    def propose(self, features: Floats | None = None, n: int = 1) -> Floats:
        """Return n times the best price of one draw."""
        factor = np.linalg.cholesky(self._information())
        drawn = self._mode + np.linalg.solve(factor.T, self._rng.standard_normal(2))
        drawn[1] = max(drawn[1], 0.05)
        profit = (self._grid - self._cost) * expit(self._columns @ drawn)
        return np.full(n, self._grid[profit.argmax()])

    def observe(self, prices: Floats, accepted: Floats, features: Floats | None = None) -> None:
        """Count outcomes and take two Newton steps."""
        which = np.abs(prices[:, None] - self._grid).argmin(axis=1)
        self._offered += np.bincount(which, minlength=_CELLS)
        self._taken += np.bincount(which, accepted, _CELLS)
        for _ in range(2):
            expected = self._offered * expit(self._columns @ self._mode)
            score = self._columns.T @ (self._taken - expected) - self._prior_precision @ (self._mode - self._prior_mean)
            step = np.linalg.solve(self._information(), score)
            self._mode = self._mode + step / max(1.0, float(np.abs(step).max()))

    def _information(self) -> Floats:
        chance = expit(self._columns @ self._mode)
        weight = self._offered * chance * (1 - chance)
        return np.asarray((self._columns * weight[:, None]).T @ self._columns + self._prior_precision)


BASELINES: Mapping[str, Callable[[Market, int], Pricer]] = {
    "fixed middle": FixedMiddle,
    "cost-plus": CostPlus,
    "menu Thompson": MenuThompson,
    "logit Thompson": LogitThompson,
}
