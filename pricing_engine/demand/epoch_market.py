"""One segment under one demand: what it would earn at any feature prices, and the prices at which it earns most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from pricing_engine.demand.feature_posterior import FeatureDemand
from pricing_engine.demand.guardrails import RailContext
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.selections import Selections

_HIGHEST_OVER_LIST = 4.0
_LOWEST_OVER_LIST = 0.01
_LEAST_PRICE = 1e-12
_STARTS = (1.0, 1.6)


@dataclass(frozen=True, slots=True)
class EpochMarket:
    """What m selections come to and cost, their shares (m,) and log-odds before price (m,).

    `billed`, `units` (m, P), `cost`, `list_price` (P,): of the P features that are priced; `units` count what was
    negotiated too. `rest`: see `Selections`.
    """

    demand: FeatureDemand
    billed: Floats
    units: Floats
    rest: Floats
    selection_cost: Floats
    share: Floats
    utility: Floats
    slope: float
    cost: Floats
    list_price: Floats

    def profit(self, prices: Floats) -> float:
        """Return expected profit a quote at feature prices (P,)."""
        total = self._total(prices)
        return float(self.share @ ((total - self.selection_cost) * self._chance(total)))

    def units_sold(self, prices: Floats) -> Floats:
        """Return expected units (P,) a quote of each feature at feature prices (P,)."""
        return np.asarray((self.share * self._chance(self._total(prices))) @ self.units)

    def with_unit_values(self, values: Floats) -> EpochMarket:
        """Return the market where a unit of each feature costs `values` (P,) more: what it would earn if kept."""
        return replace(self, selection_cost=self.selection_cost + self.units @ values)

    def optimum(self, low: Floats | float = 0.0, high: Floats | float = np.inf) -> Floats:
        """Return the feature prices (P,) with the largest profit between cost and the cap, by L-BFGS-B.

        `low`, `high` (P,): bounds that hold before those.
        """
        if not len(self.list_price):
            return self.list_price
        lowest = np.maximum(self.cost, _LOWEST_OVER_LIST * self.list_price)
        highest = np.maximum(_HIGHEST_OVER_LIST * self.list_price, lowest)
        lowest, highest = (np.log(np.maximum(np.clip(each, low, high), _LEAST_PRICE)) for each in (lowest, highest))
        found = [
            minimize(
                self._loss,
                np.clip(np.log(self.list_price * factor), lowest, highest),
                jac=True,
                method="L-BFGS-B",
                bounds=np.column_stack([lowest, highest]),
            )
            for factor in _STARTS
        ]
        best = min(found, key=lambda result: float(result.fun))
        if not np.isfinite(best.fun):
            return np.full(len(lowest), np.nan)
        prices = np.exp(best.x)
        for bound in (low, high):  # To the last digit, which logarithms lose.
            prices = np.where(np.isclose(prices, bound, rtol=1e-9, atol=0.0), bound, prices)
        return np.asarray(np.clip(prices, low, high))

    def _total(self, prices: Floats) -> Floats:
        return np.maximum(self.billed @ prices + self.rest, _LEAST_PRICE)

    def _chance(self, total: Floats) -> Floats:
        phi = self.demand.basis.phi(total, self.demand.ramp_log_weights)
        return np.asarray(expit(self.utility - self.slope * phi))

    def _loss(self, log_prices: Floats) -> tuple[float, Floats]:
        prices = np.exp(log_prices)
        total = self._total(prices)
        weights = self.demand.ramp_log_weights
        chance = self._chance(total)
        margin = total - self.selection_cost
        fall = self.slope * self.demand.basis.phi_slope(total, weights) * chance * (1 - chance)
        by_total = self.share * (chance - margin * fall)
        return -float(self.share @ (margin * chance)), np.asarray(-(by_total @ self.billed) * prices)


def market_of(
    demand: FeatureDemand,
    selections: Selections,
    units: Floats,
    contexts: Mapping[str, Mapping[str, RailContext]],
    priced: Sequence[str],
    g: int,
) -> EpochMarket:
    """Return segment `g` of a demand: `priced` features have a price to set, `units` (K,) are the model's."""
    asked = np.flatnonzero((selections.weight[g] > 0) & (selections.chosen != 0).any(axis=1))
    columns = [demand.features.index(feature) for feature in priced]
    chosen = selections.chosen[asked]
    facts = [contexts[feature][demand.segments[g]] for feature in priced]
    cost = np.array([float(fact.unit_cost) for fact in facts])
    billed = selections.billed[asked][:, columns]
    asked_for = (chosen * units)[:, columns]
    held = np.where(billed > 0, asked_for, 0.0)  # What is not billed here is part of the rest.
    weight = selections.weight[g][asked]
    return EpochMarket(
        demand,
        billed,
        asked_for,
        selections.rest[asked],
        held @ cost + selections.rest_cost[asked],
        weight / max(float(weight.sum()), 1e-300),
        demand.utility(chosen, np.full(len(asked), g, dtype=np.int64)),
        float(np.exp(demand.log_slope[g])),
        cost,
        np.array([max(float(fact.list_price), _LEAST_PRICE) for fact in facts]),
    )
