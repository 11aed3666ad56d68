"""Prices for offers that differ in features: the feature posterior's optimum for each offer, and a small jitter.

Where offers differ, their variety explores by itself, and a greedy price with a jitter beats a Thompson draw
(Qiang & Bayati 2016). Whether worth adds up or multiplies is settled by the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing_engine.demand.design import QuoteDesign, quote_design
from pricing_engine.demand.diagnostics import drift
from pricing_engine.demand.feature_posterior import FeatureDemand, FeaturePosterior
from pricing_engine.demand.optimum import optimal_prices
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Floats, Scale
from pricing_engine.demand.prior import DemandPrior, NormalBelief

_SPREAD_OFFERS, _SPREAD_SHARE = 4, 0.3
_JITTER, _LEAST_JITTER = 0.05, 0.005
_REFIT_GROWTH = 1.03
_LOG_SLOPE, _LOG_SLOPE_DEVIATION = 1.1, 0.3
_SLOPE_TIMES_SPAN, _VAGUER_BY = 4.0, 0.5
"""Before the first offer: a feature is worth something, and an elasticity is a few times minus one. In a range narrower
than by a factor of four that would hardly move acceptance from one end to the other: there more is believed, and less
surely."""
_ADDITIVE_ODDS = 3.0
"""Log evidence from which worth is taken to add up in money rather than to multiply: 20 to 1."""
_WINDOW = 100
_CEILINGS, _CEILINGS_BELOW, _CEILINGS_AFTER = (0.3, 0.1, 0.03, 0.01), 0.15, 20
"""Where few accept, perhaps few are interested at any price: else refusals would all be taken for too high a price."""
_FAR = 5.0
"""So many deviations from zero, a feature (a year, say) is counted from its mean, or what it tells would be too small a
part of its size to be learnt."""
_NEGLIGIBLE = 1e-3
_LOWEST_SHARE, _GRID = 1e-3, 96
_COSTS = 32


@dataclass(frozen=True, slots=True)
class _Member:
    """Demand among the share `ceiling` of customers who would take the offer at some price; `weight`: its chance."""

    demand: FeatureDemand
    ceiling: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Learnt:
    """What demand may be for features less `origin` over `scale` (K,), and the features (m, K) it is asked for with."""

    members: tuple[_Member, ...]
    origin: Floats
    scale: Floats
    asked: Floats

    def acceptance(self, features: Floats, price: Floats) -> Floats:
        chosen, all_one = (features - self.origin) / self.scale, np.zeros(len(price), dtype=np.int64)
        chance = [m.weight * m.ceiling * m.demand.acceptance(chosen, price, all_one) for m in self.members]
        return np.asarray(np.sum(chance, axis=0))

    def best_prices(self, features: Floats, unit_cost: float, high: float) -> Floats:
        """Return the price (n,) with the largest expected profit; one member has it in closed form."""
        if len(self.members) == 1:
            cost, highest = np.full(len(features), unit_cost), np.full(len(features), high)
            one = np.zeros(len(cost), dtype=np.int64)
            return optimal_prices(self.members[0].demand, (features - self.origin) / self.scale, cost, one, highest)
        grid = np.geomspace(max(unit_cost, _LOWEST_SHARE * high), high, _GRID)
        chance = self.acceptance(np.repeat(features, _GRID, axis=0), np.tile(grid, len(features)))
        return np.asarray(grid[((grid - unit_cost) * chance.reshape(-1, _GRID)).argmax(axis=1)])

    def wanted_by_cost(self, unit_cost: float, high: float) -> tuple[Floats, Floats]:
        """Return costs (C,) of a unit from its own up, and the share of offers (C,) accepted at the best prices."""
        least = np.log(max(unit_cost, _LOWEST_SHARE * high))
        costs = np.concatenate([[unit_cost], np.exp(np.linspace(least, np.log(high), _COSTS))[1:]])
        wanted = [float(self.acceptance(self.asked, self.best_prices(self.asked, cost, high)).mean()) for cost in costs]
        return costs, np.array(wanted)


class FeaturePricing:
    """Learns what features are worth and prices each offer (major units) in `low`..`high`."""

    def __init__(self, low: float, high: float, unit_cost: float, rng: np.random.Generator) -> None:
        self._rng, self._unit_cost = rng, unit_cost
        self._low, self._high = max(low, unit_cost, _LOWEST_SHARE * high), high
        self._prior = _prior(float(np.log(high / max(low, _LOWEST_SHARE * high))))
        self._wanted: tuple[Floats, Floats] | None = None
        self._rows: list[Floats] = []
        self._learnt: _Learnt | None = None
        self._count = self._fitted = 0

    def propose(self, features: Floats, sellable_share: float) -> tuple[Floats, Floats]:
        """Return prices (n,) and the density (n,) with which each was drawn, per major unit.

        `sellable_share`: stock left over offers left; prices rise until no more than that is wanted.
        """
        lowest, highest = np.log(self._low), np.log(self._high)
        if self._learnt is None:
            aside = (highest - lowest) * (1.0 - _SPREAD_SHARE) / 2
            low, high = np.full(len(features), lowest + aside), np.full(len(features), highest - aside)
        else:
            cost = self._cost_with_scarcity(self._learnt, sellable_share)
            best = np.clip(np.log(self._learnt.best_prices(features, cost, self._high)), lowest, highest)
            half = max(_JITTER / np.sqrt(1.0 + self._count / 10.0), _LEAST_JITTER)
            low, high = np.maximum(best - half, lowest), np.minimum(best + half, highest)
        price = np.exp(low + (high - low) * self._rng.random(len(features)))
        return np.clip(price, self._low, self._high), 1.0 / ((high - low) * price)

    def _cost_with_scarcity(self, learnt: _Learnt, sellable_share: float) -> float:
        """Return the cost (a unit's value to later offers included) at which no more than the share is wanted."""
        if sellable_share >= 1.0:
            return self._unit_cost
        if self._wanted is None:
            self._wanted = learnt.wanted_by_cost(self._unit_cost, self._high)
        costs, wanted = self._wanted
        return float(np.interp(sellable_share, wanted[::-1], costs[::-1]))

    def observe(self, price: Floats, accepted: Floats, features: Floats) -> None:
        """Learn from outcomes (n,) of 0/1 at prices (n,) for features (n, K)."""
        self._rows.append(np.column_stack([features, price, accepted]))
        self._count += len(price)
        if self._count >= max(self._fitted * _REFIT_GROWTH, self._fitted + 4, _SPREAD_OFFERS):
            self._refit()

    def _refit(self) -> None:
        data = np.concatenate(self._rows)
        latest = data[-_WINDOW:]
        if self._learnt is not None and len(latest) == _WINDOW:
            foretold = self._learnt.acceptance(latest[:, :-2], latest[:, -2])
            if drift(foretold, latest[:, -1], _WINDOW).alarmed:
                data = latest  # What was learnt before no longer holds.
        self._rows, self._count = [data], len(data)
        self._learnt, self._fitted = _fit(data[:, :-2], data[:, -2], data[:, -1], self._prior), len(data)
        self._wanted = None


def _prior(span: float) -> DemandPrior:
    """Return what is believed before the first offer in a range of prices of so many log units."""
    steeper = max(float(np.log(_SLOPE_TIMES_SPAN / span)) - _LOG_SLOPE, 0.0)
    return DemandPrior(
        intercept=NormalBelief(0.0, 5.0),
        log_slope=NormalBelief(_LOG_SLOPE + steeper, _LOG_SLOPE_DEVIATION + _VAGUER_BY * steeper),
        any_worth=NormalBelief(0.5, 1.0),
    )


def _fit(features: Floats, price: Floats, accepted: Floats, prior: DemandPrior) -> _Learnt:
    middle, spread = features.mean(axis=0), features.std(axis=0)
    origin = np.where((spread > 0) & (np.abs(middle) > _FAR * spread), middle, 0.0)
    scale = np.sqrt(np.mean((features - origin) ** 2, axis=0))
    scale[scale == 0] = 1.0
    names = [f"x{k}" for k in range(features.shape[1])]
    design = quote_design((features - origin) / scale, price, accepted, features=names)
    ceilings = _ceilings(accepted)
    fits = [_fit_scale(design, ceiling, prior) for ceiling in ceilings]
    odds = np.array([fit.log_evidence for fit in fits])
    odds[1:] -= np.log(max(len(odds) - 1, 1))  # Half of the belief is that there is no ceiling.
    weight = np.exp(odds - odds.max())
    weight = np.where(weight < _NEGLIGIBLE * weight.max(), 0.0, weight) / weight.sum()
    members = [
        _Member(fit.mode(), ceiling, float(chance))
        for fit, ceiling, chance in zip(fits, ceilings, weight, strict=True)
        if chance > 0
    ]
    return _Learnt(tuple(members), origin, scale, features[-_WINDOW:])


def _ceilings(accepted: Floats) -> list[float]:
    share = float(accepted.mean())
    if len(accepted) < _CEILINGS_AFTER or share >= _CEILINGS_BELOW:
        return [1.0]
    return [1.0, *(ceiling for ceiling in _CEILINGS if ceiling > share)]


def _fit_scale(design: QuoteDesign, ceiling: float, prior: DemandPrior) -> FeaturePosterior:
    multiplied, added = (
        fit_posterior(design, member, prior=prior, ceiling=ceiling) for member in (Scale.MULTIPLICATIVE, Scale.ADDITIVE)
    )
    return added if added.log_evidence - multiplied.log_evidence > _ADDITIVE_ODDS else multiplied
