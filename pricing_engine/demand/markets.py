"""Markets whose demand is known: what an adaptive price is judged on, against one who knows it.

Prices and costs are in major units. `when` is the share of the horizon that has passed, 0 <= when < 1. The
clairvoyant offers the price with the highest expected profit at each offer; with limited stock he has the
fluid bound, the best price for stock over offers (Gallego & van Ryzin 1994).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from scipy.special import expit, ndtr

from pricing_engine.demand.price_basis import Floats

_GRID = 400
_AT_ONCE = 1_000
_FEATURES = 8
_NOISE = 0.45

Acceptance = Callable[[Floats, Floats, Floats], Floats]
"""(price, when, features), each with the offers along the first axis -> chance of acceptance."""


@dataclass(frozen=True, slots=True)
class Market:
    """True demand. `stock_share`: stock as a share of the offers, None for no limit."""

    price_range: tuple[float, float]
    unit_cost: float
    acceptance: Acceptance
    n_features: int = 0
    stock_share: float | None = None

    def features(self, offers: int, rng: np.random.Generator) -> Floats:
        """Return optional features (offers, n_features) of 0/1 whose takes are correlated."""
        if not self.n_features:
            return np.empty((offers, 0))
        own, common = rng.standard_normal((offers, self.n_features)), rng.standard_normal((offers, 1))
        return (0.8 * own + 0.6 * common > 0).astype(np.float64)

    def best_profit(self, when: Floats, features: Floats) -> Floats:
        """Return what the clairvoyant expects (n,) from each offer."""
        grid = np.geomspace(max(self.price_range[0], 1e-3 * self.price_range[1]), self.price_range[1], _GRID)
        chance = self.acceptance(grid, when[:, None], features[:, None, :])
        sold = chance if self.stock_share is None else np.minimum(chance, self.stock_share)
        return np.asarray(((grid - self.unit_cost) * sold).max(axis=1))


class Pricer(Protocol):
    """What can be driven through a market."""

    def propose(self, features: Floats | None = None, n: int = 1) -> Floats:
        """Return n prices."""
        ...

    def observe(self, prices: Floats, accepted: Floats, features: Floats | None = None) -> None:
        """Take what became of them."""
        ...


@dataclass(frozen=True, slots=True)
class Sales:
    """Expected profit (offers,) of the prices offered, and of the clairvoyant's."""

    earned: Floats
    possible: Floats

    @property
    def share(self) -> float:
        """What was earned of what was possible."""
        return float(self.earned.sum() / self.possible.sum())


def sell(market: Market, pricer: Pricer, offers: int, rng: np.random.Generator, batch: int = 1) -> Sales:
    """Drive `pricer` through `offers` offers, `batch` at a time; customers are drawn from `rng`."""
    stock = np.inf if market.stock_share is None else float(int(market.stock_share * offers))
    earned, asked = [], []
    for start in range(0, offers, batch):
        count = min(batch, offers - start)
        when, features = (start + np.arange(count)) / offers, market.features(count, rng)
        given = features if market.n_features else None
        price = np.asarray(pricer.propose(given, n=count))
        chance = market.acceptance(price, when, features)
        wanted = rng.random(count) < chance
        in_stock = np.cumsum(wanted) - wanted < stock
        accepted = (wanted & in_stock).astype(np.float64)
        stock -= accepted.sum()
        earned.append((price - market.unit_cost) * chance * in_stock)
        asked.append(features)
        pricer.observe(price, accepted, given)
    times, rows = np.arange(offers) / offers, np.concatenate(asked)
    parts = [slice(start, start + _AT_ONCE) for start in range(0, offers, _AT_ONCE)]
    return Sales(np.concatenate(earned), np.concatenate([market.best_profit(times[p], rows[p]) for p in parts]))


def _logit(price: Floats) -> Floats:
    return np.asarray(expit(3.2 - 0.8 * price))


def _steady(demand: Callable[[Floats], Floats], low: float = 1.0, high: float = 12.0, unit_cost: float = 0.5) -> Market:
    """Build a market whose demand depends on price alone."""

    def acceptance(price: Floats, when: Floats, features: Floats) -> Floats:
        return demand(price + 0.0 * when)

    return Market((low, high), unit_cost, acceptance)


def _moving(scale: Callable[[Floats], Floats]) -> Market:
    """Build the logit market with willingness to pay multiplied by `scale` of the time."""
    return Market((1.0, 12.0), 0.5, lambda price, when, features: _logit(price / scale(when)))


def _features(rng: np.random.Generator) -> Market:
    worth, unit_cost = rng.normal(0.35, 0.25, _FEATURES), float(rng.uniform(0.2, 1.0))

    def acceptance(price: Floats, when: Floats, features: Floats) -> Floats:
        return np.asarray(1.0 - ndtr((np.log(price) - features @ worth) / _NOISE))

    return Market((0.1, 60.0), unit_cost, acceptance, n_features=_FEATURES)


def _as_it_is(market: Market, _: np.random.Generator) -> Market:
    return market


def _two_normals(price: Floats) -> Floats:
    return np.asarray(0.7 * (1 - ndtr((price - 3) / 0.5)) + 0.3 * (1 - ndtr(price - 9)))


STEADY: Mapping[str, Market] = {
    "linear": _steady(lambda price: np.clip(1.05 - 0.11 * price, 0.0, 1.0)),
    "logit": _steady(_logit),
    "lognormal": _steady(lambda price: 1.0 - ndtr((np.log(price) - 1.3) / 0.6)),
    "bimodal": _steady(_two_normals),
    "exponential": _steady(lambda price: np.exp(-price / 3.0)),
    "kinked": _steady(lambda price: np.interp(price, [0, 4, 6, 12], [0.95, 0.8, 0.15, 0.02])),
    "two_segments": _steady(lambda price: 0.6 * expit(2 * (3 - price)) + 0.4 * expit(1.5 * (8.5 - price))),
    "three_percent": _steady(lambda price: 0.03 * expit(1.2 * (5 - price))),
    "wide_range": _steady(lambda price: expit(4 - price / 30), 10.0, 500.0, 5.0),
    "small_change": _steady(lambda price: 1.0 - ndtr(np.log(price / 0.06) / 0.5), 0.01, 0.2, 0.004),
}
"""Markets that stay as they are."""

_JUMPS = np.array([1.0, 1.6, 0.8])

MARKETS: Mapping[str, Callable[[np.random.Generator], Market]] = {
    **{name: partial(_as_it_is, market) for name, market in STEADY.items()},
    "jumps": lambda _: _moving(lambda when: _JUMPS[(3 * when).astype(np.int64)]),
    "waves": lambda _: _moving(lambda when: 1.15 + 0.4 * np.sin(4 * np.pi * when)),
    "features8": _features,
    "capacity": lambda _: Market((1.0, 12.0), 0.5, STEADY["logit"].acceptance, stock_share=0.25),
}
"""By name; those with something random about them draw it from the generator."""
