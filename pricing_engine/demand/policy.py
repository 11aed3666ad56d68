"""AdaptivePricer: the door through which any simulator, shop or batch job sells at prices that learn.

    pricer = AdaptivePricer(price_range=(1.0, 12.0), unit_cost=0.5, seed=7)
    price = pricer.propose()
    pricer.observe(price, accepted=[1.0])

Prices stay in the range and at or above cost, whatever was observed. With a list price, a holdout share of
offers stays on it, `stop()` returns every offer to it, and a model that fails falls back to it and says why.
The same seed and the same calls give the same prices. Floats throughout: a billed price is rounded by the
rails and the price book, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.demand.curve_pricing import CurvePricing
from pricing_engine.demand.feature_pricing import FeaturePricing
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats

_DEFAULT_HOLDOUT = 0.05


class _Pricing(Protocol):
    def propose(self, features: Floats, sellable_share: float) -> tuple[Floats, Floats]: ...

    def observe(self, price: Floats, accepted: Floats, features: Floats) -> None: ...


class AdaptivePricer:
    """Proposes prices, learns from the outcomes, and earns about what one who knew demand would.

    `price_range`: lowest and highest price, major units, 0 < low < high. `unit_cost`: of one accepted unit.
    `n_features`: columns of each offer's features; 0 means one demand curve for all. `capacity`: units for
    sale, None for no limit. `horizon`: offers expected in all, needed to spread a capacity over time.
    `list_price`: the price a person set; with it `holdout` (a share of offers) stays on it. `category`: of
    each earlier product of the same kind, the prices offered, in this product's money, and whether they were
    accepted; what they have in common is believed of this one until its own offers say otherwise.
    """

    def __init__(
        self,
        price_range: tuple[float, float],
        unit_cost: float,
        n_features: int = 0,
        capacity: float | None = None,
        horizon: int | None = None,
        seed: int = 0,
        *,
        list_price: float | None = None,
        holdout: float = _DEFAULT_HOLDOUT,
        category: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    ) -> None:
        low, high = _range(price_range, unit_cost)
        if isinstance(n_features, bool) or not isinstance(n_features, int | np.integer) or n_features < 0:
            raise InvalidValueError("must be a whole number >= 0", field="n_features", value=n_features)
        self.price_range, self.unit_cost, self.n_features = (low, high), float(unit_cost), int(n_features)
        self.capacity = None if capacity is None else _number(capacity, "capacity", lowest=0.0)
        self.horizon = None if horizon is None else _number(horizon, "horizon", lowest=1.0)
        self.list_price = None if list_price is None else _number(list_price, "list_price", lowest=0.0)
        self.holdout = _number(holdout, "holdout", lowest=0.0) if list_price is not None else 0.0
        if self.holdout >= 1:
            raise InvalidValueError("must be below 1", field="holdout", value=holdout)
        self._rng = np.random.default_rng(seed)
        logs = [_log(price, accepted) for price, accepted in category]
        if logs and n_features:
            raise InvalidValueError("is for products without features", field="category", value=len(logs))
        self._pricing: _Pricing = (
            FeaturePricing(low, high, self.unit_cost, self._rng)
            if n_features
            else _curve_pricing(low, high, self.unit_cost, self._rng, logs)
        )
        self._open: list[tuple[Floats, Floats]] = []
        self.offers, self.sold = 0, 0.0
        self.stopped = ""
        self.fallback = ""
        self._densities = np.empty(0)

    @on_one_core
    def propose(self, features: ArrayLike | None = None, n: int = 1) -> Floats:
        """Return prices (n,) for n offers; row i of `features` (n, n_features) belongs to offer i."""
        rows = self._features(features, n)
        if self.stopped:
            prices, self._densities = self._at_list_price(len(rows)), np.full(len(rows), np.nan)
        else:
            prices, self._densities = self._adapted(rows)
        self._open.append((prices, rows))
        return prices.copy()

    def densities(self) -> Floats:
        """Return the density (n,) of each price last proposed, per major unit, for evaluation off-policy.

        nan where the price was not drawn: a holdout's or a stopped pricer's list price.
        """
        return self._densities.copy()

    @on_one_core
    def observe(self, prices: ArrayLike, accepted: ArrayLike, features: ArrayLike | None = None) -> None:
        """Learn what became of proposed offers: `prices` (n,) as proposed and in that order, `accepted` (n,) of 0/1.

        Offers made after the capacity was sold teach nothing: nobody was asked. Raises InvalidValueError,
        and learns nothing, for anything else than the next proposed prices and outcomes of 0 or 1.
        """
        price, outcome = _outcomes(prices, accepted)
        rows = self._features(features, len(price))
        self._settle(price, rows)
        decided = self._decided(outcome)
        self.offers += len(price)
        self.sold += float(outcome[:decided].sum())
        if decided:
            self._pricing.observe(price[:decided], outcome[:decided], rows[:decided])

    def stop(self, reason: str = "stopped by hand") -> None:
        """Kill switch: every offer is at the list price until `resume`. Raises RuleBrokenError without one."""
        if self.list_price is None:
            raise RuleBrokenError("there is no list price to return to", field="list_price")
        self.stopped = reason

    def resume(self) -> None:
        """Let prices adapt again."""
        self.stopped = ""

    def _adapted(self, rows: Floats) -> tuple[Floats, Floats]:
        try:
            prices, densities = self._pricing.propose(rows, self._sellable_share())
            failure = "" if np.all(np.isfinite(prices)) else "the model gave no finite price"
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            failure = f"the model failed: {error}"
        self.fallback = failure
        if failure:
            return self._at_list_price(len(rows)), np.full(len(rows), np.nan)
        if self.list_price is None:
            return prices, densities
        held = self._rng.random(len(rows)) < self.holdout
        drawn = np.where(held, np.nan, (1.0 - self.holdout) * densities)
        return np.where(held, self.list_price, prices), drawn

    def _at_list_price(self, count: int) -> Floats:
        """Return the list price; without one, where only a failed model can lead, the middle of the range."""
        middle = float(np.sqrt(max(self.price_range[0], self.unit_cost, 1e-300) * self.price_range[1]))
        return np.full(count, middle if self.list_price is None else self.list_price)

    def _sellable_share(self) -> float:
        """Stock left over offers left.

        Without a horizon as many offers are to come as there have been, and no fewer than there is stock.
        """
        if self.capacity is None or self.sold >= self.capacity:
            return 1.0
        to_come = max(self.offers, self.capacity) if self.horizon is None else self.horizon - self.offers
        return float(min((self.capacity - self.sold) / max(to_come, 1.0), 1.0))

    def _decided(self, outcome: Floats) -> int:
        """Return how many of the outcomes were decided by customers, not by an empty shelf."""
        if self.capacity is None:
            return len(outcome)
        stocked = self.sold + np.concatenate([[0.0], np.cumsum(outcome)[:-1]]) < self.capacity
        return int(stocked.sum())

    def _settle(self, price: Floats, rows: Floats) -> None:
        """Take the oldest open proposals, whole or in part, off the list; refuse prices that are not theirs."""
        open_prices = np.concatenate([prices for prices, _ in self._open]) if self._open else np.empty(0)
        if len(price) > len(open_prices) or not np.array_equal(price, open_prices[: len(price)]):
            raise InvalidValueError("must be the next proposed prices, in order", field="prices", value=price[:3])
        open_rows = np.concatenate([asked for _, asked in self._open]) if self._open else rows
        if not np.array_equal(rows, open_rows[: len(price)]):
            raise InvalidValueError("must be those the prices were proposed for", field="features")
        rest = open_prices[len(price) :], open_rows[len(price) :]
        self._open = [rest] if len(rest[0]) else []

    def _features(self, features: ArrayLike | None, count: int) -> Floats:
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
            raise InvalidValueError("must be a whole number >= 0", field="n", value=count)
        if features is None:
            if self.n_features:
                raise InvalidValueError(f"needs {self.n_features} columns", field="features")
            return np.empty((count, 0))
        try:
            rows = np.asarray(features, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidValueError("must be numbers", field="features") from error
        if rows.shape != (count, self.n_features):
            raise InvalidValueError(f"must have shape {(count, self.n_features)}", field="features", value=rows.shape)
        if not np.all(np.isfinite(rows)):
            raise InvalidValueError("must be finite", field="features")
        return rows


_curve_pricing = on_one_core(CurvePricing)


def _log(prices: ArrayLike, accepted: ArrayLike) -> tuple[Floats, Floats]:
    """Return an earlier product's offers. Raises InvalidValueError for prices that are not above zero."""
    price, outcome = _outcomes(prices, accepted)
    if len(price) == 0 or np.any(price <= 0):
        raise InvalidValueError("needs prices above zero", field="category", value=len(price))
    return price, outcome


