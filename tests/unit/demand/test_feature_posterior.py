"""What the posterior must know, forget, keep and admit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from models.values.canonical_json import canonical_bytes
from models.values.errors import InvalidValueError
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.feature_posterior import read_posterior
from pricing_engine.demand.posterior_fit import NoQuotesError, find_pairs, fit_posterior
from pricing_engine.demand.price_basis import Scale, price_basis
from pricing_engine.demand.prior import DemandPrior, NormalBelief, borrow_from_category
from tests.unit.demand.worlds import World, world


@pytest.mark.parametrize("segments", [1, 4])
def test_ninety_percent_intervals_cover_the_truth_in_86_to_94_percent(segments: int) -> None:
    """500 simulated fits: an interval that is too narrow sells certainty that is not there."""
    covered, fits = [], 500
    for seed in range(fits):
        rng = np.random.default_rng(seed)
        truth = world(rng, features=3, segments=segments)
        posterior = fit_posterior(truth.quotes(rng, 900), Scale.ADDITIVE)
        for g in range(segments):
            for k in range(3):
                low, _, high = posterior.worth_interval(g, k)
                covered.append(low <= truth.worth[g, k] / truth.slope[g] <= high)
    assert 0.86 <= np.mean(covered) <= 0.94


def test_the_mode_is_the_maximum_of_the_log_posterior() -> None:
    """Against a general optimizer on the same objective, written out afresh."""
    rng = np.random.default_rng(3)
    design = world(rng, features=2).quotes(rng, 400)
    prior = DemandPrior()
    posterior = fit_posterior(design, Scale.MULTIPLICATIVE, prior=prior)
    phi = np.log(design.price / posterior.basis.unit)

    def loss(values: np.ndarray) -> float:
        log_odds = values[0] + design.chosen @ values[1:3] - np.exp(values[3]) * phi
        likelihood = design.accepted @ log_odds - design.offered @ np.logaddexp(0, log_odds)
        beliefs = [prior.intercept, prior.any_worth, prior.any_worth, prior.log_slope]
        return -likelihood + sum(
            0.5 * ((value - belief.mean) / belief.deviation) ** 2 for value, belief in zip(values, beliefs, strict=True)
        )

    best = minimize(loss, np.zeros(4), tol=1e-10)
    np.testing.assert_allclose(posterior.shared, best.x, atol=2e-4)


@pytest.mark.parametrize("scale", list(Scale))
def test_evidence_finds_the_scale_that_made_the_data(scale: Scale) -> None:
    rng = np.random.default_rng(11)
    count = 12_000
    chosen = (rng.random((count, 2)) < 0.5).astype(float)
    price = np.exp(rng.uniform(np.log(2), np.log(30), count))
    fall = {
        Scale.ADDITIVE: 0.3 * price,
        Scale.MULTIPLICATIVE: 3 * np.log(price / 9),
        Scale.FLEXIBLE: 4 * (price > 6) + 4 * (price > 18),
    }[scale]
    accepted = (rng.random(count) < 1 / (1 + np.exp(-(2 + chosen @ [0.8, 1.5] - fall)))).astype(float)
    posterior = fit_posterior(quote_design(chosen, price, accepted, features=["a", "b"]))
    assert posterior.basis.scale is scale


@pytest.mark.parametrize("scale", list(Scale))
def test_demand_falls_in_price_whatever_the_data_say(scale: Scale) -> None:
    """Quotes in which the dear ones were taken must not teach that dearer sells better."""
    rng = np.random.default_rng(5)
    price = rng.uniform(1, 20, 500)
    design = quote_design(np.zeros((500, 0)), price, (price > 10).astype(float), features=[])
    posterior = fit_posterior(design, scale)
    grid = np.linspace(0.5, 60, 400)
    for demand in (posterior.mode(), posterior.draw(rng)):
        chance = demand.log_odds(np.zeros((400, 0)), grid, np.zeros(400, dtype=np.int64))
        assert np.all(np.diff(chance) < 0)


@pytest.mark.parametrize("scale", list(Scale))
def test_the_slope_of_phi_is_the_derivative_of_phi(scale: Scale) -> None:
    price = np.linspace(1.03, 40.01, 300)
    basis = price_basis(scale, price)
    weights = np.linspace(-0.5, 0.5, basis.ramps)
    step = 1e-6
    numeric = (basis.phi(price + step, weights) - basis.phi(price - step, weights)) / (2 * step)
    np.testing.assert_allclose(basis.phi_slope(price, weights), numeric, rtol=1e-5)


def test_a_thin_segment_shrinks_to_the_product_mean_and_a_thick_one_does_not() -> None:
    rng = np.random.default_rng(8)
    truth = World(np.zeros(6) + 0.5, np.full((6, 1), 1.0), np.array([0.35] * 4 + [0.6, 0.6]))
    weights = np.array([0.24, 0.24, 0.24, 0.24, 0.0395, 0.0005])
    posterior = fit_posterior(truth.quotes(rng, 40_000, weights), Scale.ADDITIVE)
    slope = np.exp(posterior.mode().log_slope) / posterior.basis.unit
    product = np.exp(posterior.shared[-1]) / posterior.basis.unit
    assert abs(slope[4] - 0.6) < 0.08
    assert abs(slope[5] - product) < abs(slope[5] - 0.6)
    width = [high - low for low, _, high in (posterior.slope_interval(g) for g in (0, 5))]
    assert width[1] > 3 * width[0]


def test_draws_have_the_covariance_they_claim() -> None:
    rng = np.random.default_rng(2)
    posterior = fit_posterior(world(rng, features=2, segments=3).quotes(rng, 600), Scale.ADDITIVE)
    draws = [posterior.draw(rng) for _ in range(4000)]
    own = np.array([[d.intercept[1], *d.worth[1], d.log_slope[1]] for d in draws])
    claimed = posterior.covariance(1)
    scale = np.sqrt(np.outer(np.diag(claimed), np.diag(claimed)))
    assert np.max(np.abs(np.cov(own.T) - claimed) / scale) < 0.1
    np.testing.assert_allclose(
        own.mean(0), posterior.own_parameters(1), atol=5 * np.sqrt(np.diag(claimed) / 4000).max()
    )


def test_a_complement_pair_is_found_and_independent_features_are_not() -> None:
    rng = np.random.default_rng(21)
    count = 8_000
    chosen = (rng.random((count, 4)) < 0.5).astype(float)
    price = np.exp(rng.normal(2, 0.3, count))
    log_odds = 1 + chosen @ [0.5, 0.5, 0.8, 0.2] + 0.9 * chosen[:, 0] * chosen[:, 2] - 0.35 * price
    accepted = (rng.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
    design = quote_design(chosen, price, accepted, features=list("abcd"))
    plain = fit_posterior(design, Scale.ADDITIVE)
    assert find_pairs(design, plain) == [(0, 2)]
    paired = fit_posterior(design, Scale.ADDITIVE, pairs=[(0, 2)])
    assert paired.log_evidence > plain.log_evidence
    assert paired.mode().pair_worth[0] == pytest.approx(0.9, abs=0.25)
    assert find_pairs(design, paired) == []


def test_a_new_feature_borrows_worth_from_its_category_in_proportion_to_cost() -> None:
    rng = np.random.default_rng(4)
    truth = World(np.array([0.0]), np.array([[0.5, 1.0, 3.0]]), np.array([0.4]))
    posterior = fit_posterior(truth.quotes(rng, 20_000), Scale.ADDITIVE)
    categories = {"feature-0": "storage", "feature-1": "storage", "feature-2": "support"}
    costs = {"feature-0": 1.0, "feature-1": 2.0, "feature-2": 4.0}
    beliefs = borrow_from_category(posterior, categories, costs, {"vault": ("storage", 3.0), "call": ("unknown", 2.0)})
    assert beliefs["vault"].mean == pytest.approx(1.5, abs=0.25)
    assert beliefs["call"].deviation > beliefs["vault"].deviation
    prior = DemandPrior(worth={"vault": NormalBelief(1.5, 0.2)})
    few = quote_design(np.ones((5, 1)), np.full(5, 8.0), np.ones(5), features=["vault"])
    assert fit_posterior(few, Scale.ADDITIVE, prior=prior).shared[1] == pytest.approx(1.5, abs=0.2)


def test_a_kept_posterior_reads_back_bit_for_bit_and_hashes_alike() -> None:
    rng = np.random.default_rng(6)
    posterior = fit_posterior(world(rng, segments=2).quotes(rng, 500), Scale.FLEXIBLE, pairs=[(0, 1)])
    kept = json.loads(canonical_bytes(posterior.document()))
    again = read_posterior(kept)
    assert again.content_hash == posterior.content_hash
    first, second = (p.draw(np.random.default_rng(1)) for p in (posterior, again))
    np.testing.assert_array_equal(first.worth, second.worth)


def test_a_broken_document_is_refused() -> None:
    rng = np.random.default_rng(6)
    document = fit_posterior(world(rng).quotes(rng, 50), Scale.ADDITIVE).document()
    shrunk = {"shape": [1], "values": ["0.5"]}
    for change in (
        {"format": "other"},
        {"basis": {}},
        {"shared": shrunk},
        {"tau": {"shape": [7], "values": ["nan"] * 7}},
    ):
        with pytest.raises(InvalidValueError):
            read_posterior({**document, **change})


def test_the_same_quotes_give_the_same_posterior_in_any_order() -> None:
    rng = np.random.default_rng(9)
    chosen, price = (rng.random((300, 2)) < 0.5).astype(float), rng.uniform(1, 9, 300).round(2)
    accepted = (rng.random(300) < 0.5).astype(float)
    order = rng.permutation(300)
    hashes = {
        fit_posterior(quote_design(chosen[o], price[o], accepted[o], features=["a", "b"])).content_hash
        for o in (np.arange(300), order)
    }
    assert len(hashes) == 1


def test_quotes_that_cannot_be_used_are_refused_by_name() -> None:
    nothing = quote_design(np.zeros((0, 1)), np.zeros(0), np.zeros(0), features=["a"])
    with pytest.raises(NoQuotesError):
        fit_posterior(nothing)
    with pytest.raises(InvalidValueError, match="price"):
        quote_design(np.zeros((1, 1)), np.array([np.nan]), np.zeros(1), features=["a"])
    free = quote_design(np.zeros((2, 1)), np.array([0.0, 1.0]), np.ones(2), features=["a"])
    with pytest.raises(InvalidValueError, match="above zero"):
        fit_posterior(free, Scale.MULTIPLICATIVE)
    with pytest.raises(InvalidValueError, match="segment"):
        fit_posterior(free, Scale.ADDITIVE).mode().index_of("nowhere")


def test_demand_below_a_ceiling_is_that_of_those_who_are_interested() -> None:
    """A tenth of customers are interested; among them half accept at 4, with a slope of 3 on the log scale."""
    rng = np.random.default_rng(3)
    price = np.exp(rng.uniform(0.0, 2.5, 60_000))
    accepted = (rng.random(60_000) < 0.1 / (1.0 + (price / 4.0) ** 3)).astype(float)
    design = quote_design(np.empty((60_000, 0)), price, accepted, features=())
    below, unbounded = (fit_posterior(design, Scale.MULTIPLICATIVE, ceiling=ceiling) for ceiling in (0.1, 1.0))
    low, slope, high = below.slope_interval(0)
    assert low < 3.0 < high
    assert np.exp(below.shared[0] / slope) * below.basis.unit == pytest.approx(4.0, rel=0.05)
    assert below.log_evidence > unbounded.log_evidence + 100
    with pytest.raises(InvalidValueError):
        fit_posterior(design, ceiling=0.0)
