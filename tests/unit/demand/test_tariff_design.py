"""Tariffs, bundles and group offers on customers whose values are known."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations

import numpy as np
import pytest

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.demand.bundle_suggestion import suggest_bundle
from pricing_engine.demand.customers import customers_from_quotes, customers_from_takes
from pricing_engine.demand.group_offer import GroupOffer, GroupTier, design_group_offer, group_value
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.take_rates import fit_take_rates
from pricing_engine.demand.tariff_choice import choose, is_legal
from pricing_engine.demand.tariff_design import component_prices, design_tariff
from tests.unit.demand.worlds import World

D = Decimal


def market(rng: np.random.Generator, count: int, irrelevant: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Log-normal values of 10 features, medians 4 to 16, one common factor, some features of no use."""
    medians = np.linspace(4, 16, 10)
    mixed = np.sqrt(0.3) * rng.standard_normal((count, 1)) + np.sqrt(0.7) * rng.standard_normal((count, 10))
    return medians * np.exp(0.6 * mixed) * (rng.random((count, 10)) >= irrelevant), 0.2 * medians


@pytest.mark.parametrize("seed", [1, 2])
def test_a_designed_tariff_earns_47_percent_of_first_best_and_15_percent_over_component_prices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, costs = market(rng, 3_000)
    design = design_tariff(
        values, costs, features=[f"f{k}" for k in range(10)], held_out=(market(rng, 20_000)[0], None)
    )
    assert design.first_best_share >= 0.470
    assert design.profit.mean >= 1.15 * design.component_profit.mean
    assert design.gain.low > 0
    assert is_legal(design.prices, design.percents)
    assert all(price % D("0.01") == 0 for price in design.prices)


def test_the_choice_is_the_best_of_all_selections() -> None:
    rng = np.random.default_rng(3)
    values, base = rng.normal(3, 4, (200, 4)), rng.normal(-1, 2, 200)
    prices, discounts = np.array([2.0, 3.0, 1.0, 4.0]), np.array([0.0, 0.05, 0.1, 0.15])
    found = choose(values, prices, discounts, base)
    for i in range(200):
        best, selection = 0.0, frozenset[int]()
        for size in range(1, 5):
            for chosen in combinations(range(4), size):
                surplus = (
                    base[i] + sum(values[i, k] for k in chosen) - (1 - discounts[size - 1]) * prices[list(chosen)].sum()
                )
                if surplus > best:
                    best, selection = surplus, frozenset(chosen)
        assert frozenset(np.flatnonzero(found.taken[i]).tolist()) == selection


def test_component_prices_are_the_best_single_prices() -> None:
    rng = np.random.default_rng(4)
    values, costs = market(rng, 400)
    prices = component_prices(values, costs)
    for k in range(10):
        earned = [(p - costs[k]) * np.mean(values[:, k] >= p) for p in np.append(values[:, k], prices[k])]
        assert earned[-1] == pytest.approx(max(earned))


def test_customers_drawn_from_quotes_accept_as_the_model_says() -> None:
    rng = np.random.default_rng(5)
    truth = World(np.array([0.5]), np.array([[0.9, 0.4]]), np.array([0.4]))
    posterior = fit_posterior(truth.quotes(rng, 20_000), Scale.ADDITIVE)
    drawn = customers_from_quotes(posterior, 40_000, rng)
    bought = choose(drawn.values, np.array([2.0, 3.0]), np.zeros(2), drawn.base)
    both = np.mean(drawn.values.sum(1) + drawn.base > 5.0)
    assert both == pytest.approx(1 / (1 + np.exp(-(0.5 + 1.3 - 0.4 * 5))), abs=0.02)
    assert bought.taken.any(axis=1).mean() >= both
    with pytest.raises(RuleBrokenError, match="additive"):
        customers_from_quotes(fit_posterior(truth.quotes(rng, 500), Scale.MULTIPLICATIVE), 10, rng)


