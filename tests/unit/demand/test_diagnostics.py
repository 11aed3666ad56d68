"""Each check must raise its flag on the fault it is for, and keep quiet otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricing_engine.demand.design import LoggedQuotes, QuoteDesign, quote_design
from pricing_engine.demand.diagnostics import (
    Verdict,
    calibration,
    confounding,
    drift,
    expiry_rises_with_price,
    placebo,
    price_effect,
)
from tests.unit.demand.worlds import world


def test_a_placebo_price_is_seen_as_no_effect_in_nine_of_ten_logs() -> None:
    contains = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        price = rng.uniform(2, 20, 400)
        design = quote_design(np.zeros((400, 0)), price, (rng.random(400) < 0.3).astype(float), features=[])
        effect = price_effect(design)
        contains.append(effect.low <= 0 <= effect.high)
    assert 0.86 <= np.mean(contains) <= 0.94


def test_a_true_effect_is_seen_and_vanishes_when_prices_are_dealt_anew() -> None:
    rng = np.random.default_rng(1)
    design = world(rng, segments=3).quotes(rng, 4000)
    assert price_effect(design).seen
    assert not any(placebo(one_by_one(design), np.random.default_rng(seed)).seen for seed in range(20))


def one_by_one(design: QuoteDesign) -> LoggedQuotes:
    """Return the quotes of a design in which no two are alike."""
    assert np.all(design.offered == 1)
    nothing = np.zeros(len(design.price))
    return LoggedQuotes(
        tuple(design.features), tuple(design.segments), design.chosen, design.segment, design.price, nothing,
        design.accepted, nothing,
    )  # fmt: skip


def test_clean_logs_show_no_effect_of_prices_dealt_anew_nor_do_those_with_many_quotes_at_one_price() -> None:
    """One deal of each would see an effect in about ten of a hundred clean logs, and where prices are few in more."""
    seen = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        price = rng.uniform(2, 20, 400)
        price[: 200 * (seed % 2)] = 4.0  # Half of the customers are held out on the list price, and buy more.
        accepted = (rng.random(400) < 1 / (1 + np.exp(2.0 * np.log(price / 8)))).astype(float)
        nothing = np.zeros(400)
        quotes = LoggedQuotes(
            (), ("all",), np.zeros((400, 0)), np.zeros(400, dtype=np.int64), price, nothing, accepted, nothing
        )
        found = placebo(quotes, rng)
        seen.append(found.seen or found.wrong_sign)
    assert not any(seen)


def confounded_log(
    rng: np.random.Generator, known_to_seller: float, noise: float = 0.0
) -> tuple[LoggedQuotes, np.ndarray]:
    """Sellers ask more of customers whom they see to be keen; keenness is not in the log."""
    count = 6000
    keen, jitter = rng.standard_normal(count), rng.uniform(-0.25, 0.25, count)
    chosen = (rng.random((count, 2)) < 0.5).astype(float)
    price = 8 * np.exp(known_to_seller * keen + noise * rng.standard_normal(count) + jitter)
    log_odds = 1 + chosen @ [0.4, 0.8] + 1.2 * keen - 3 * np.log(price / 8)
    accepted = (rng.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
    nothing = np.zeros(count, dtype=np.int64)
    quotes = LoggedQuotes(
        ("a", "b"), ("all",), chosen, nothing, price, np.ones(count), accepted, np.full(count, np.nan)
    )
    return quotes, jitter[:, None]


def test_a_confounded_log_is_flagged_and_its_naive_slope_is_wrong() -> None:
    quotes, jitter = confounded_log(np.random.default_rng(2), known_to_seller=0.3)
    found = confounding(quotes, jitter)
    assert found.verdict is Verdict.CONFOUNDED
    assert found.flagged
    assert found.naive > -1.0  # Far from the truth; with keenness unseen, -3 shrinks to about -2.5.
    assert -3.3 < found.corrected < -1.9


def test_quotes_that_cost_nothing_say_nothing_of_price() -> None:
    """Every second quote is free: the verdict is that of the others, and no figure is lost to the log of nothing."""
    paid, jitter = confounded_log(np.random.default_rng(2), known_to_seller=0.3)
    free = np.arange(len(paid.price)) % 2 == 0
    quotes = replace(paid, price=np.where(free, 0.0, paid.price))

    def of(rows: np.ndarray) -> QuoteDesign:
        return quote_design(quotes.chosen[rows], quotes.price[rows], quotes.accepted[rows], features=["a", "b"])

    assert price_effect(of(np.ones_like(free))) == price_effect(of(~free))
    assert not np.isnan(placebo(quotes, np.random.default_rng(1)).effect)
    assert confounding(quotes, jitter).verdict is Verdict.CONFOUNDED
    assert confounding(quotes, None).verdict is Verdict.UNTESTABLE
    nothing = price_effect(of(free))
    assert (nothing.seen, nothing.wrong_sign) == (False, False)
    assert confounding(replace(quotes, price=np.zeros(len(free))), jitter).verdict is Verdict.UNTESTABLE


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_clean_log_is_cleared_nineteen_times_in_twenty(noise: float) -> None:
    """Prices that also move by themselves, but not with demand, do not confound."""
    verdicts = [
        confounding(*confounded_log(np.random.default_rng(seed), known_to_seller=0.0, noise=noise)).verdict
        for seed in range(40)
    ]
    assert verdicts.count(Verdict.CLEAR) >= 38


def test_a_log_without_an_instrument_cannot_be_cleared() -> None:
    quotes, jitter = confounded_log(np.random.default_rng(3), known_to_seller=0.3)
    assert confounding(quotes, None).verdict is Verdict.UNTESTABLE
    noise = np.random.default_rng(4).standard_normal(jitter.shape)
    weak = confounding(quotes, noise)
    assert weak.verdict is Verdict.UNTESTABLE
    assert weak.flagged


def test_calibration_is_perfect_for_the_truth_and_shows_overconfidence() -> None:
    rng = np.random.default_rng(5)
    log_odds = rng.normal(0, 1, 20_000)
    accepted = (rng.random(20_000) < 1 / (1 + np.exp(-log_odds))).astype(float)
    true, sure = (calibration(1 / (1 + np.exp(-scale * log_odds)), accepted) for scale in (1, 2))
    assert true.slope == pytest.approx(1, abs=0.06)
    assert true.expected_error < 0.015
    assert sure.slope == pytest.approx(0.5, abs=0.04)
    assert sure.expected_error > 0.05
    assert true.log_score > sure.log_score
    assert true.by_chance == pytest.approx(true.expected_error, abs=0.005)
    assert sum(row.quotes for row in true.bins) == 20_000


def test_few_quotes_do_not_make_right_predictions_wrong() -> None:
    """With 200 quotes ten bins of twenty are off by nine points by chance alone."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(200):
        predicted = rng.uniform(0.2, 0.8, 200)
        right = calibration(predicted, (rng.random(200) < predicted).astype(float))
        wrong = calibration(predicted, (rng.random(200) < 1 - predicted).astype(float))
        assert right.expected_error > 0.03
        assert wrong.excess_error > 0.05
        found.append(right.excess_error)
    assert abs(float(np.mean(found))) < 0.01
    assert float(np.mean(np.array(found) > 0.05)) < 0.03


def test_drift_alarms_after_a_jump_and_not_before() -> None:
    rng = np.random.default_rng(6)
    predicted = np.full(5_050, 0.5)
    truth = np.where(np.arange(5_050) < 3_000, 0.5, 0.25)
    state = drift(predicted, (rng.random(5_050) < truth).astype(float))
    assert len(state.z) == 50
    assert state.alarmed
    assert min(state.alarms) >= 30
    assert len(state.alarms) >= 15


def test_expiry_as_quiet_refusal_is_seen() -> None:
    rng = np.random.default_rng(7)
    price = rng.uniform(2, 20, 3000)
    quiet = expiry_rises_with_price(price, (rng.random(3000) < price / 25).astype(float))
    idle = expiry_rises_with_price(price, (rng.random(3000) < 0.3).astype(float))
    assert quiet.interval(1)[0] > 0
    assert idle.interval(1)[0] < 0
