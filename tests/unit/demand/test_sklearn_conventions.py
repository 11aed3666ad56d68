"""scikit-learn's own checks, run on our estimators."""

from __future__ import annotations

from collections.abc import Callable

from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from pricing_engine.demand.acceptance import AcceptanceClassifier
from pricing_engine.demand.usage_response import UsageResponse


@parametrize_with_checks([AcceptanceClassifier(), UsageResponse()])
def test_scikit_learn_accepts_the_estimators(estimator: BaseEstimator, check: Callable[[BaseEstimator], None]) -> None:
    check(estimator)