def test_customers_drawn_from_takes_repeat_the_takes_and_their_company() -> None:
    rng = np.random.default_rng(6)
    posted = rng.uniform(1, 5, (5_000, 2))
    taste = rng.standard_normal(5_000)
    taken = (3 + 1.5 * taste[:, None] + 0.7 * rng.logistic(size=(5_000, 2)) > posted).astype(float)
    rates = fit_take_rates(taken, posted, features=["a", "b"])
    drawn = customers_from_takes(rates, taken, posted, 20_000, rng)
    for price in (2.0, 3.5):
        expected = np.mean((3 + 1.5 * taste[:, None] + 0.7 * rng.logistic(size=(5_000, 2))) > price)
        assert np.mean(drawn.values > price) == pytest.approx(expected, abs=0.04)
    assert np.corrcoef(drawn.values.T)[0, 1] > 0.25


def test_a_bundle_is_suggested_where_values_are_opposed_and_not_where_it_cannot_gain() -> None:
    """Stigler's cinema owners: opposite tastes make the bundle worth as much to each."""
    rng = np.random.default_rng(7)
    taste = rng.uniform(-4, 4, 4_000)
    values = np.column_stack([6 + taste, 6 - taste, rng.uniform(0, 2, 4_000)])
    prices, percents = (D(6), D(6), D(1)), (D(0), D(0), D(0))
    found = suggest_bundle(values, np.array([1.0, 1.0, 0.1]), prices, percents, features=["war", "love", "ads"])
    assert set(found.features) >= {"war", "love"}
    assert found.worthwhile
    assert found.takers > 0.5
    same = np.column_stack([np.full(4_000, 6.0), np.full(4_000, 6.0)])
    useless = suggest_bundle(same, np.array([1.0, 1.0]), (D("5.99"), D("5.99")), (D(0), D(0)), features=["x", "y"])
    assert not useless.worthwhile


def test_the_value_of_a_group_offer_equals_a_simulation() -> None:
    rng = np.random.default_rng(8)
    offer = GroupOffer((GroupTier(5, D(10)), GroupTier(12, D(8)), GroupTier(20, D(7))))
    acceptance, invited = [0.2, 0.4, 0.6], 30

    def cost_of(count: np.ndarray) -> np.ndarray:
        return 3.0 * count + 10.0 * (count > 0)

    value = group_value(offer, acceptance, invited, cost_of)
    uniform = rng.random((200_000, invited))
    inside = np.stack([(uniform < q).sum(1) for q in acceptance])
    profit, closed = np.zeros(200_000), np.zeros(200_000, bool)
    for count, tier in zip(inside, offer.tiers, strict=True):
        reached = count >= tier.pledges
        profit = np.where(reached, float(tier.price) * count - cost_of(count), profit)
        closed |= reached
    assert value.profit == pytest.approx(profit.mean(), abs=5 * profit.std() / 200_000**0.5)
    assert value.closes == pytest.approx(closed.mean(), abs=0.005)


def test_a_designed_group_offer_beats_its_single_prices_and_never_sells_below_cost() -> None:
    prices = [D(p) for p in (6, 8, 10, 12)]
    acceptance = [0.7, 0.5, 0.3, 0.15]

    def cost_of(count: np.ndarray) -> np.ndarray:
        return 2.0 * count + 40.0 * (count > 0)

    offer, value = design_group_offer(prices, acceptance, 25, cost_of)
    for price, chance in zip(prices, acceptance, strict=True):
        for least in (1, 5, 10, 15):
            assert (
                value.profit >= group_value(GroupOffer((GroupTier(least, price),)), [chance], 25, cost_of).profit - 1e-9
            )
    for tier in offer.tiers:
        assert float(tier.price) * tier.pledges >= cost_of(np.array([tier.pledges]))[0]
    assert offer.price_at(0) is None
    assert offer.price_at(10_000) == offer.tiers[-1].price


def test_group_offers_whose_price_would_rise_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="prices fall"):
        GroupOffer((GroupTier(5, D(8)), GroupTier(10, D(9))))
    with pytest.raises(InvalidValueError):
        GroupOffer(())
    with pytest.raises(InvalidValueError, match="acceptance"):
        group_value(GroupOffer((GroupTier(1, D(8)), GroupTier(2, D(7)))), [0.5, 0.4], 10, lambda count: count)
