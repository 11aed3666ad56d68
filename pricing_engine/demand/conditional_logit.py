"""Choice among offers shown side by side (bundles, tiers, nothing): conditional and multinomial logit.

P(j | situation) = exp(x_j' beta) / sum_i exp(x_i' beta) over the alternatives of the situation (McFadden
1974). The log-likelihood is concave, so Newton with exact second derivatives needs a handful of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats

_MAX_STEPS = 50
_MAX_HALVINGS = 30
_VANISHED = 1e-7


class NotIdentifiedError(RuleBrokenError):
    """The data cannot tell the coefficients apart, or put one at infinity."""

    code = "not_identified"


@dataclass(frozen=True, slots=True)
class ChoiceSituations:
    """Alternatives in long form, the situations one after the other.

    `attributes` (rows, K). `starts` (situations,): first row of each. `chosen` (situations,): row taken.
    """

    attributes: Floats
    starts: NDArray[np.intp]
    chosen: NDArray[np.intp]


def choice_situations(attributes: ArrayLike, situation: ArrayLike, chosen: ArrayLike) -> ChoiceSituations:
    """Build situations from long rows: `situation` (rows,) ids, `chosen` (rows,) true for the row taken.

    Rows of one situation must stand together. Raises InvalidValueError for numbers that are not finite,
    scattered situations, or a situation with other than one row taken.
    """
    values = np.ascontiguousarray(attributes, dtype=np.float64)
    ids, taken = np.asarray(situation), np.asarray(chosen).astype(bool)
    if values.ndim != 2 or len(values) == 0 or ids.shape != taken.shape or len(ids) != len(values):
        raise InvalidValueError("needs one row an alternative, all arrays of equal length", field="attributes")
    if not np.all(np.isfinite(values)):
        raise InvalidValueError("must be finite", field="attributes", code="not_finite")
    starts = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
    first = ids[starts]
    if not np.all(first[1:] > first[:-1]) and len(np.unique(first)) != len(starts):
        raise InvalidValueError("rows of one situation must stand together", field="situation")
    if np.any(np.add.reduceat(taken.astype(np.intp), starts) != 1):
        raise InvalidValueError("exactly one alternative of each situation must be taken", field="chosen")
    return ChoiceSituations(values, starts, np.flatnonzero(taken))


class ConditionalLogit(BaseEstimator):
    """Maximum-likelihood conditional logit; a small ridge is the caller's choice, none by default.

    After `fit`: `coef_` (K,), `covariance_` (K, K), `log_likelihood_`, `n_iter_`. y and X are in long form,
    so scikit-learn's row-wise checks do not apply; parameters and attributes follow its conventions.
    """

    def __init__(self, *, ridge: float = 0.0, tolerance: float = 1e-10) -> None:
        self.ridge = ridge
        self.tolerance = tolerance

    @on_one_core
    def fit(self, X: ArrayLike, chosen: ArrayLike, situation: ArrayLike) -> Self:
        """Fit on long rows X (rows, K). Raises InvalidValueError for bad rows, NotIdentifiedError otherwise."""
        data = choice_situations(X, situation, chosen)
        scale = np.sqrt(np.einsum("rk,rk->k", data.attributes, data.attributes) / len(data.attributes))
        scale[scale == 0] = 1.0
        climb = _Climb(data, scale, self.ridge)
        coef, steps = climb.run(self.tolerance)
        self.coef_: Floats = coef / scale
        self.covariance_: Floats = np.asarray(np.linalg.inv(climb.information)) / np.outer(scale, scale)
        self.log_likelihood_ = climb.log_likelihood
        self.n_iter_ = steps
        self.n_features_in_ = len(coef)
        return self

    def predict_proba(self, X: ArrayLike, situation: ArrayLike) -> Floats:
        """Return the chance (rows,) of each alternative within its situation."""
        check_is_fitted(self)
        ids = np.asarray(situation)
        starts = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
        utility = np.asarray(X, dtype=np.float64) @ self.coef_
        blocks = _Blocks(starts, len(ids))
        return blocks.restored(blocks.softmax(blocks.arranged(utility[:, None])[:, 0])[0])

    def willingness_to_pay(self, attribute: int, price: int) -> tuple[float, float, float]:
        """Return (low, estimate, high) of -coef[attribute] / coef[price], 90 percent interval by Fieller.

        The ends are infinite where the price coefficient is not told from zero.
        """
        check_is_fitted(self)
        top, bottom = self.coef_[attribute], -self.coef_[price]
        index = np.array([attribute, price])
        variance = self.covariance_[np.ix_(index, index)] * np.array([[1, -1], [-1, 1]])
        z2 = 1.6448536269514722**2
        a = bottom**2 - z2 * variance[1, 1]
        b = top * bottom - z2 * variance[0, 1]
        root = b**2 - a * (top**2 - z2 * variance[0, 0])
        if a <= 0 or root < 0:
            return float("-inf"), float(top / bottom), float("inf")
        half = np.sqrt(root)
        return float((b - half) / a), float(top / bottom), float((b + half) / a)


class _Blocks:
    """Sums and softmax over situations.

    Where all situations have the same number J of alternatives, `rows` are put alternative by alternative,
    (J, situations), so that NumPy reduces over long rows instead of a few short columns.
    """

    def __init__(self, starts: NDArray[np.intp], rows: int) -> None:
        self.starts, self.sizes = starts, np.diff([*starts, rows])
        self.size = int(self.sizes[0]) if bool(np.all(self.sizes == self.sizes[0])) else 0

    def arranged(self, rows: Floats) -> Floats:
        """Return `rows` (rows, K) in the order in which the other methods take them."""
        if not self.size:
            return rows
        blocks = rows.reshape(len(self.starts), self.size, rows.shape[1])
        return np.ascontiguousarray(blocks.transpose(1, 0, 2)).reshape(rows.shape)

    def restored(self, values: Floats) -> Floats:
        """Return `values` (rows,) in the caller's order."""
        return values.reshape(self.size, -1).T.ravel() if self.size else values

    def sums(self, columns: Floats) -> Floats:
        """Sum rows (rows, K) within each situation (situations, K)."""
        if self.size:
            return np.asarray(columns.reshape(self.size, -1, columns.shape[1]).sum(axis=0))
        return np.asarray(np.add.reduceat(columns, self.starts, axis=0))

    def softmax(self, utility: Floats) -> tuple[Floats, float]:
        """Return the chances (rows,) and the sum over situations of ln sum exp(utility)."""
        if self.size:
            block = utility.reshape(self.size, -1)
            top = block.max(axis=0)
            odds = np.exp(block - top)
            total = odds.sum(axis=0)
            return (odds / total).ravel(), float(np.log(total).sum() + top.sum())
        top = np.maximum.reduceat(utility, self.starts)
        odds = np.exp(utility - np.repeat(top, self.sizes))
        total = np.add.reduceat(odds, self.starts)
        return odds / np.repeat(total, self.sizes), float(np.log(total).sum() + top.sum())


