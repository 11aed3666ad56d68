"""Suggest one bundle on top of a tariff, with what it should gain and how sure that is.

A bundle's price caps every selection it contains, so a customer either keeps the tariff or takes the bundle
whole and adds what lies outside it at list price. Bundles grow greedily from the best pair, each feature together with
what it requires; the discount is the best of a few whole percents. Chosen on one half of the customers, judged on the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations

import numpy as np

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.tariff_choice import choose
from pricing_engine.demand.tariff_design import Estimate, estimate

_PERCENTS = (5, 10, 15, 20, 25, 30, 40, 50)

Members = tuple[int, ...]
"""Features of a bundle by number, ascending."""


def any_bundle(members: Members) -> Members | None:
    """Let all features go together."""
    return members


@dataclass(frozen=True, slots=True)
class SuggestedBundle:
    """`features` at `percent` off their list sum; `gain` in profit a customer, `takers` the share that buys it."""

    features: tuple[str, ...]
    percent: Decimal
    gain: Estimate
    takers: float

    @property
    def worthwhile(self) -> bool:
        """True where the gain is above zero at 95 percent."""
        return self.gain.low > 0


def suggest_bundle(
    values: Floats,
    costs: Floats,
    prices: Sequence[Decimal],
    percents: Sequence[Decimal],
    *,
    features: Sequence[str],
    base: Floats | None = None,
    completed: Callable[[Members], Members | None] = any_bundle,
) -> SuggestedBundle:
    """Return the bundle that adds most profit to the tariff (`prices`, `percents` by size), all major units.

    `completed`: returns features with those that they require, None where they do not go together.
    Raises InvalidValueError for fewer than two features or fewer than 100 customers, RuleBrokenError where no two
    features go together.
    """
    if len(features) < 2 or len(values) < 100:
        raise InvalidValueError("needs two features and 100 customers", field="values", value=values.shape)
    market = _Market(
        np.array([float(p) for p in prices]), np.array([float(d) for d in percents]) / 100, costs, len(features)
    )
    least = np.zeros(len(values)) if base is None else -base
    chosen_on, judged_on = market.offered(values[::2], least[::2]), market.offered(values[1::2], least[1::2])
    found: tuple[float, Members, int] = (-np.inf, (), 0)
    while grown := _grown(found[1], len(features), completed):
        best = max((chosen_on.best_percent(bundle) for bundle in grown), key=lambda trial: trial[0])
        if best[0] <= found[0]:
            break
        found = best
    if not found[1]:
        raise RuleBrokenError("no two features go together", field="rules", code="no_bundle_goes_together")
    gain, takers = judged_on.gain(found[1], found[2] / 100)
    return SuggestedBundle(
        tuple(features[k] for k in found[1]), Decimal(found[2]), estimate(gain), float(takers.mean())
    )


def bundle_gain(
    values: Floats,
    costs: Floats,
    prices: Sequence[Decimal],
    percents: Sequence[Decimal],
    members: Members,
    percent: Decimal,
    *,
    base: Floats,
) -> tuple[Floats, Floats]:
    """Return the change in profit (n,) that a bundle of `members` makes with customers, and who takes it (n,)."""
    market = _Market(
        np.array([float(p) for p in prices]), np.array([float(d) for d in percents]) / 100, costs, len(prices)
    )
    return market.offered(values, -base).gain(members, float(percent) / 100)


def _grown(members: Members, features: int, completed: Callable[[Members], Members | None]) -> list[Members]:
    """Return the bundles that are one feature larger, with what that requires; from nothing, those of a pair."""
    extras = combinations(range(features), 1 if members else 2)
    bundles = {completed(tuple(sorted({*members, *extra}))) for extra in extras}
    return sorted(bundle for bundle in bundles if bundle is not None and bundle != members)


@dataclass(frozen=True, slots=True)
class _Market:
    prices: Floats
    discounts: Floats
    costs: Floats
    features: int

    def offered(self, values: Floats, least: Floats) -> _Offered:
        choices = choose(values, self.prices, self.discounts, -least)
        surplus = np.maximum(choices.surplus(values, self.prices), least)
        return _Offered(self, values, surplus, choices.profit(self.prices, self.costs))


@dataclass(frozen=True, slots=True)
class _Offered:
    """Customers with their surplus and our profit (n,) under the tariff without a bundle."""

    market: _Market
    values: Floats
    surplus: Floats
    profit: Floats

    def gain(self, bundle: Members, discount: float) -> tuple[Floats, Floats]:
        """Return the change in profit (n,) and who takes the bundle (n,)."""
        inside = np.zeros(self.market.features, dtype=bool)
        inside[list(bundle)] = True
        price = (1.0 - discount) * self.market.prices[inside].sum()
        extras = ~inside & (self.values > self.market.prices)
        surplus = self.values[:, inside].sum(axis=1) - price
        surplus += np.where(extras, self.values - self.market.prices, 0.0).sum(axis=1)
        takes = surplus > self.surplus
        earned = price - self.market.costs[inside].sum() + extras @ (self.market.prices - self.market.costs)
        return np.where(takes, earned - self.profit, 0.0), takes.astype(np.float64)

    def best_percent(self, bundle: Members) -> tuple[float, Members, int]:
        """Return (gain a customer, bundle, percent) at the best of the whole percents."""
        gains = [(float(self.gain(bundle, percent / 100)[0].mean()), bundle, percent) for percent in _PERCENTS]
        return max(gains, key=lambda trial: trial[0])