def _outcomes(prices: ArrayLike, accepted: ArrayLike) -> tuple[Floats, Floats]:
    price, outcome = _vector(prices, "prices"), _vector(accepted, "accepted")
    if len(outcome) != len(price):
        raise InvalidValueError("needs one outcome a price", field="accepted", value=len(outcome))
    if not np.all((outcome == 0) | (outcome == 1)):
        raise InvalidValueError("must be 0 or 1", field="accepted")
    return price, outcome


def _range(price_range: tuple[float, float], unit_cost: float) -> tuple[float, float]:
    try:
        low, high = price_range
    except (TypeError, ValueError) as error:
        raise InvalidValueError("must be (low, high)", field="price_range", value=price_range) from error
    low, high = _number(low, "price_range", lowest=0.0), _number(high, "price_range", lowest=0.0)
    if low >= high:
        raise InvalidValueError("needs low < high", field="price_range", value=price_range)
    if _number(unit_cost, "unit_cost", lowest=0.0) >= high:
        raise InvalidValueError("must be below the highest price", field="unit_cost", value=unit_cost)
    return low, high


def _number(value: float, field: str, *, lowest: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidValueError("must be a number", field=field, value=value) from error
    if not np.isfinite(number) or number < lowest:
        raise InvalidValueError(f"must be finite and >= {lowest:g}", field=field, value=value)
    return number


def _vector(values: ArrayLike, field: str) -> Floats:
    try:
        vector = np.atleast_1d(np.asarray(values, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InvalidValueError("must be numbers", field=field) from error
    if vector.ndim != 1 or not np.all(np.isfinite(vector)):
        raise InvalidValueError("must be a row of finite numbers", field=field, value=vector.shape)
    return vector
