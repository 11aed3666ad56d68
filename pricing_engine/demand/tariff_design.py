"""Design a tariff: feature prices and a discount schedule by number of features, legal by construction.

Four numbers first (level, tilt by cost, full discount, curvature) from several starts on part of the
customers, because the profit has many small peaks; then every price and step by itself. All is fitted on
one part of the customers and judged on the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from models.values.errors import InvalidValueError
from pricing_engine.demand.guardrails import PriceLadder
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.tariff_choice import choose, exact_percents, legal_discounts

_Z90 = 1.6448536269514722
_STARTS = ((0.7, -0.3, 0.7, -0.7), (0.9, -0.3, 0.8, -0.7), (0.3, 0.0, 0.3, 0.0))
_START_STEPS = (0.15, 0.1, 0.1, 0.2)
_COARSE_CUSTOMERS = 2_000
_COARSE_TRIES = 70
_FINE_TRIES = 150
_SMALLEST_STEP = 0.004


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean a customer, major units, with a 90 percent interval over held-out customers."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The prices that may be asked for one feature: rungs of a ladder, from `lowest` to `highest`."""

    ladder: PriceLadder = field(default_factory=PriceLadder)
    lowest: Decimal = Decimal(0)
    highest: Decimal | None = None

    def nearest(self, price: float) -> Decimal:
        """Return the price above zero nearest to `price`. Raises InvalidValueError where there is none."""
        least = self.ladder.at_least(max(self.lowest, self.ladder.step))
        most = None if self.highest is None else self.ladder.at_most(self.highest)
        if self.highest is not None and (most is None or most < least):
            raise InvalidValueError("leaves no price", field="range", value=f"{self.lowest}..{self.highest}")
        shown = max(self.ladder.nearest(Decimal(repr(price))), least)
        return shown if most is None else min(shown, most)


@dataclass(frozen=True, slots=True)
class TariffDesign:
    """A tariff fit to publish, and what it earns on customers it was not fitted on.

    `prices`: on the ladder, one a feature. `percents`: discount in percent by number of features 1..K.
    `profit`, `component_profit` (the best single prices without discount), `gain`: between the two.
    `first_best_share`: profit over the surplus if everyone got what is worth more than its cost.
    """

    features: tuple[str, ...]
    prices: tuple[Decimal, ...]
    percents: tuple[Decimal, ...]
    profit: Estimate
    component_profit: Estimate
    gain: Estimate
    first_best_share: float
    component_first_best_share: float
    customers: int


@on_one_core
def design_tariff(
    values: Floats,
    costs: Floats,
    *,
    features: Sequence[str],
    ranges: Sequence[PriceRange] | None = None,
    base: Floats | None = None,
    held_out: tuple[Floats, Floats | None] | None = None,
) -> TariffDesign:
    """Fit prices and schedule on customers' `values` (n, K) and unit `costs` (K,), major units.

    `ranges`: what may be asked, one a feature. `base` (n,): value of having anything at all. `held_out`: values and
    base of the customers to judge on; by default every third customer is kept back. Raises InvalidValueError for fewer
    than 50 customers or arrays that do not match.
    """
    if values.ndim != 2 or values.shape[1] != len(features) or costs.shape != (len(features),) or not len(features):
        raise InvalidValueError("must be (customers, features) and (features,)", field="values", value=values.shape)
    if len(values) < 50:
        raise InvalidValueError("needs at least 50 customers", field="values", value=len(values))
    kept_back = np.arange(len(values)) % 3 == 2 if held_out is None else np.zeros(len(values), dtype=bool)
    fit_values, fit_base = values[~kept_back], None if base is None else base[~kept_back]
    if held_out is None:
        held_out = values[kept_back], None if base is None else base[kept_back]
    component = component_prices(fit_values, costs)
    prices, discounts = _search(fit_values, costs, fit_base, component)
    asked = [PriceRange()] * len(features) if ranges is None else ranges
    shown = tuple(range_.nearest(float(price)) for range_, price in zip(asked, prices, strict=True))
    percents = exact_percents(shown, discounts)
    return _judge(tuple(features), shown, percents, component, costs, held_out)


def component_prices(values: Floats, costs: Floats) -> Floats:
    """Return the best price (K,) of each feature alone: the values' own points, so exactly the best."""
    count = len(values)
    prices = np.empty(values.shape[1])
    for k in range(len(prices)):
        ordered = np.sort(values[:, k])
        earned = (ordered - costs[k]) * (count - np.arange(count))
        prices[k] = max(ordered[int(earned.argmax())], costs[k], 1e-9)
    return prices


def _search(values: Floats, costs: Floats, base: Floats | None, component: Floats) -> tuple[Floats, Floats]:
    features = len(component)
    tilt = np.log(np.maximum(component, 1e-9))
    tilt -= tilt.mean()
    sizes = np.arange(features) / max(features - 1, 1)
    some = slice(0, _COARSE_CUSTOMERS)

    def earned(prices: Floats, wanted: Floats, rows: slice) -> float:
        discounts = legal_discounts(prices, wanted)
        part = None if base is None else base[rows]
        return float(choose(values[rows], prices, discounts, part).profit(prices, costs).mean())

    def shaped(point: Floats) -> tuple[Floats, Floats]:
        prices = component * np.exp(point[0] + point[1] * tilt)
        return prices, np.clip(point[2], 0.0, 0.95) * sizes ** np.exp(point[3])

    found = [
        _climb(lambda z: earned(*shaped(z), some), np.array(start), np.array(_START_STEPS), _COARSE_TRIES)
        for start in _STARTS
    ]
    prices, wanted = shaped(max(found, key=lambda pair: pair[1])[0])
    start = np.concatenate([np.log(prices), np.diff(legal_discounts(prices, wanted))])

    def free(point: Floats) -> tuple[Floats, Floats]:
        steps = np.concatenate([[0.0], np.cumsum(np.maximum(point[features:], 0.0))])
        return np.exp(point[:features]), np.minimum(steps, 0.95)

    steps = np.concatenate([np.full(features, 0.08), np.full(features - 1, 0.02)])
    best, _ = _climb(lambda z: earned(*free(z), slice(None)), start, steps, _FINE_TRIES)
    prices, wanted = free(best)
    return prices, legal_discounts(prices, wanted)


def _climb(value: Callable[[Floats], float], start: Floats, steps: Floats, tries: int) -> tuple[Floats, float]:
    """Coordinate search with a step a coordinate and one extrapolation a round; returns point and value."""
    point, best, steps = start.copy(), value(start), steps.copy()
    tried = 1
    while tried < tries and steps.max() > _SMALLEST_STEP:
        before = point.copy()
        for i in range(len(point)):
            for sign in (1.0, -1.0):
                trial = point.copy()
                trial[i] += sign * steps[i]
                earned = value(trial)
                tried += 1
                if earned > best:
                    point, best, steps[i] = trial, earned, steps[i] * 1.5
                    break
            else:
                steps[i] *= 0.5
        trial = 2.0 * point - before
        earned = value(trial)
        tried += 1
        if earned > best:
            point, best = trial, earned
    return point, best


def _judge(
    features: tuple[str, ...],
    prices: tuple[Decimal, ...],
    percents: tuple[Decimal, ...],
    component: Floats,
    costs: Floats,
    held_out: tuple[Floats, Floats | None],
) -> TariffDesign:
    values, base = held_out
    shown, discounts = np.array([float(p) for p in prices]), np.array([float(d) for d in percents]) / 100
    designed = choose(values, shown, discounts, base).profit(shown, costs)
    alone = choose(values, component, np.zeros(len(features)), base).profit(component, costs)
    surplus = np.maximum(values - costs, 0.0).sum(axis=1)
    if base is not None:
        surplus = np.maximum(surplus + base, 0.0)
    first_best = max(float(surplus.mean()), 1e-300)
    return TariffDesign(
        features,
        prices,
        percents,
        estimate(designed),
        estimate(alone),
        estimate(designed - alone),
        float(designed.mean()) / first_best,
        float(alone.mean()) / first_best,
        len(values),
    )


def estimate(terms: Floats) -> Estimate:
    """Return the mean of `terms` (n,) with its 90 percent interval."""
    mean, half = float(terms.mean()), _Z90 * float(terms.std(ddof=1)) / len(terms) ** 0.5
    return Estimate(mean - half, mean, mean + half)
