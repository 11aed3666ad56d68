"""Outcomes are treated as what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_proposal import propose_epoch
from pricing_engine.demand.feature_posterior import read_posterior
from pricing_engine.demand.guardrails import PriceLadder, RailContext, Rails
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.quote_log import (
    check_quote_log,
    decisions,
    design_from_log,
    logged_quotes,
    outcome_counts,
    typical_quantities,
)
from pricing_engine.demand.selections import selections_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def log_of(rows: list[dict[str, object]]) -> pl.DataFrame:
    base: dict[str, object] = {
        "segment": "eu",
        "features": ["api"],
        "price": Decimal("9.50"),
        "unit_cost": Decimal("2"),
        "outcome": "accepted",
        "price_source": "randomised",
        "density": 0.5,
        "channel": "web",
    }
    full = [{"quote_id": f"q{i}", "quoted_at": START + timedelta(days=i)} | base | row for i, row in enumerate(rows)]
    return check_quote_log(pl.DataFrame(full, schema_overrides={"features": pl.List(pl.String), "density": pl.Float64}))


def test_only_decisions_at_the_price_shown_teach_demand() -> None:
    log = log_of([{"outcome": o} for o in ("accepted", "declined", "expired", "sold_out", "honoured", "open")])
    assert decisions(log)["outcome"].to_list() == ["accepted", "declined"]
    assert design_from_log(log).quotes == 2
    half = decisions(log, expired_as_refusal=0.5)
    assert half.select("outcome", "accepted", "weight").rows() == [
        ("accepted", 1.0, 1.0),
        ("declined", 0.0, 1.0),
        ("expired", 0.0, 0.5),
    ]
    assert outcome_counts(log) == dict.fromkeys(("accepted", "declined", "expired", "sold_out", "honoured", "open"), 1)


def test_sold_out_as_refusal_would_bias_demand_and_censoring_does_not() -> None:
    """Read as refusals, two sold-out quotes in five would halve demand; the decisions that remain tell it."""
    rng = np.random.default_rng(1)
    price = rng.uniform(2, 12, 6000)
    wants = rng.random(6000) < 1 / (1 + np.exp(0.5 * price - 3))
    sold_out = rng.random(6000) < 0.4
    outcome = np.where(sold_out, "sold_out", np.where(wants, "accepted", "declined"))
    log = log_of([{"price": float(p), "outcome": str(o)} for p, o in zip(price, outcome, strict=True)])
    posterior = fit_posterior(design_from_log(log, features=[]), Scale.ADDITIVE)
    demand = posterior.mode()
    at_six = demand.acceptance(np.zeros((1, 0)), np.array([6.0]), np.zeros(1, dtype=np.int64))
    assert at_six[0] == pytest.approx(0.5, abs=0.04)


def test_equal_quotes_collapse_and_features_become_columns() -> None:
    log = log_of(
        [
            {"features": ["api", "sso"]},
            {"features": ["api", "sso"], "outcome": "declined"},
            {"features": []},
            {"segment": "us", "features": ["sso"]},
        ]
    )
    design = design_from_log(log)
    assert design.features == ("api", "sso")
    assert design.segments == ("eu", "us")
    assert design.offered.tolist() == [1, 2, 1]
    assert design.accepted.tolist() == [1, 1, 1]
    assert design.chosen.tolist() == [[0, 0], [1, 1], [0, 1]]


def test_older_quotes_count_less_when_asked() -> None:
    log = log_of([{}, {"price": Decimal(3)}])
    design = design_from_log(log, as_of=START + timedelta(days=1), half_life_days=1.0)
    assert design.offered.tolist() == [1.0, 0.5]
    with pytest.raises(InvalidValueError, match="as_of"):
        design_from_log(log, as_of=START, half_life_days=1.0)
    with pytest.raises(InvalidValueError, match="half_life"):
        design_from_log(log, half_life_days=1.0)


def test_single_quotes_keep_time_order_and_only_known_densities() -> None:
    log = log_of([{"price": Decimal(5)}, {"price": Decimal(3), "price_source": "human"}, {"outcome": "open"}])
    quotes = logged_quotes(log.reverse())
    assert quotes.price.tolist() == [5.0, 3.0]
    assert quotes.density[0] == 0.5
    assert np.isnan(quotes.density[1])


def test_a_log_that_breaks_its_form_is_refused_by_column() -> None:
    good = log_of([{}])
    for bad, name in (
        (good.drop("channel"), "channel"),
        (good.with_columns(outcome=pl.lit("maybe")), "outcome"),
        (good.with_columns(price_source=pl.lit("oracle")), "price_source"),
        (pl.concat([good, good]), "quote_id"),
        (good.with_columns(price=pl.lit(-1)), "price"),
    ):
        with pytest.raises(InvalidValueError, match=name):
            check_quote_log(bad)


def seats_and_tokens(count: int = 6_000, *, tokens_in: float = 1.0) -> pl.DataFrame:
    """Quotes of 1 to 40 seats worth 9 each and, in half of them, 5 to 200 million tokens worth 4 a million.

    `tokens_in`: how many millions one unit of tokens is.
    """
    rng = np.random.default_rng(11)
    seats = rng.integers(1, 41, count).astype(float)
    tokens = np.where(rng.random(count) < 0.5, rng.integers(5, 201, count), 0).astype(float)
    worth = 9.0 * seats + 4.0 * tokens
    price = (10.0 * seats + 3.8 * tokens) * np.exp(rng.uniform(-0.3, 0.3, count))
    accepted = rng.random(count) < 1 / (1 + np.exp(-(20.0 + worth - price) / 25.0))
    return check_quote_log(
        pl.DataFrame(
            {
                "quote_id": [f"q{i}" for i in range(count)],
                "quoted_at": [START + timedelta(minutes=i) for i in range(count)],
                "segment": ["eu"] * count,
                "features": [["seats", "tokens"] if some else ["seats"] for some in tokens],
                "quantities": [[n, t / tokens_in] if t else [n] for n, t in zip(seats, tokens, strict=True)],
                "price": price,
                "unit_cost": [1.0] * count,
                "outcome": np.where(accepted, "accepted", "declined"),
                "price_source": ["human"] * count,
                "density": [None] * count,
                "channel": ["web"] * count,
            },
            schema_overrides={"density": pl.Float64},
        )
    )


def test_worth_is_learned_by_the_unit() -> None:
    log = seats_and_tokens()
    posterior = fit_posterior(design_from_log(log), Scale.ADDITIVE)
    assert posterior.units == typical_quantities(log, ["seats", "tokens"])
    for feature, worth in (("seats", 9.0), ("tokens", 4.0)):
        low, likely, high = posterior.worth_interval(0, posterior.features.index(feature))
        assert abs(likely - worth) < high - low  # Two intervals' halves: 3.3 standard errors.
        assert high - low < 0.05 * worth
    kept = read_posterior(posterior.document())
    assert kept.units == posterior.units
    assert kept.content_hash == posterior.content_hash


def test_proposed_prices_do_not_depend_on_the_unit_that_is_counted_in() -> None:
    """Tokens counted in millions or in tens of millions: the same demand, and prices ten times each other."""
    prices = []
    for tokens_in in (1, 10):
        design = design_from_log(seats_and_tokens(tokens_in=tokens_in))
        lists = {"seats": Decimal(10), "tokens": Decimal("3.8") * tokens_in}
        contexts = {key: {"eu": RailContext(price, price / 2, quotes=6_000)} for key, price in lists.items()}
        rails = {key: Rails(largest_step=None, ladder=PriceLadder(Decimal("0.000001"))) for key in lists}
        posterior = fit_posterior(design, Scale.ADDITIVE)
        found = propose_epoch(posterior, selections_of(design), contexts, rails, epoch=1, seed=1, explore=False)
        prices.append([float(found.price_of("eu", key).candidate) for key in lists])
    assert prices[1] == pytest.approx([prices[0][0], 10 * prices[0][1]], rel=1e-3)
    assert 6 < prices[0][0] < 14


def test_quantities_that_are_not_above_zero_are_refused() -> None:
    log = seats_and_tokens(60)
    for wrong in ([0.0], [-1.0], [float("nan")], []):
        broken = log.with_columns(quantities=pl.lit(wrong, dtype=pl.List(pl.Float64)), features=pl.lit(["seats"]))
        with pytest.raises(InvalidValueError) as refused:
            check_quote_log(broken)
        assert refused.value.field == "quantities"