class _Climb:
    """Newton on one set of situations, attributes divided by `scale`."""

    def __init__(self, data: ChoiceSituations, scale: Floats, ridge: float) -> None:
        self.blocks = _Blocks(data.starts, len(data.attributes))
        self.attributes = self.blocks.arranged(data.attributes) / scale
        self.taken = data.attributes[data.chosen].sum(axis=0) / scale
        self.penalty = ridge / scale**2
        self.information = np.diag(self.penalty)
        self.log_likelihood = 0.0

    def run(self, tolerance: float) -> tuple[Floats, int]:
        """Return the coefficients and the number of steps; half the Newton decrement is the gain left."""
        coef = np.zeros(self.attributes.shape[1])
        widest = np.zeros(len(coef))
        chance = self._evaluate(coef)
        for steps in range(1, _MAX_STEPS + 1):
            score, self.information = self._derivatives(coef, chance)
            step = _solve(self.information, score)
            widest = np.maximum(widest, np.diag(self.information))
            if np.any(np.diag(self.information) < _VANISHED * widest):
                break
            objective = self._objective(coef)
            for _ in range(_MAX_HALVINGS):
                chance = self._evaluate(coef + step)
                if self._objective(coef + step) >= objective - 1e-12 * abs(objective):
                    break
                step = step / 2
            coef = coef + step
            if float(score @ step) < tolerance * (1.0 + abs(self.log_likelihood)):
                return coef, steps
        raise NotIdentifiedError("a coefficient runs to infinity: the data separate the choices", field="X")

    def _evaluate(self, coef: Floats) -> Floats:
        utility = self.attributes @ coef
        chance, log_sum = self.blocks.softmax(utility)
        self.log_likelihood = float(self.taken @ coef) - log_sum
        return chance

    def _objective(self, coef: Floats) -> float:
        return self.log_likelihood - 0.5 * float(self.penalty @ coef**2)

    def _derivatives(self, coef: Floats, chance: Floats) -> tuple[Floats, Floats]:
        weighted = self.attributes * chance[:, None]
        means = self.blocks.sums(weighted)
        score = self.taken - means.sum(axis=0) - self.penalty * coef
        return score, self.attributes.T @ weighted - means.T @ means + np.diag(self.penalty)


def _solve(information: Floats, score: Floats) -> Floats:
    try:
        factor = np.linalg.cholesky(information)
    except np.linalg.LinAlgError as error:
        raise NotIdentifiedError("the attributes do not tell the coefficients apart", field="X") from error
    diagonal = np.diag(factor)
    if diagonal.min() < 1e-7 * diagonal.max():
        raise NotIdentifiedError("the attributes do not tell the coefficients apart", field="X")
    return np.asarray(np.linalg.solve(factor.T, np.linalg.solve(factor, score)))
