"""What customers choose under feature prices with a discount by number of features, and what that earns.

A selection S pays P(S) = (1 - d_|S|) sum of its features' prices. For each size the best selection takes the
features with the largest v_k - (1 - d) p_k, so the best of all 2^K selections costs K sorts.

A schedule is legal when dropping a feature never raises the total. The tightest case is the cheapest
feature added to the k dearest others:

    d_{k+1} <= (p_min + d_k S_k) / (p_min + S_k),   S_k = sum of the k largest other prices

and with d never falling P is then monotone and subadditive.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.price_basis import Floats


@dataclass(frozen=True, slots=True)
class Choices:
    """What each of n customers takes: `taken` (n, K) and the kept share of the prices `kept` (n,)."""

    taken: NDArray[np.bool_]
    kept: Floats

    def profit(self, prices: Floats, costs: Floats) -> Floats:
        """Return revenue less cost (n,) a customer."""
        return np.asarray(self.kept * (self.taken @ prices) - self.taken @ costs)

    def surplus(self, values: Floats, prices: Floats) -> Floats:
        """Return value less price paid (n,) a customer."""
        return np.asarray(np.where(self.taken, values, 0.0).sum(axis=1) - self.kept * (self.taken @ prices))


def choose(values: Floats, prices: Floats, discounts: Floats, base: Floats | None = None) -> Choices:
    """Return each customer's best selection: `values` (n, K) of features, `discounts` (K,) by size 1..K.

    `base` (n,): value of having anything at all, below zero where it is an obstacle. All in major units.
    """
    count, features = values.shape
    least = np.zeros(count) if base is None else -base
    best, kept, bar = least.copy(), np.ones(count), np.full(count, np.inf)
    for size in range(1, features + 1):
        share = 1.0 - discounts[size - 1]
        gains = np.sort(values - share * prices, axis=1)
        surplus = gains[:, features - size :].sum(axis=1)
        better = surplus > best + 1e-12
        best[better], kept[better] = surplus[better], share
        bar[better] = gains[better, features - size]
    return Choices(values - kept[:, None] * prices >= bar[:, None], kept)


def legal_discounts(prices: Floats, wanted: Floats, largest: float = 0.95) -> Floats:
    """Return the schedule (K,) nearest below `wanted` that never falls and under which no total falls."""
    ordered = np.sort(prices)
    cheapest, others = ordered[0], np.concatenate([[0.0], np.cumsum(ordered[:0:-1])])
    legal = np.empty(len(prices))
    before = max(float(wanted[0]), 0.0)
    for k in range(len(prices)):
        limit = (cheapest + before * others[k]) / (cheapest + others[k]) if k else largest
        before = min(max(float(wanted[k]), before), float(limit), largest)
        legal[k] = before
    return legal


def exact_percents(
    prices: tuple[Decimal, ...], discounts: Floats, step: Decimal = Decimal("0.1")
) -> tuple[Decimal, ...]:
    """Return the schedule in percent, rounded down to `step` and legal exactly, by number of features 1..K.

    Raises InvalidValueError for a price that is not above zero.
    """
    if any(price <= 0 for price in prices):
        raise InvalidValueError("must be above zero", field="prices", value=min(prices))
    ordered = sorted(Fraction(price) for price in prices)
    cheapest, others = ordered[0], Fraction(0)
    percents: list[Decimal] = []
    before = Fraction(0)
    for k, wanted in enumerate(discounts):
        limit = (cheapest + before * others) / (cheapest + others) if k else Fraction(1)
        share = max(min(Fraction(float(wanted)), limit), before)
        percent = int(share * 100 / Fraction(step)) * step
        before = Fraction(percent) / 100
        percents.append(percent)
        if k + 1 < len(ordered):
            others += ordered[-(k + 1)]
    return tuple(percents)


def is_legal(prices: tuple[Decimal, ...], percents: tuple[Decimal, ...]) -> bool:
    """Return whether adding a feature never lowers the total, exactly, for every selection."""
    ordered = sorted(Fraction(price) for price in prices)
    for k in range(1, len(ordered)):
        before, after = (1 - Fraction(percents[index]) / 100 for index in (k - 1, k))
        others = sum(ordered[len(ordered) - k :], Fraction(0))
        if after > before or after * (others + ordered[0]) < before * others:
            return False
    return True
