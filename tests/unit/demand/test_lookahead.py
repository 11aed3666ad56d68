"""A price is tried where that pays over the offers to come, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pricing_engine.demand.lookahead import expected_most, trial
from pricing_engine.demand.price_basis import Floats

PRICES = np.linspace(1.0, 4.0, 16)
CURVES = 400
NEAR, FAR = 0, 15


def world(likely_best_far: float, common: float) -> tuple[Floats, Floats]:
    """Return profit and chance (CURVES, 16): all agree on what the lowest price earns, some see twice that far up."""
    level = np.where(np.arange(CURVES) < likely_best_far * CURVES, 2.0, 0.25)
    share = np.linspace(0.0, 1.0, len(PRICES)) ** 4
    profit = common * (1.0 + share * (level[:, None] - 1.0))
    return profit, profit / PRICES


def lasting(offers: float) -> Floats:
    return np.full(CURVES, offers)


@given(st.integers(0, 2**32 - 1), st.sampled_from([20, 60, 400]), st.floats(0.01, 0.5))
def test_what_a_trial_is_expected_to_lead_to_is_the_sum_over_its_outcomes(seed: int, count: int, common: float) -> None:
    draw = np.random.default_rng(seed)
    middle = common * np.exp(0.4 * draw.standard_normal((CURVES, 1)))
    chance = np.clip(middle * np.exp(-np.linspace(0.0, 1.5, 12) * draw.uniform(0.4, 1.6, (CURVES, 1))), 1e-4, 0.95)
    profit = chance * np.linspace(1.0, 3.0, 12) / CURVES
    now, sure = profit.sum(axis=0).max(), profit.max(axis=1).sum()

    reached = expected_most(profit, chance, np.array([float(count)]))[0]

    sold = np.arange(count + 1)[:, None]
    exact = [(binom.pmf(sold, count, chance[:, price]) @ profit).max(axis=1).sum() for price in range(12)]
    assert np.all(reached >= now * (1 - 1e-5))
    assert np.all(reached <= sure * (1 + 1e-5))
    assert np.abs(reached - exact).max() < 0.12 * (sure - now)


def test_a_far_price_is_tried_where_it_may_be_far_better() -> None:
    profit, chance = world(0.1, 0.4)
    tried = trial(profit, chance, lasting(1_000))
    assert (tried.best, tried.other, tried.share) == (NEAR, FAR, 1.0)
    assert tried.count <= 100


def test_few_offers_to_come_are_not_worth_a_trial() -> None:
    profit, chance = world(0.1, 0.4)
    assert trial(profit, chance, lasting(10)).share == 0.0


def test_what_became_true_lately_is_not_worth_a_long_trial() -> None:
    """Those who see more far up have been right for a few offers only, and are expected to be for as few."""
    profit, chance = world(0.1, 0.4)
    lately = np.where(np.arange(CURVES) < 0.1 * CURVES, 5.0, 1_000.0)
    assert trial(profit, chance, lately).share == 0.0


def test_where_few_accept_more_are_asked_before_anything_is_believed() -> None:
    common, rare = (trial(*world(0.3, rate), lasting(2_000)) for rate in (0.4, 0.02))
    assert common.share == rare.share == 1.0
    assert rare.count > common.count


@pytest.mark.parametrize("offers", [1.0, 100.0, 1e6])
def test_where_all_curves_agree_nothing_is_tried(offers: float) -> None:
    chance = np.tile(np.linspace(0.5, 0.05, len(PRICES)), (CURVES, 1))
    assert trial(PRICES * chance, chance, lasting(offers)).share == 0.0


def test_a_trial_in_a_large_batch_takes_its_part_of_it() -> None:
    tried = trial(*world(0.1, 0.4), lasting(1_000))
    assert tried.share_of(1) == 1.0
    assert tried.share_of(10_000) == pytest.approx(tried.count / 10_000)
