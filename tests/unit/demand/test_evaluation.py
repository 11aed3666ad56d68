"""Offline answers against simulated truth, and the refusal to answer."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import norm

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import LoggedQuotes, QuoteDesign
from pricing_engine.demand.evaluation import Estimator, evaluate_policy
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale


def additive(design: QuoteDesign) -> FeaturePosterior:
    return fit_posterior(design, Scale.ADDITIVE)


def logged(seed: int, spread: float, count: int) -> tuple[LoggedQuotes, np.ndarray, float]:
    """Log-normal willingness to pay, read by a logit (mildly wrong); target prices and their true value."""
    rng = np.random.default_rng(seed)
    chosen = (rng.random((count, 2)) < 0.5).astype(float)
    centre = 3 + chosen @ [0.6, 0.9]
    price = centre * np.exp(spread * rng.standard_normal(count))
    density = norm.pdf(np.log(price / centre) / spread) / (spread * price)
    median = np.exp(1.3 + chosen @ [0.2, 0.35])
    accepted = (rng.random(count) < norm.sf(np.log(price / median) / 0.6)).astype(float)
    cost = np.full(count, 0.5)
    quotes = LoggedQuotes(("a", "b"), ("all",), chosen, np.zeros(count, dtype=np.int64), price, cost, accepted, density)
    target = centre * np.exp(0.08 * (1 - chosen[:, 0]))
    return quotes, target, float(np.mean((target - cost) * norm.sf(np.log(target / median) / 0.6)))


def test_doubly_robust_error_is_at_most_3_5_percent_where_prices_spread_12_percent() -> None:
    errors, covered = [], []
    for seed in range(12):
        quotes, target, truth = logged(seed, spread=0.12, count=20_000)
        answer = evaluate_policy(quotes, target, seed=seed, fit=additive, folds=2).of(Estimator.DOUBLY_ROBUST)
        assert answer.value is not None
        assert answer.low is not None
        assert answer.high is not None
        errors.append(answer.value / truth - 1)
        covered.append(answer.low <= truth <= answer.high)
    assert np.sqrt(np.mean(np.square(errors))) <= 0.035
    assert np.mean(covered) >= 0.7


def test_doubly_robust_repairs_a_model_that_is_wrong() -> None:
    """A model taught nothing: the direct estimate is far off, the weighted part corrects it."""
    quotes, target, truth = logged(1, spread=0.3, count=20_000)

    def ignorant(design: QuoteDesign) -> FeaturePosterior:
        chance = np.full_like(design.accepted, 0.9) * design.offered
        return additive(
            QuoteDesign(
                design.features, design.segments, design.chosen, design.segment, design.price, chance, design.offered
            )
        )

    result = evaluate_policy(quotes, target, seed=0, fit=ignorant, folds=2)
    direct, robust = result.of(Estimator.DIRECT), result.of(Estimator.DOUBLY_ROBUST)
    assert direct.value is not None
    assert robust.value is not None
    assert abs(direct.value / truth - 1) > 0.2
    assert abs(robust.value / truth - 1) < 0.05


def test_the_log_itself_as_target_gains_nothing() -> None:
    quotes, _, _ = logged(3, spread=0.2, count=8_000)
    result = evaluate_policy(quotes, quotes.price, seed=0, fit=additive, folds=2, bandwidth=0.05)
    assert result.logged.value == pytest.approx(quotes.profit().mean())
    assert result.of(Estimator.DIRECT).value == pytest.approx(result.logged.value, rel=0.02)


def test_no_quote_judges_a_model_it_taught() -> None:
    quotes, target, _ = logged(8, spread=0.12, count=500)
    taught: Counter[float] = Counter()

    def counting(design: QuoteDesign) -> FeaturePosterior:
        taught.update(design.price.tolist())
        return additive(design)

    evaluate_policy(quotes, target, seed=0, fit=counting, folds=5)
    assert taught == dict.fromkeys(quotes.price.tolist(), 4)


def test_unequal_weights_count_as_fewer_quotes() -> None:
    """Half of the weights are a ninth of the others: (sum w)^2 / sum w^2."""
    quotes, _, _ = logged(9, spread=0.12, count=2_000)
    density = np.where(np.arange(2_000) % 2, 9.0, 1.0) / quotes.price
    uneven = LoggedQuotes(*[getattr(quotes, f) for f in quotes.__slots__[:-1]], density)
    answer = evaluate_policy(uneven, quotes.price, seed=0, fit=additive, folds=2, bandwidth=0.05)
    assert answer.of(Estimator.DOUBLY_ROBUST).effective_quotes == pytest.approx(1_000 * 100 / 82)


def test_an_answer_is_refused_where_too_few_quotes_lie_near_the_target() -> None:
    quotes, target, _ = logged(4, spread=0.04, count=2_000)
    far = evaluate_policy(quotes, target * 1.5, seed=0, fit=additive, folds=2)
    for value in (far.of(Estimator.DOUBLY_ROBUST), far.of(Estimator.SELF_NORMALISED), far.uplift):
        assert value.value is None
        assert value.low is None
        assert "effective quotes" in value.refused
    assert far.of(Estimator.DIRECT).value is not None


def test_prices_without_a_known_density_answer_only_by_the_model() -> None:
    quotes, target, _ = logged(5, spread=0.12, count=4_000)
    human = LoggedQuotes(*[getattr(quotes, f) for f in quotes.__slots__[:-1]], np.full(4_000, np.nan))
    result = evaluate_policy(human, target, seed=0, fit=additive, folds=2)
    assert result.of(Estimator.DOUBLY_ROBUST).refused == "4000 prices were not drawn with a known density"
    assert result.of(Estimator.DIRECT).value is not None


def test_the_same_seed_gives_the_same_answer() -> None:
    quotes, target, _ = logged(6, spread=0.12, count=3_000)
    first, second = (evaluate_policy(quotes, target, seed=9, fit=additive, folds=2) for _ in range(2))
    assert first == second


def test_targets_that_are_no_prices_are_refused() -> None:
    quotes, target, _ = logged(7, spread=0.12, count=200)
    with pytest.raises(InvalidValueError, match="target"):
        evaluate_policy(quotes, -target, seed=0)
