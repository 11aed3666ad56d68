"""A simulated month with demand: expected amounts follow the model where it has a say, and only there."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from billing.demand_response import with_response
from billing.simulation import Billing, FeatureAmounts, SimulatedCustomer, Simulation, totals_without_response
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale


@pytest.fixture(scope="module")
def posterior() -> FeaturePosterior:
    """Seats sold at about 100 a quote; the odds of acceptance are exp(4 - 0.04 price)."""
    rng = np.random.default_rng(3)
    price = rng.uniform(40, 160, 20_000)
    accepted = (rng.random(20_000) < 1 / (1 + np.exp(-(4 - 0.04 * price)))).astype(float)
    return fit_posterior(
        quote_design(np.ones((20_000, 1)), price, accepted, features=["seats"], segments=["eu"], units=(10.0,)),
        Scale.ADDITIVE,
    )


def customer(name: str, live: int, draft: int, segment: str = "eu", feature: str = "seats") -> SimulatedCustomer:
    return SimulatedCustomer(
        customer=name,
        segment=segment,
        currency="USD",
        issued=Billing(live, 0),
        live=Billing(live, 0),
        draft=Billing(draft, 0),
        features={feature: FeatureAmounts(Decimal(live) / 100, Decimal(draft) / 100, Decimal(20))},
        selection={feature: Decimal(10)},
    )


def simulation(*customers: SimulatedCustomer) -> Simulation:
    return Simulation("2026-01", "draft", customers, tuple(totals_without_response(customers)))


def test_a_dearer_price_is_taken_by_fewer_a_cheaper_one_by_more(posterior: FeaturePosterior) -> None:
    found = with_response(
        simulation(customer("up", 10_000, 12_000), customer("down", 10_000, 8_000)), {"USD": posterior}, seed=1
    )
    for each, draft in zip(found.customers, (120.0, 80.0), strict=True):
        chance = [1 / (1 + np.exp(-(4 - 0.04 * price))) for price in (100.0, draft)]
        truth = draft * chance[1] / chance[0]
        assert each.expected is not None
        assert each.expected.low < truth < each.expected.high
        assert each.expected.high - each.expected.low < 0.1 * truth
    total = found.totals[0]
    assert total.expected is not None
    assert total.expected_margin is not None
    summed = sum(each.expected.mean for each in found.customers if each.expected)
    assert total.expected.mean == pytest.approx(summed, rel=1e-3)
    assert total.expected_margin.mean < total.expected.mean
    assert (total.responding, found.model_hash) == (2, posterior.content_hash)


def test_the_same_price_is_expected_to_earn_the_same(posterior: FeaturePosterior) -> None:
    same = with_response(simulation(customer("same", 10_000, 10_000)), {"USD": posterior}, seed=1).totals[0].expected
    assert same is not None
    assert (same.low, same.mean, same.high) == pytest.approx((100.0, 100.0, 100.0))


def test_one_draw_does_not_outweigh_all_others() -> None:
    """Eight quotes far below what customers pay: by some draws hardly anybody would, and who does is worth millions."""
    price, accepted = np.linspace(2, 9, 8), np.array([1.0, 1, 1, 1, 0, 1, 0, 0])
    thin = fit_posterior(
        quote_design(np.ones((8, 1)), price, accepted, features=["seats"], segments=["eu"]), Scale.ADDITIVE
    )
    expected = with_response(simulation(customer("far", 10_000, 8_000)), {"USD": thin}, seed=1).totals[0].expected
    assert expected is not None
    assert expected.low <= expected.mean <= expected.high


def test_an_undeclared_segment_responds_as_the_one_whose_prices_it_gets(posterior: FeaturePosterior) -> None:
    draft = simulation(customer("up", 10_000, 12_000, segment="north"))
    assert with_response(draft, {"USD": posterior}, seed=1).totals[0].responding == 0
    found = with_response(draft, {"USD": posterior}, seed=1, priced_as=lambda _segment: "eu")
    assert (found.totals[0].responding, found.customers[0].segment) == (1, "north")


def test_who_the_model_does_not_know_is_taken_as_they_were(posterior: FeaturePosterior) -> None:
    strangers = (
        customer("elsewhere", 10_000, 20_000, segment="us"),
        customer("other", 10_000, 20_000, feature="tokens"),
        customer("free", 0, 20_000),
        replace(customer("since the 27th", 10_000, 20_000), whole_month=False),
    )
    found = with_response(simulation(*strangers), {"USD": posterior}, seed=1)
    assert all(each.expected is None for each in found.customers)
    assert found.totals[0].responding == 0
    assert found.totals[0].expected is not None
    assert found.totals[0].expected.mean == pytest.approx(800.0)
    assert with_response(simulation(*strangers), {}, seed=1).totals[0].expected is None


def test_the_same_seed_gives_the_same_result(posterior: FeaturePosterior) -> None:
    draft = simulation(customer("up", 10_000, 12_000))
    assert with_response(draft, {"USD": posterior}, seed=5) == with_response(draft, {"USD": posterior}, seed=5)
