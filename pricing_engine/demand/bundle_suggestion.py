"""Suggest one bundle on top of a tariff, with what it should gain and how sure that is.

A bundle's price caps every selection it contains, so a customer either keeps the tariff or takes the bundle
whole and adds what lies outside it at list price. Bundles grow greedily from the best pair; the discount is
the best of a few whole percents. Chosen on one half of the customers, judged on the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from models.values.errors import InvalidValueError
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.tariff_choice import choose
from pricing_engine.demand.tariff_design import Estimate, estimate

_PERCENTS = (5, 10, 15, 20, 25, 30, 40, 50)


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
) -> SuggestedBundle:
    """Return the bundle that adds most profit to the tariff (`prices`, `percents` by size), all major units.

    Raises InvalidValueError for fewer than two features or fewer than 100 customers.
    """
    if len(features) < 2 or len(values) < 100:
        raise InvalidValueError("needs two features and 100 customers", field="values", value=values.shape)
    market = _Market(
        np.array([float(p) for p in prices]), np.array([float(d) for d in percents]) / 100, costs, len(features)
    )
    least = np.zeros(len(values)) if base is None else -base
    chosen_on, judged_on = market.offered(values[::2], least[::2]), market.offered(values[1::2], least[1::2])
    found: tuple[float, tuple[int, ...], int] = (-np.inf, (), 0)
    members: tuple[int, ...] = ()
    while len(members) < len(features):
        grown = [tuple(sorted({*members, *extra})) for extra in _extensions(members, len(features))]
        best = max((chosen_on.best_percent(bundle) for bundle in grown), key=lambda trial: trial[0])
        if best[0] <= found[0]:
            break
        found, members = best, best[1]
    gain, takers = judged_on.gain(found[1], found[2] / 100)
    return SuggestedBundle(
        tuple(features[k] for k in found[1]), Decimal(found[2]), estimate(gain), float(takers.mean())
    )


def bundle_gain(
    values: Floats,
    costs: Floats,
    prices: Sequence[Decimal],
    percents: Sequence[Decimal],
    members: tuple[int, ...],
    percent: Decimal,
    *,
    base: Floats,
) -> tuple[Floats, Floats]:
    """Return the change in profit (n,) that a bundle of `members` makes with customers, and who takes it (n,)."""
    market = _Market(
        np.array([float(p) for p in prices]), np.array([float(d) for d in percents]) / 100, costs, len(prices)
    )
    return market.offered(values, -base).gain(members, float(percent) / 100)


def _extensions(members: tuple[int, ...], features: int) -> list[tuple[int, ...]]:
    if not members:
        return [(first, second) for first in range(features) for second in range(first + 1, features)]
    return [(k,) for k in range(features) if k not in members]


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

    def gain(self, bundle: tuple[int, ...], discount: float) -> tuple[Floats, Floats]:
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

    def best_percent(self, bundle: tuple[int, ...]) -> tuple[float, tuple[int, ...], int]:
        """Return (gain a customer, bundle, percent) at the best of the whole percents."""
        gains = [(float(self.gain(bundle, percent / 100)[0].mean()), bundle, percent) for percent in _PERCENTS]
        return max(gains, key=lambda trial: trial[0])
