"""Drafts of catalog pieces: legal, inside the rails, worth what the truth says, refused where there can be none.

The truth: a seat is worth 7 to most, the rest about what is asked today, and today's prices are far from the best.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import pytest

from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.catalog import AtMost, Excludes, Requires, Rule
from pricing_engine.demand.catalog_drafts import draft_bundle, draft_group_offer, draft_tariff, over_draws
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.tariff_choice import choose, is_legal
from pricing_engine.price_book import PriceBook, parse_price_book, price_book_document
from pricing_engine.price_sheet import list_price, list_price_sheet, rails_of

D = Decimal
FEATURES = ("seats", "sso", "audit", "support")
WORTH = np.array([30.0, 9.0, 8.0, 10.0])
"""What five seats and one of each other feature are worth in money, beside a noise of 8."""
UNITS = (5.0, 1.0, 1.0, 1.0)


def book(**seats: Any) -> PriceBook:
    """Four features that are sold at one price each, and one that is not."""
    switches = [
        {"key": key, "name": key.upper(), "kind": "switch", "unit_cost": cost,
         "tariff": {"model": "flat", "amount": amount}}
        for key, cost, amount in (("sso", "1", "14"), ("audit", "0.5", "12"), ("support", "2", "9"))
    ]  # fmt: skip
    first = {
        "key": "seats", "name": "Seats", "kind": "quantity", "unit_cost": "1.5", "adaptive": True,
        "tariff": {"model": "unit", "unit_amount": "6"}, **seats,
    }  # fmt: skip
    calls = {
        "key": "calls", "name": "Calls", "kind": "quantity",
        "tariff": {"model": "graduated", "tiers": [{"up_to": None, "unit_amount": "1"}]},
    }  # fmt: skip
    document = {
        "key": "gateway", "version": 1, "currency": "USD", "effective_from": "2026-01-01T00:00:00Z",
        "features": [first, *switches, calls], "size_discounts": [{"features": 3, "percent": "5"}],
    }  # fmt: skip
    return parse_price_book(document)


@cache
def posterior() -> FeaturePosterior:
    """What 6,000 quotes of random selections at random prices teach."""
    rng = np.random.default_rng(1)
    chosen = (rng.random((6_000, 4)) < 0.6).astype(float)
    price = (chosen @ WORTH + 4) * np.exp(rng.normal(0, 0.4, 6_000))
    chance = 1 / (1 + np.exp(-(chosen @ WORTH + 4 - price) / 8))
    design = quote_design(
        chosen, price, (rng.random(6_000) < chance).astype(float), features=list(FEATURES),
        segment=np.zeros(6_000, dtype=np.int64), segments=["default"], units=UNITS,
    )  # fmt: skip
    return fit_posterior(design, Scale.ADDITIVE)


def test_a_drafted_tariff_is_legal_on_its_ladders_and_better_than_today() -> None:
    today = book(rails={"ladder_step": "0.5", "ceiling": "6.5"})
    found = draft_tariff(today, posterior(), customers=4_000, seed=1)
    prices = tuple(list_price(found.book.feature(key)) for key in FEATURES)
    typical = tuple(price * int(unit) for price, unit in zip(prices, UNITS, strict=True))
    assert typical == found.design.prices
    assert is_legal(found.design.prices, found.design.percents)
    assert prices[0] % D("0.5") == 0
    assert D("1.5") <= prices[0] <= D("6.5")
    assert all(price % D("0.1") == 0 for price in prices[1:3])
    assert found.gain.low > 0
    assert found.gain.low < found.gain.mean < found.gain.high
    assert found.book.feature("calls") == today.feature("calls")
    steps = found.book.size_discounts
    assert [each.percent for each in steps] == sorted({each.percent for each in steps})
    again = parse_price_book(price_book_document(found.book))
    assert again == draft_tariff(today, posterior(), customers=4_000, seed=1).book


def test_a_gain_is_what_customers_of_the_truth_bring() -> None:
    """Priced anew on customers with the true worths, the draft gains within the interval that was told."""
    found = draft_tariff(book(), posterior(), customers=6_000, seed=2)
    rng = np.random.default_rng(3)
    values = np.tile(WORTH, (40_000, 1))
    base = 4 + rng.logistic(scale=8, size=40_000)
    costs = np.array([7.5, 1, 0.5, 2])

    def profit(prices: list[float], discounts: list[float]) -> float:
        shown, off = np.array(prices), np.array(discounts)
        return float(choose(values, shown, off, base).profit(shown, costs).mean())

    drafted = profit([float(each) for each in found.design.prices], [float(p) / 100 for p in found.design.percents])
    gain = drafted - profit([30, 14, 12, 9], [0, 0, 0.05, 0.05])
    assert found.gain.low - 0.3 <= gain <= found.gain.high + 0.3


def test_a_drafted_bundle_caps_its_features_and_says_who_takes_it() -> None:
    found = draft_bundle(book(), posterior(), customers=4_000, seed=1)
    assert found.book.bundles == (found.bundle,)
    assert set(found.bundle.features) <= set(FEATURES)
    assert len(found.bundle.features) >= 2
    assert found.gain.low <= found.gain.mean <= found.gain.high
    assert found.is_worthwhile == (found.gain.low > 0)
    assert 0 < found.takers <= 1
    second = draft_bundle(found.book, posterior(), customers=4_000, seed=1)
    assert [each.key for each in second.book.bundles] == ["suggested-1", "suggested-2"]


def test_a_drafted_bundle_keeps_the_rules_of_its_catalog() -> None:
    def suggested(*rules: Rule) -> set[str]:
        ruled = msgspec.structs.replace(book(), rules=rules)
        found = draft_bundle(ruled, posterior(), customers=4_000, seed=1)
        ruled.check_selection(found.bundle.features)
        return set(found.bundle.features)

    assert len(suggested(AtMost(features=FEATURES, count=2))) == 2
    assert not suggested(Excludes(features=("seats", "sso"))) >= {"seats", "sso"}
    assert "seats" not in suggested(Requires(feature="seats", needs=("calls",)))  # Of which nothing was learnt.
    at_most, needs = AtMost(features=FEATURES, count=3), ("support",)
    assert "support" in suggested(at_most, *[Requires(feature=key, needs=needs) for key in ("seats", "sso", "audit")])
    with pytest.raises(RuleBrokenError, match="no two features go together"):
        suggested(*[Excludes(features=pair) for pair in combinations(FEATURES, 2)])


def test_an_interval_holds_its_mean_where_one_draw_carries_it() -> None:
    rare = np.zeros(20_000)
    rare[:20] = -1e6
    found = over_draws(rare)
    assert (found.low, found.high) == (found.mean, 0)
    assert found.mean < 0


def test_a_group_offer_gains_where_serving_anyone_costs_once() -> None:
    selection = {"seats": D(5), "sso": D(1)}
    found = draft_group_offer(book(), posterior(), selection, invited=40, setup_cost=D(300), seed=1)
    assert found.list_total == 44
    assert found.offer.tiers[0].pledges > 1
    assert all(tier.price <= 44 for tier in found.offer.tiers)
    assert found.gain.low > 0
    assert found.profit.low < found.expected.profit < found.profit.high
    assert 0 < found.expected.closes <= 1


def test_a_group_offer_at_the_list_price_gains_nothing_to_the_last_digit() -> None:
    price = np.full(300, 6.0)
    design = quote_design(np.ones((300, 1)), price, np.ones(300), features=["seats"], segments=["default"])
    found = draft_group_offer(book(), fit_posterior(design), {"seats": D(1)}, invited=30, seed=1)
    assert [tier.price for tier in found.offer.tiers] == [6]
    assert (found.gain.low, found.gain.mean, found.gain.high) == (0, 0, 0)


def test_without_a_ladder_prices_move_by_the_minor_unit_in_which_they_are_sold() -> None:
    def step(currency: str, price: str, **rails: str) -> Decimal:
        tariff = {"model": "unit", "unit_amount": price}
        document = {**price_book_document(book(tariff=tariff, rails=rails)), "currency": currency}
        priced = parse_price_book({**document, "features": document["features"][:1]})
        [sheet] = list_price_sheet(priced, "a" * 64, "default", 0, priced.effective_from).prices
        assert sheet.ladder_step == rails_of(priced, priced.features[0]).ladder.step
        return sheet.ladder_step

    assert [step("USD", "8"), step("KRW", "9000"), step("KWD", "1.25")] == [D("0.01"), D(1), D("0.001")]
    assert step("KRW", "0.5") == D("0.01")
    assert step("KRW", "9000", ladder_step="100") == 100


def test_what_cannot_be_drafted_is_said() -> None:
    with pytest.raises(InvalidValueError, match="sold at one price"):
        draft_group_offer(book(), posterior(), {"calls": D(1)}, invited=10, seed=1)
    with pytest.raises(InvalidValueError, match="1 to 500"):
        draft_group_offer(book(), posterior(), {"sso": D(1)}, invited=501, seed=1)
    with pytest.raises(InvalidValueError, match="needs a feature"):
        draft_group_offer(book(), posterior(), {}, invited=10, seed=1)
    with pytest.raises(InvalidValueError, match="2000 to"):
        draft_tariff(book(), posterior(), customers=10, seed=1)
    with pytest.raises(InvalidValueError, match="leaves no price"):
        draft_tariff(
            book(rails={"ceiling": "6.1", "floor": "6.05", "ladder_step": "5"}), posterior(), customers=2_000, seed=1
        )
    few = parse_price_book({**price_book_document(book()), "features": price_book_document(book())["features"][-1:]})
    with pytest.raises(RuleBrokenError, match="too few features"):
        draft_bundle(few, posterior(), customers=2_000, seed=1)


def test_the_interval_of_a_gain_is_over_draws_not_over_customers() -> None:
    """A thousand customers of each draw hide nothing of how the draws differ."""
    terms = np.repeat(np.linspace(-1, 1, 50), 1_000)
    found = over_draws(terms)
    assert (found.low, found.high) == (pytest.approx(-0.9, abs=0.05), pytest.approx(0.9, abs=0.05))
