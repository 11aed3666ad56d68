"""An explanation adds up to the last digit; a card shows what should worry its reader."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.canonical_json import canonical_bytes
from models.values.errors import InvalidValueError
from pricing_engine.demand.explanation import explain_price
from pricing_engine.demand.fairness import (
    Proxy,
    ProxyCheck,
    association,
    check_proxies,
    find_proxies,
    parity,
    parity_ratio,
    read_proxy_check,
)
from pricing_engine.demand.guardrails import Rail, RailedPrice, RailHit
from pricing_engine.demand.model_card import ModelCard, model_card
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.quote_log import check_quote_log, design_from_log
from pricing_engine.segmentation import Segmentation
from tests.unit.demand.worlds import world

D = Decimal
AT = datetime(2026, 3, 1, tzinfo=UTC)
RNG = np.random.default_rng(1)
TRUTH = world(RNG, features=3, segments=2)
POSTERIOR = fit_posterior(TRUTH.quotes(RNG, 3_000), Scale.ADDITIVE)
FEATURES = list(POSTERIOR.features)
COSTS = dict.fromkeys(FEATURES, D("0.333"))


def railed(price: Decimal, hits: tuple[RailHit, ...] = ()) -> RailedPrice:
    return RailedPrice(price, hits, price, price)


@given(
    prices=st.lists(st.decimals(min_value=0, max_value=10**6, places=4), min_size=1, max_size=3),
    percent=st.decimals(min_value=0, max_value=100, places=2),
)
def test_shares_sum_to_the_total_and_cost_plus_markup_too(prices: list[Decimal], percent: Decimal) -> None:
    """Exactly, for any prices and discount: a reader who adds up finds nothing missing."""
    chosen = {feature: railed(price) for feature, price in zip(FEATURES, prices, strict=False)}
    found = explain_price(POSTERIOR, "segment-1", chosen, COSTS, discount_percent=percent)
    assert sum(share.share for share in found.shares) == found.total == found.cost + found.markup
    assert abs(found.total - sum(prices) * (100 - percent) / 100) <= D("0.005")
    canonical_bytes(found.document())


def test_an_explanation_names_worth_rails_and_quotes() -> None:
    hit = RailHit(Rail.CEILING, D(4), D(5), D(4))
    found = explain_price(
        POSTERIOR, "segment-0", {FEATURES[0]: railed(D(4), (hit,)), FEATURES[2]: railed(D("2.5"))}, COSTS
    )
    first = found.shares[0]
    assert first.rails == ("ceiling",)
    assert first.worth == POSTERIOR.worth_interval(0, 0)
    assert first.worth[0] < first.worth[1] < first.worth[2]
    assert first.quotes == POSTERIOR.quotes_by_feature[0]
    assert found.model_hash == POSTERIOR.content_hash
    assert found.elasticity < 0 < found.acceptance < 1
    words = " ".join(found.sentences())
    for expected in ("6.5: 0.666 cost and 5.834 markup", "Rails applied: ceiling", "90 percent sure"):
        assert expected in words


def test_what_the_model_does_not_know_is_refused() -> None:
    for prices, segment in (
        ({"ghost": railed(D(1))}, "segment-0"),
        ({}, "segment-0"),
        ({FEATURES[0]: railed(D(1))}, "x"),
    ):
        with pytest.raises(InvalidValueError):
            explain_price(POSTERIOR, segment, prices, COSTS)


def simulated_log(rng: np.random.Generator, count: int, *, effect: float = 0.4, jump: bool = False) -> pl.DataFrame:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    price = 8 * np.exp(rng.uniform(-0.3, 0.3, count))
    log_odds = 1.5 - effect * (price - 5) - 2.5 * (jump * (np.arange(count) > 0.7 * count))
    taken = rng.random(count) < 1 / (1 + np.exp(-log_odds))
    return check_quote_log(
        pl.DataFrame(
            {
                "quote_id": [f"q{i}" for i in range(count)],
                "quoted_at": [start + timedelta(minutes=i) for i in range(count)],
                "segment": rng.choice(["eu", "us"], count),
                "features": [["api"]] * count,
                "price": price,
                "unit_cost": np.ones(count),
                "outcome": np.where(taken, "accepted", "declined"),
                "price_source": ["randomised"] * count,
                "density": 1 / (0.6 * price),
                "channel": rng.choice(["web", "sales"], count),
            }
        )
    )


def card_of(log: pl.DataFrame, proxies: ProxyCheck | None = None) -> ModelCard:
    fit = partial(fit_posterior, scale=Scale.ADDITIVE)
    return model_card(log, fit(design_from_log(log)), seed=1, fit=fit, proxies=proxies)


def test_a_sound_model_has_a_clean_card_and_the_true_elasticity_on_it() -> None:
    log = simulated_log(np.random.default_rng(5), 4_000)
    card = card_of(log)
    assert card.warnings == ()
    assert card.outcomes["accepted"] + card.outcomes["declined"] == 4_000
    price = log["price"].to_numpy()
    chance = 1 / (1 + np.exp(-(1.5 - 0.4 * (price - 5))))
    truth = float(chance @ (-0.4 * price * (1 - chance)) / chance.sum())
    for row in card.elasticities:
        assert row.elasticity[0] - 0.2 < truth < row.elasticity[2] + 0.2
        assert row.elasticity[0] < row.elasticity[1] < row.elasticity[2] < 0
    canonical_bytes(card.document())
    assert card == card_of(log)


def test_no_price_follows_where_dear_quotes_sold_better_and_nobody_can_tell_why() -> None:
    by_people = {"price_source": pl.lit("human"), "density": pl.lit(None, dtype=pl.Float64)}
    upside_down = simulated_log(np.random.default_rng(8), 2_000, effect=-0.4)
    assert (
        card_of(upside_down.with_columns(**by_people)).distrust
        == "dearer quotes sold better: price cannot be the cause"
    )
    assert card_of(upside_down).distrust == ""  # Drawn prices: a rare chance, and rails bound what follows.
    downwards = card_of(simulated_log(np.random.default_rng(9), 2_000).with_columns(**by_people))
    assert (downwards.distrust, downwards.document()["distrust"]) == ("", "")


def test_a_card_warns_of_drift_placebo_prices_and_human_prices() -> None:
    drifted = card_of(simulated_log(np.random.default_rng(6), 4_000, jump=True))
    assert any("drifted" in warning for warning in drifted.warnings)
    flat = card_of(simulated_log(np.random.default_rng(7), 4_000, effect=0.0))
    assert any("only the rails" in warning for warning in flat.warnings)
    human = simulated_log(np.random.default_rng(8), 1_000).with_columns(price_source=pl.lit("human"))
    assert any("nobody can tell" in warning for warning in card_of(human).warnings)


def test_parity_compares_like_with_like() -> None:
    log = simulated_log(np.random.default_rng(9), 2_000)
    dear = log.with_columns(price=pl.col("price") * pl.when(pl.col("channel") == "sales").then(1.5).otherwise(1.0))
    assert parity_ratio(parity(log, "channel")) < 1.05
    assert parity_ratio(parity(dear, "channel")) == pytest.approx(1.5, abs=0.07)
    assert any("channels" in warning for warning in card_of(dear).warnings)


def customers_of(rng: np.random.Generator, count: int = 2_000) -> pl.DataFrame:
    """Customers whose school and income follow their gender, and whose plan tells nothing."""
    gender = rng.choice(["a", "b"], count)
    return pl.DataFrame({
        "segment": rng.choice(["default", "small"], count),
        "gender": gender,
        "school": np.where(rng.random(count) < 0.9, gender, rng.choice(["a", "b"], count)),
        "income": [f"{value:.2f}" for value in rng.normal(50_000 + 20_000 * (gender == "a"), 5_000)],
        "plan": rng.choice(["x", "y", "z"], count),
    })  # fmt: skip


def test_a_proxy_is_found_and_an_innocent_attribute_is_not() -> None:
    customers = customers_of(np.random.default_rng(10))
    found = find_proxies(customers, ["school", "plan"], ["gender"])
    assert [(proxy.attribute, proxy.stands_for) for proxy in found] == [("school", "gender")]
    gender = customers["gender"].to_list()
    assert association(gender, gender) == pytest.approx(1.0, abs=1e-3)
    assert association(["a"] * 5, ["b"] * 5) == 0.0
    with pytest.raises(InvalidValueError):
        association(["a"], ["b", "c"])


def test_segments_and_what_forms_them_are_checked_for_what_they_tell() -> None:
    customers = customers_of(np.random.default_rng(11))
    formed = Segmentation(formed_from={"small": ("income", "plan", "unheard_of")})
    check = check_proxies(customers, formed, AT)
    assert (check.customers, check.protected) == (2_000, ("gender",))
    # Every income is another: it is looked at in tenths. No segment is formed from the school.
    assert [(proxy.attribute, proxy.stands_for) for proxy in check.found] == [("income", "gender")]
    assert read_proxy_check(check.document()).document() == check.document()
    assert check.still_used(formed) == check
    assert check.still_used(Segmentation(formed_from={"small": ("plan",)})).found == ()

    follows = pl.when(pl.col("gender") == "a").then(pl.lit("small")).otherwise(pl.lit("default"))
    check = check_proxies(customers.with_columns(segment=follows), formed, AT)
    assert [proxy.attribute for proxy in check.found] == ["segment", "income"]
    assert [each.attribute for each in check.still_used(Segmentation(formed_from={"x": ("plan",)})).found] == [
        "segment"
    ]
    assert check.still_used(Segmentation()).found == ()
    union = check_proxies(customers.with_columns(union=pl.col("plan")), Segmentation(forbidden=("union",)), AT)
    assert (union.protected, union.found) == (("gender", "union"), ())

    with pytest.raises(InvalidValueError, match="names no attribute"):
        check_proxies(customers.drop("gender"), formed, AT)
    few = pl.when(pl.int_range(pl.len()) < 49).then(pl.col("gender"))
    with pytest.raises(InvalidValueError, match="needs 50 customers"):
        check_proxies(customers.with_columns(gender=few), formed, AT)


def test_a_model_whose_segments_stand_in_for_a_protected_attribute_is_not_to_be_believed() -> None:
    log = simulated_log(np.random.default_rng(9), 600)
    found = ProxyCheck(AT, 400, ("gender",), (Proxy("school", "gender", 0.8123),))
    card = card_of(log, found)
    assert "school tells gender (0.81)" in card.distrust
    assert card.distrust in card.warnings
    assert card.document()["proxies"] == found.document()
    clear = card_of(log, replace(found, found=()))
    assert (clear.distrust, clear.document()["proxies"]) == ("", {**found.document(), "found": []})
    assert card_of(log).document()["proxies"] is None
