"""Acceptance of one quote as a scikit-learn classifier: the feature posterior behind a familiar face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pricing_engine.demand.design import quote_design
from pricing_engine.demand.feature_posterior import FeatureDemand
from pricing_engine.demand.posterior_fit import find_pairs, fit_posterior
from pricing_engine.demand.price_basis import Floats, Scale
from pricing_engine.demand.prior import DemandPrior


class AcceptanceClassifier(ClassifierMixin, BaseEstimator):
    """P(quote is accepted), falling in price by construction.

    X (n, columns): `price_column` holds the total price, `segment_column` (if any) a segment as a whole
    number, every other column a feature (1 where chosen, or its quantity). y: two classes, the greater one
    means accepted. `scale`: additive, multiplicative, flexible, or evidence to let the data pick.
    `pairs`: column pairs with a joint worth of their own, or "find".
    """

    def __init__(
        self,
        *,
        price_column: int = 0,
        segment_column: int | None = None,
        scale: str = "additive",
        pairs: Sequence[tuple[int, int]] | str = (),
        prior: DemandPrior | None = None,
    ) -> None:
        self.price_column = price_column
        self.segment_column = segment_column
        self.scale = scale
        self.pairs = pairs
        self.prior = prior

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on quotes X with outcomes y; raises ValueError for other than two classes."""
        data, outcome = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(outcome)
        self.classes_: NDArray[Any] = np.unique(outcome)
        if len(self.classes_) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(outcome)}."
            )
        if len(self.classes_) < 2:
            raise ValueError("AcceptanceClassifier needs quotes of two classes, y has one class only")
        weight = _check_sample_weight(sample_weight, data, dtype=np.float64, ensure_non_negative=True)
        self.segments_ = np.unique(data[:, self.segment_column]) if self.segment_column is not None else np.zeros(1)
        chosen, price, segment = self._split(data)
        columns = self._feature_columns()
        design = quote_design(
            chosen,
            price,
            (outcome == self.classes_[1]).astype(np.float64),
            features=[str(column) for column in columns],
            segment=segment,
            segments=[str(value) for value in self.segments_],
            weight=weight,
        )
        scale = None if self.scale == "evidence" else Scale(self.scale)
        named = [] if isinstance(self.pairs, str) else self.pairs
        pairs = [(columns.index(first), columns.index(second)) for first, second in named]
        posterior = fit_posterior(design, scale, pairs=pairs, prior=self.prior)
        if self.pairs == "find" and (found := find_pairs(design, posterior)):
            posterior = fit_posterior(design, posterior.basis.scale, pairs=found, prior=self.prior)
        self.posterior_ = posterior
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return the log-odds (n,) of acceptance at the posterior's mode."""
        check_is_fitted(self)
        data = validate_data(self, X, dtype=np.float64, reset=False)
        demand: FeatureDemand = self.posterior_.mode()
        return demand.log_odds(*self._split(data))

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return (n, 2): the chances of refusal and acceptance."""
        accepted = 1.0 / (1.0 + np.exp(-np.clip(self.decision_function(X), -700, 700)))
        return np.column_stack([1.0 - accepted, accepted])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the likelier class (n,)."""
        check_is_fitted(self)
        return np.asarray(self.classes_[(self.decision_function(X) > 0).astype(np.intp)])

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _feature_columns(self) -> list[int]:
        taken = {self.price_column % self.n_features_in_, self.segment_column}
        return [column for column in range(self.n_features_in_) if column not in taken]

    def _split(self, data: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
        chosen, price = data[:, self._feature_columns()], data[:, self.price_column]
        if self.segment_column is None:
            return chosen, price, np.zeros(len(data), dtype=np.int64)
        values = data[:, self.segment_column]
        index = np.searchsorted(self.segments_, values).clip(0, len(self.segments_) - 1)
        if np.any(self.segments_[index] != values):
            raise ValueError("X holds a segment that was not in the data the model was fitted on")
        return chosen, price, index.astype(np.int64)
