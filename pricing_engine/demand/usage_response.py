"""How usage answers the unit price: Poisson regression of ln E[units] on ln price, elasticity <= 0.

Quasi-Poisson (McCullagh & Nelder 1989): the variance is a multiple of the mean that the data supply, so
bursty usage widens the interval instead of pretending to certainty.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pricing_engine.demand.price_basis import Floats

_MAX_STEPS = 100
_CONVERGED = 1e-10
_Z90 = 1.6448536269514722


class UsageResponse(RegressorMixin, BaseEstimator):
    """Units used, y >= 0, given X: column 0 ln(unit price), the others as they come.

    After `fit`: `coef_[0]` is the price elasticity of usage, at most 0; `elasticity_interval_` its 90
    percent interval before that bound, so that an interval around 0 says "no effect seen". `ridge` keeps
    coefficients finite where a column says little.
    """

    def __init__(self, *, ridge: float = 1e-6) -> None:
        self.ridge = ridge

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on X (n, K), y (n,). Raises ValueError for units below zero."""
        data, units = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        if np.any(units < 0):
            raise ValueError("y must be >= 0: units used")
        weight = _check_sample_weight(sample_weight, data, dtype=np.float64, ensure_non_negative=True)
        free, information, dispersion = self._climb(data, units, weight, skip_price=False)
        half = _Z90 * float(np.sqrt(dispersion * np.linalg.inv(information)[1, 1]))
        self.elasticity_interval_ = (float(free[1]) - half, float(free[1]) + half)
        values = free if free[1] <= 0 else self._climb(data, units, weight, skip_price=True)[0]
        self.dispersion_ = dispersion
        self.intercept_, self.coef_ = float(values[0]), values[1:]
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Return expected units (n,)."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(np.exp(np.clip(self.intercept_ + data @ self.coef_, -700, 700)))

    def _climb(self, data: Floats, units: Floats, weight: Floats, *, skip_price: bool) -> tuple[Floats, Floats, float]:
        """Newton with step halving; returns values (1 + K,), information and dispersion."""
        centre = np.average(data, axis=0, weights=weight)
        columns = np.column_stack([np.ones(len(data)), data - centre])
        if skip_price:
            columns[:, 1] = 0.0
        scale = np.sqrt(np.average(columns**2, axis=0, weights=weight))
        scale[scale < 1e-12] = 1.0
        columns /= scale
        values = np.zeros(columns.shape[1])
        values[0] = np.log(np.average(units, weights=weight) + 1e-9)

        def objective(at: Floats) -> float:
            log_mean = columns @ at
            return float(weight @ (units * log_mean - np.exp(log_mean)) - 0.5 * self.ridge * at[1:] @ at[1:])

        penalty = np.full(len(values), self.ridge)
        penalty[0] = 0.0
        with np.errstate(over="ignore"):
            for _ in range(_MAX_STEPS):
                mean = np.exp(columns @ values)
                information = (columns * (weight * mean)[:, None]).T @ columns + np.diag(penalty + 1e-12)
                score = columns.T @ (weight * (units - mean)) - penalty * values
                step = np.linalg.solve(information, score)
                here = objective(values)
                while not objective(values + step) >= here and np.abs(step).max() > 1e-12:
                    step /= 2
                values = values + step
                if float(score @ step) < _CONVERGED * (1.0 + abs(here)):
                    break
        mean = np.exp(columns @ values)
        spare = max(float(weight.sum()) - len(values), 1.0)
        dispersion = float(weight @ ((units - mean) ** 2 / np.maximum(mean, 1e-12))) / spare
        values = values / scale
        values[0] -= centre @ values[1:]
        return values, information * np.outer(scale, scale), max(dispersion, 1e-12)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags
