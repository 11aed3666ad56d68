"""From posterior to prices: what a proposal may hold, and what it falls back to."""

from __future__ import annotations

import dataclasses
import itertools
from decimal import Decimal

import numpy as np
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.epoch_market import market_of
from pricing_engine.demand.epoch_proposal import EpochProposal, propose_epoch
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import PriceLadder, Rail, RailContext, Rails
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.selections import selections_of
from tests.unit.demand.worlds import World

D = Decimal
FREE = Rails(largest_step=None, largest_step_30_days=None, segment_ratio=None, minimum_quotes=0, jitter=D(0))
TRUTH = World(np.array([0.5, 0.5]), np.array([[0.9, 1.2], [0.9, 1.6]]), np.array([0.4, 0.3]))


def fitted(count: int = 20_000, scale: Scale = Scale.ADDITIVE) -> tuple[FeaturePosterior, object]:
    design = TRUTH.quotes(np.random.default_rng(1), count)
    return fit_posterior(design, scale), selections_of(design)


def contexts(posterior: FeaturePosterior, **facts: object) -> dict[str, dict[str, RailContext]]:
    base: dict[str, object] = {"list_price": D(4), "unit_cost": D(1), "quotes": 1000}
    return {
        feature: {segment: RailContext(**(base | facts)) for segment in posterior.segments}
        for feature in posterior.features
    }


def propose(
    posterior: FeaturePosterior | None, selections: object, rails: Rails = FREE, **facts: object
) -> EpochProposal:
    known = posterior if posterior is not None else fitted(500)[0]
    options = {name: facts.pop(name) for name in ("seed", "epoch", "explore") if name in facts}
    settings = {"seed": 1, "epoch": 7, "explore": False} | options
    return propose_epoch(
        posterior, selections, contexts(known, **facts), dict.fromkeys(known.features, rails), **settings
    )


def test_unrailed_prices_earn_as_much_as_the_best_on_a_grid() -> None:
    posterior, selections = fitted()
    found = propose(posterior, selections)
    demand = posterior.mode()
    asked = selections.chosen[(selections.chosen != 0).any(axis=1)]
    weight = selections.weight[0][(selections.chosen != 0).any(axis=1)]

    def profit(first: float, second: float) -> float:
        total = asked @ [first, second]
        chance = demand.acceptance(asked, total, np.zeros(len(asked), dtype=np.int64))
        return float(weight @ ((total - asked.sum(1)) * chance))

    grid = np.linspace(1, 15, 57)
    best = max(profit(a, b) for a in grid for b in grid)
    mine = profit(*(float(found.price_of("segment-0", f).railed.price) for f in posterior.features))
    assert mine >= 0.9995 * best
    assert found.effect is not None
    assert found.effect.proposed > found.effect.at_list


@pytest.mark.parametrize("scale", list(Scale))
def test_profits_given_up_to_rails_add_up(scale: Scale) -> None:
    posterior, selections = fitted(4_000, scale)
    rails = Rails(
        ceiling=D(5), largest_step=D("0.05"), minimum_quotes=0, segment_ratio=D("1.02"), ladder=PriceLadder(D("0.5"))
    )
    found = propose(posterior, selections, rails, last_price=D("4.5"))
    effect = found.effect
    assert effect is not None
    assert sum(effect.given_up.values()) == pytest.approx(effect.wanted - effect.proposed)
    assert set(effect.given_up) >= {Rail.CEILING, Rail.STEP}
    assert effect.given_up[Rail.CEILING] > 0
    for price in found.prices:
        assert price.railed.price % D("0.5") == 0
        assert price.railed.price <= D("4.725")


def test_an_epoch_has_one_price_for_the_same_facts_and_epochs_explore() -> None:
    posterior, selections = fitted(1_000)
    first, again = (propose(posterior, selections, explore=True) for _ in range(2))
    assert first == again
    assert propose(posterior, selections, explore=True, epoch=8).prices != first.prices
    assert propose(posterior, selections, explore=True, seed=2).prices != first.prices
    assert first.model_hash == posterior.content_hash


def test_a_discount_schedule_raises_list_prices() -> None:
    """What customers of many features pay after the discount is what is optimised."""
    posterior, selections = fitted()
    design = TRUTH.quotes(np.random.default_rng(1), 20_000)
    stepped_selections = selections_of(design, np.array([0.0, 0.3]))
    plain, stepped = (propose(posterior, each) for each in (selections, stepped_selections))
    listed = [sum(p.railed.price for p in found.prices) for found in (plain, stepped)]
    assert listed[1] > listed[0]


def test_without_a_model_list_prices_stand_and_the_proposal_says_so() -> None:
    _, selections = fitted(500)
    found = propose(None, selections)
    assert found.fallback == "no model"
    assert {(p.railed.price, p.jitter) for p in found.prices} == {(D(4), D(0))}
    assert found.model_hash == ""
    assert found.effect is None


def test_a_model_that_gives_no_number_falls_back_to_list_prices_and_says_so() -> None:
    posterior, selections = fitted(500)
    broken = dataclasses.replace(posterior, shared=np.full_like(posterior.shared, np.nan))
    found = propose(broken, selections)
    assert "no finite price" in found.fallback
    assert {p.railed.price for p in found.prices} == {D(4)}
    broken = dataclasses.replace(posterior, own_precision=-posterior.own_precision)
    found = propose(broken, selections, explore=True)
    assert "no distribution" in found.fallback
    assert {p.railed.price for p in found.prices} == {D(4)}


def test_too_few_quotes_keep_the_list_price_without_jitter() -> None:
    posterior, selections = fitted(500)
    rails = Rails(minimum_quotes=10_000)
    for price in propose(posterior, selections, rails).prices:
        assert price.railed.is_list_price
        assert (price.railed.price, price.jitter) == (D(4), D(0))


def test_a_placebo_goes_to_the_rail_and_not_beyond() -> None:
    """Acceptance does not depend on price: the model wants ever more, the ceiling holds."""
    rng = np.random.default_rng(3)
    price, chosen = rng.uniform(2, 20, 2_000), np.ones((2_000, 1))
    design = quote_design(chosen, price, (rng.random(2_000) < 0.4).astype(float), features=["a"])
    for scale in Scale:
        posterior = fit_posterior(design, scale)
        context = {"a": {"all": RailContext(list_price=D(10), unit_cost=D(1), quotes=2_000, last_price=D(10))}}
        rails = {"a": Rails(ceiling=D(12), largest_step=D("0.1"))}
        found = propose_epoch(posterior, selections_of(design), context, rails, epoch=1, seed=1, explore=False)
        assert found.prices[0].railed.price == D(11)
        assert Rail.STEP in {hit.rail for hit in found.prices[0].railed.hits}


def test_contexts_that_do_not_match_the_model_are_refused() -> None:
    posterior, selections = fitted(500)
    with pytest.raises(InvalidValueError, match="contexts"):
        propose_epoch(posterior, selections, {}, {}, epoch=1, seed=1)


def test_the_best_inside_the_rails_is_proposed_and_not_what_rails_leave_of_the_best_outside() -> None:
    """The model would ask more for one feature and less for the other, which is never asked for alone.

    Cut one by one, the first cannot rise and the second falls a step: that earns less than list prices, by the very
    same draw. As the first cannot rise, the second does.
    """
    rng = np.random.default_rng(1)
    chosen = np.column_stack([np.ones(2_000), rng.random(2_000) < 0.7]).astype(float)
    price = rng.uniform(4, 14, 2_000)
    accepted = (rng.random(2_000) < 1 / (1 + np.exp(0.5 * price - 3 - 0.2 * chosen[:, 1]))).astype(float)
    design = quote_design(chosen, price, accepted, features=["feature-0", "feature-1"], segments=["segment-0"])
    posterior, selections = fit_posterior(design, Scale.ADDITIVE), selections_of(design)
    step = Rails(minimum_quotes=0, segment_ratio=None, jitter=D(0))
    rails = {"feature-0": dataclasses.replace(step, ceiling=D(4)), "feature-1": step}
    facts = {
        feature: {"segment-0": RailContext(list_price=price, unit_cost=D("0.5"), last_price=price, quotes=2_000)}
        for feature, price in (("feature-0", D(4)), ("feature-1", D("1.5")))
    }
    for seed in range(10):
        found = propose_epoch(posterior, selections, facts, rails, epoch=1, seed=seed)
        first, second = (found.price_of("segment-0", feature) for feature in posterior.features)
        effect = found.effect
        assert effect is not None
        assert first.candidate > 4 > D("1.36") > second.candidate
        hits = first.railed.hits[0], second.railed.hits[0]
        assert [(hit.rail, hit.bound) for hit in hits] == [(Rail.CEILING, D(4)), (Rail.STEP, D("1.65"))]
        assert (first.railed.price, second.railed.price) == (D(4), D("1.65"))
        assert effect.proposed > effect.at_list
        assert sum(effect.given_up.values()) == pytest.approx(effect.wanted - effect.proposed)
        assert effect.given_up[Rail.CEILING] > effect.given_up[Rail.STEP] > 0


@pytest.mark.parametrize(
    ("ratio", "ladder"),
    [
        (D("1.1"), PriceLadder(D("0.25"))),
        (None, PriceLadder(D(2), D("0.99"))),
        (D("1.25"), PriceLadder(D(1), D("0.99"))),
    ],
)
def test_ratio_and_rungs_are_chosen_by_what_all_prices_together_earn(
    ratio: Decimal | None, ladder: PriceLadder
) -> None:
    """As much as the best of all rungs inside the ratio, each segment's feature prices tried in every combination."""
    truth = World(np.array([0.5, 0.0]), np.array([[0.9, 0.5], [0.9, 2.0]]), np.array([0.4, 0.2]))
    design = truth.quotes(np.random.default_rng(1), 20_000)
    posterior, selections = fit_posterior(design, Scale.ADDITIVE), selections_of(design)
    found = propose(posterior, selections, dataclasses.replace(FREE, segment_ratio=ratio, ladder=ladder))
    facts, demand = contexts(posterior), posterior.mode()
    markets = [
        market_of(demand, selections, posterior.unit_sizes, facts, list(posterior.features), g) for g in range(2)
    ]
    rungs = [ladder.rung(D(1), step) for step in range(ladder.count_between(D(1), D(14)))]
    pairs = list(itertools.product(rungs, rungs))
    earned = np.array([[market.profit(np.array(pair, dtype=float)) for pair in pairs] for market in markets])
    prices = np.array(pairs, dtype=float)
    near = np.abs(np.log(prices[:, None] / prices[None])).max(axis=2) <= np.log(float(ratio or 1e9)) + 1e-12
    best = float(np.where(near, earned[0][:, None] + earned[1][None], -np.inf).max()) / 2
    assert found.effect is not None
    assert found.effect.proposed == pytest.approx(best, rel=1e-3)
    assert sum(found.effect.given_up.values()) == pytest.approx(found.effect.wanted - found.effect.proposed)
    hits = {hit.rail for price in found.prices for hit in price.railed.hits}
    assert hits >= ({Rail.LADDER, Rail.SEGMENT_RATIO} if ratio else {Rail.LADDER})
    for feature in posterior.features:
        cheap, dear = sorted(found.price_of(segment, feature).railed.price for segment in posterior.segments)
        assert ratio is None or dear <= cheap * ratio
