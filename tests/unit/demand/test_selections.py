"""What the selections of a log come to at other prices, and what is proposed where only some features have one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_proposal import propose_epoch
from pricing_engine.demand.evaluation import Estimator
from pricing_engine.demand.guardrails import Rail, RailContext, Rails
from pricing_engine.demand.learning import drift_from, learn
from pricing_engine.demand.quote_log import check_quote_log
from pricing_engine.demand.selections import selections_from_log
from pricing_engine.demand.sheet_evaluation import evaluate_sheets
from pricing_engine.price_sheet import PriceSheet, SheetPrice

D = Decimal
FREE = Rails(largest_step=None, largest_step_30_days=None, segment_ratio=None, minimum_quotes=1, jitter=D(0))
START = datetime(2026, 1, 1, tzinfo=UTC)


def log_of(count: int = 2_000, slope: float = 0.5, seed: int = 1) -> pl.DataFrame:
    """Seats at a drawn price, always with tokens for 10 that cost 4; every second quote gets a tenth off."""
    rng = np.random.default_rng(seed)
    price = rng.uniform(5, 12, count)
    billed = np.where(np.arange(count) % 2, 0.9, 1.0)
    total = billed * price + 10
    accepted = rng.random(count) < 1 / (1 + np.exp(slope * (total - 19)))
    return check_quote_log(
        pl.DataFrame(
            {
                "quote_id": [f"q{i}" for i in range(count)],
                "quoted_at": [START + timedelta(minutes=i) for i in range(count)],
                "segment": ["eu"] * count,
                "features": [["seats", "tokens"]] * count,
                "price": total,
                "unit_cost": [6.0] * count,
                "outcome": np.where(accepted, "accepted", "declined"),
                "price_source": ["randomised"] * count,
                "density": 1 / (7 * billed),
                "channel": ["direct"] * count,
                "quantities": [[1.0, 3e6]] * count,
                "billed": [[float(each), 0.0] for each in billed],
                "rest": [10.0] * count,
                "rest_cost": [4.0] * count,
            }
        )
    )


def test_only_what_has_a_price_moves_and_the_rest_counts_towards_total_and_margin() -> None:
    log = log_of()
    posterior = learn(log)
    selections = selections_from_log(log, posterior)
    assert selections.chosen.shape == (2, 2)
    assert sorted(selections.billed[:, 0]) == [0.9, 1.0]
    contexts = {"seats": {"eu": RailContext(list_price=D(8), unit_cost=D(2), quotes=2_000)}}
    found = propose_epoch(posterior, selections, contexts, {"seats": FREE}, epoch=1, seed=1, explore=False)
    demand, billed = posterior.mode(), np.array([each[0] for each in log["billed"]])

    def profit(price: float) -> float:
        """Of the log itself, quote by quote."""
        at = billed * price + 10
        chance = demand.acceptance(np.ones((log.height, 2)), at, np.zeros(log.height, dtype=np.int64))
        return float(np.mean((at - 6) * chance))

    best = max(np.linspace(5, 12, 351), key=profit)
    assert float(found.price_of("eu", "seats").railed.price) == pytest.approx(best, abs=0.02)
    assert found.effect is not None
    assert found.effect.at_list == pytest.approx(profit(8))


def test_segments_and_features_the_model_does_not_know_keep_the_list_price() -> None:
    log = log_of(300)
    posterior = learn(log)
    fact = RailContext(list_price=D(8), unit_cost=D(2))
    contexts = {key: {"eu": fact, "moon": fact} for key in ("seats", "new")}
    rails = dict.fromkeys(contexts, Rails())
    found = propose_epoch(posterior, selections_from_log(log, posterior), contexts, rails, epoch=1, seed=1)
    for segment, feature in (("moon", "seats"), ("eu", "new"), ("moon", "new")):
        price = found.price_of(segment, feature)
        assert (price.railed.price, price.jitter) == (D(8), D(0))
        assert price.railed.hits[0].rail is Rail.MINIMUM_DATA
    with pytest.raises(InvalidValueError, match="every segment"):
        propose_epoch(posterior, None, {"seats": {"moon": fact}}, rails, epoch=1, seed=1)
    with pytest.raises(InvalidValueError, match="lacks columns"):
        selections_from_log(log.drop("rest"), posterior)


def test_sheets_are_evaluated_on_the_quotes_of_the_log() -> None:
    """Acceptance follows sigma(-0.5 (total - 19)): what that earns is known."""
    log = log_of(12_000)
    price = SheetPrice(feature="seats", price=D(9), lowest=D(9), highest=D(9), ladder_step=D(1))
    sheet = PriceSheet(book_hash="b" * 64, segment="eu", epoch=1, effective_from=START, prices=(price,))
    found = evaluate_sheets(log, learn(log), {"eu": sheet}, seed=1)
    truth = np.mean([(total - 6) / (1 + np.exp(0.5 * (total - 19))) for total in (19.0, 18.1)])
    robust = found.of(Estimator.DOUBLY_ROBUST)
    assert robust.refused == ""
    assert robust.value == pytest.approx(truth, rel=0.035)


def test_later_decisions_are_compared_with_the_model_and_unknown_quotes_say_nothing() -> None:
    posterior = learn(log_of())
    assert not drift_from(posterior, log_of(400, seed=2)).alarmed
    assert drift_from(posterior, log_of(400, slope=-0.5, seed=2)).alarmed
    strange = log_of(400, slope=-0.5, seed=2).with_columns(segment=pl.lit("moon"))
    assert drift_from(posterior, strange).z == ()
