"""Choice side by side, take rates, and usage against price: known truths must come back."""

from __future__ import annotations

import numpy as np
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.acceptance import AcceptanceClassifier
from pricing_engine.demand.conditional_logit import ConditionalLogit, NotIdentifiedError
from pricing_engine.demand.take_rates import fit_take_rates
from pricing_engine.demand.usage_response import UsageResponse


def _choices(rng: np.random.Generator, situations: int, sizes: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, ...]:
    ids = np.repeat(np.arange(situations), sizes)
    attributes = rng.standard_normal((len(ids), len(truth)))
    utility = attributes @ truth + rng.gumbel(size=len(ids))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    best = np.maximum.reduceat(utility, starts)
    return attributes, ids, utility == np.repeat(best, sizes)


@pytest.mark.parametrize("ragged", [False, True])
def test_the_conditional_logit_recovers_tastes_and_its_chances_sum_to_one(ragged: bool) -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(2, 6, 6000) if ragged else np.full(6000, 3)
    truth = np.array([1.0, -0.5, -1.5])
    attributes, ids, chosen = _choices(rng, 6000, sizes, truth)
    fit = ConditionalLogit().fit(attributes, chosen, ids)
    assert np.all(np.abs(fit.coef_ - truth) < 4 * np.sqrt(np.diag(fit.covariance_)))
    chance = fit.predict_proba(attributes, ids)
    np.testing.assert_allclose(np.bincount(ids, weights=chance), 1.0)
    assert fit.log_likelihood_ == pytest.approx(np.log(chance[chosen]).sum(), abs=1e-8)
    # At the maximum the expected attributes equal the chosen ones.
    np.testing.assert_allclose(chance @ attributes, attributes[chosen].sum(0), atol=1e-3)
    low, estimate, high = fit.willingness_to_pay(0, 2)
    assert low < estimate < high
    assert estimate == pytest.approx(1.0 / 1.5, abs=0.06)


def test_willingness_to_pay_has_no_end_where_price_has_no_effect() -> None:
    rng = np.random.default_rng(22)
    attributes, ids, chosen = _choices(rng, 300, np.full(300, 2), np.array([1.0, 0.0]))
    low, _, high = ConditionalLogit().fit(attributes, chosen, ids).willingness_to_pay(0, 1)
    assert (low, high) == (-np.inf, np.inf)


def test_choice_data_that_cannot_identify_are_refused() -> None:
    rng = np.random.default_rng(3)
    attributes, ids, chosen = _choices(rng, 100, np.full(100, 2), np.array([1.0]))
    with pytest.raises(NotIdentifiedError):
        ConditionalLogit().fit(np.column_stack([attributes, attributes]), chosen, ids)
    with pytest.raises(NotIdentifiedError):
        ConditionalLogit().fit(chosen.astype(float)[:, None], chosen, ids)
    with pytest.raises(InvalidValueError, match="exactly one"):
        ConditionalLogit().fit(attributes, np.ones(200, bool), ids)
    with pytest.raises(InvalidValueError, match="stand together"):
        ConditionalLogit().fit(attributes, chosen, np.tile([0, 1], 100))


def test_a_stranger_segment_is_refused_by_the_classifier() -> None:
    rng = np.random.default_rng(4)
    data = np.column_stack([rng.uniform(1, 9, 200), rng.integers(0, 2, 200)])
    y = (rng.random(200) < 0.5).astype(int)
    model = AcceptanceClassifier(segment_column=1).fit(data, y)
    assert model.predict_proba(data).shape == (200, 2)
    with pytest.raises(ValueError, match="segment"):
        model.predict(np.array([[3.0, 7.0]]))


def test_the_classifier_finds_pairs_on_request() -> None:
    rng = np.random.default_rng(5)
    data = np.column_stack([rng.uniform(1, 9, 6000), (rng.random((6000, 3)) < 0.5)])
    log_odds = 1 - 0.4 * data[:, 0] + 0.5 * data[:, 1] + 1.5 * data[:, 1] * data[:, 3]
    y = np.where(rng.random(6000) < 1 / (1 + np.exp(-log_odds)), "yes", "no")
    model = AcceptanceClassifier(pairs="find").fit(data, y)
    assert model.posterior_.pairs == ((0, 2),)
    assert list(model.classes_) == ["no", "yes"]


def test_take_rates_fall_in_their_own_price_and_complements_are_named() -> None:
    rng = np.random.default_rng(6)
    posted = rng.uniform(1, 5, (6000, 3))
    taken = (rng.random((6000, 3)) < 1 / (1 + np.exp(posted - 3))).astype(float)
    joint = (rng.random(6000) < 1 / (1 + np.exp(posted[:, 1] - 2 - 2 * taken[:, 0]))).astype(float)
    taken[:, 1] = joint
    rates = fit_take_rates(taken, posted, features=["base", "addon", "other"])
    assert rates.complements() == [(0, 1)]
    curve = rates.take_rate(1, np.linspace(1, 5, 9), np.tile([1.0, 0.0], (9, 1)))
    assert np.all(np.diff(curve) < 0)
    np.testing.assert_allclose(curve, 1 / (1 + np.exp(np.linspace(1, 5, 9) - 4)), atol=0.05)


def test_usage_elasticity_comes_back_and_bursts_widen_its_interval() -> None:
    rng = np.random.default_rng(7)
    log_price = rng.normal(0, 0.4, (3000, 1))
    mean = np.exp(3 - 0.8 * log_price[:, 0])
    calm = UsageResponse().fit(log_price, rng.poisson(mean))
    bursty = UsageResponse().fit(log_price, rng.poisson(mean * rng.gamma(0.5, 2.0, 3000)))
    assert calm.coef_[0] == pytest.approx(-0.8, abs=0.03)
    assert calm.dispersion_ == pytest.approx(1.0, abs=0.1)
    widths = [m.elasticity_interval_[1] - m.elasticity_interval_[0] for m in (calm, bursty)]
    assert widths[1] > 3 * widths[0]
    assert bursty.elasticity_interval_[0] < -0.8 < bursty.elasticity_interval_[1]


def test_usage_that_rises_with_price_is_reported_as_no_effect() -> None:
    rng = np.random.default_rng(8)
    data = np.column_stack([rng.normal(0, 0.4, 500), rng.standard_normal(500)])
    fit = UsageResponse().fit(data, rng.poisson(np.exp(1 + 0.5 * data[:, 0] + 0.3 * data[:, 1])))
    assert fit.coef_[0] == 0.0
    assert fit.elasticity_interval_[0] > 0
    assert fit.coef_[1] == pytest.approx(0.3, abs=0.1)
