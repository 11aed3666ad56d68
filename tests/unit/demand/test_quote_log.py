"""Outcomes are treated as what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.quote_log import (
    check_quote_log,
    decisions,
    design_from_log,
    logged_quotes,
    outcome_counts,
)

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
