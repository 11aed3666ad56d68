"""The run-out price: what is left lasts as long as it should, and ample supply changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_proposal import EpochProposal, propose_epoch
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import Rail, Rails
from pricing_engine.demand.limited_supply import Stock, Supply, decided_a_day
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.selections import Selections, selections_of
from tests.unit.demand.test_epoch_proposal import FREE, TRUTH, contexts
from tests.unit.demand.test_selections import log_of

D = Decimal
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=list(Scale))
def learned(request: pytest.FixtureRequest) -> tuple[FeaturePosterior, Selections]:
    """Two features asked for by two segments, learned in each scale of price."""
    design = TRUTH.quotes(np.random.default_rng(1), 4_000)
    return fit_posterior(design, request.param), selections_of(design)


def propose(
    learned: tuple[FeaturePosterior, Selections], left: dict[str, int], rails: Rails = FREE, **facts: object
) -> EpochProposal:
    posterior, selections = learned
    stock = Stock(
        {feature: Supply(units, 10) for feature, units in left.items()}, dict.fromkeys(posterior.segments, 20.0)
    )
    return propose_epoch(
        posterior, selections, contexts(posterior, **facts), dict.fromkeys(posterior.features, rails),
        epoch=1, seed=1, explore=False, stock=stock,
    )  # fmt: skip


def wanted(learned: tuple[FeaturePosterior, Selections], found: EpochProposal, feature: str) -> float:
    """Return how many units ten days of twenty quotes in each segment sell at the proposed prices."""
    posterior, selections = learned
    demand, units = posterior.mode(), 0.0
    for g, segment in enumerate(posterior.segments):
        asked = (selections.chosen != 0).any(axis=1)
        share = selections.weight[g][asked] / selections.weight[g][asked].sum()
        price = [float(found.price_of(segment, each).railed.price) for each in posterior.features]
        chosen = selections.chosen[asked]
        chance = demand.acceptance(chosen, chosen @ price, np.full(len(chosen), g))
        units += 200 * float(share @ (chance * chosen[:, posterior.features.index(feature)]))
    return units


def test_what_is_left_lasts_as_long_as_it_should(learned: tuple[FeaturePosterior, Selections]) -> None:
    free = propose(learned, {})
    found = propose(learned, {"feature-0": 20})
    [short] = found.shortages
    assert (short.feature, short.supply) == ("feature-0", Supply(20, 10))
    assert short.wanted == pytest.approx(wanted(learned, free, "feature-0"), rel=0.01)
    assert short.wanted > 40
    assert short.unit_value > 0
    assert wanted(learned, found, "feature-0") == pytest.approx(20, rel=0.03)
    for segment in learned[0].segments:
        assert found.price_of(segment, "feature-0").railed.price > free.price_of(segment, "feature-0").railed.price


def test_features_are_short_together(learned: tuple[FeaturePosterior, Selections]) -> None:
    found = propose(learned, {"feature-0": 20, "feature-1": 25})
    assert [each.feature for each in found.shortages] == ["feature-0", "feature-1"]
    assert wanted(learned, found, "feature-0") == pytest.approx(20, rel=0.03)
    assert wanted(learned, found, "feature-1") == pytest.approx(25, rel=0.03)


def test_ample_supply_and_quotes_that_nobody_asks_for_change_nothing(
    learned: tuple[FeaturePosterior, Selections],
) -> None:
    free = propose(learned, {})
    assert propose(learned, {"feature-0": 400}) == free
    posterior, selections = learned
    idle = propose_epoch(
        posterior, selections, contexts(posterior), dict.fromkeys(posterior.features, FREE),
        epoch=1, seed=1, explore=False, stock=Stock({"feature-0": Supply(1, 10)}),
    )  # fmt: skip
    assert idle == free


def test_prices_of_what_is_short_stay_inside_their_rails(learned: tuple[FeaturePosterior, Selections]) -> None:
    """Nothing is left: the price would leave any bound, and goes one step."""
    rails = Rails(minimum_quotes=0, segment_ratio=None, jitter=D(0))
    found = propose(learned, {"feature-0": 0}, rails, last_price=D(4))
    assert found.shortages[0].supply.left == 0
    effect = found.effect
    assert effect is not None
    assert effect.at_list <= effect.proposed <= effect.wanted
    assert sum(effect.given_up.values()) == pytest.approx(effect.wanted - effect.proposed)
    for segment in learned[0].segments:
        price = found.price_of(segment, "feature-0").railed
        assert (price.price, price.hits[0].rail) == (D("4.4"), Rail.STEP)


def test_quotes_of_the_last_month_say_how_many_come_and_those_that_ran_out_take_no_stock() -> None:
    log = log_of(60).with_columns(
        quoted_at=pl.Series([NOON + timedelta(days=number) for number in range(60)]),
        segment=pl.Series(["a", "b", "b"] * 20),
        outcome=pl.Series(["accepted", "declined", "expired", "expired"] * 15),
    )
    until = NOON + timedelta(days=60)
    assert decided_a_day(log, until) == pytest.approx({"a": 10 * 0.5 / 30, "b": 20 * 0.5 / 30})
    young = decided_a_day(log.head(6), NOON + timedelta(days=6))
    assert young == pytest.approx({"a": 2 * 4 / 6 / 6, "b": 4 * 4 / 6 / 6})
    assert decided_a_day(log.head(1), NOON + timedelta(hours=1)) == {"a": 1.0}
    assert decided_a_day(log, NOON) == {}


@pytest.mark.parametrize(("left", "days"), [(-1, 30), (1, 0)])
def test_a_supply_of_less_than_nothing_is_refused(left: int, days: int) -> None:
    with pytest.raises(InvalidValueError, match="supply"):
        Supply(left, days)
