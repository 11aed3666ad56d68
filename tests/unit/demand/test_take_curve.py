"""The band holds the truth about as often as it says; too little data gives no curve, and the reason why."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from pricing_engine.demand.take_curve import TakeCurve, take_curve

PRICES = [Decimal(n) / 10 for n in range(60, 101, 5)]
QUOTES = 400


def truth(price: float) -> float:
    return float(1 / (1 + np.exp(0.5 * price - 4.4)))


def market(seed: int) -> TakeCurve:
    rng = np.random.default_rng(seed)
    posted = [PRICES[i] for i in rng.integers(0, len(PRICES), QUOTES)]
    return take_curve(posted, [bool(rng.random() < truth(float(price))) for price in posted], 100)


def test_the_band_holds_the_truth_about_nine_times_in_ten() -> None:
    held = []
    for seed in range(40):
        middle = [point for point in market(seed).curve if 6 <= point.price <= 10]
        held.append(np.mean([point.low <= truth(point.price) <= point.high for point in middle]))
    assert 0.82 <= np.mean(held) <= 0.97


def test_the_curve_falls_and_lies_inside_its_band() -> None:
    found = market(1)
    rates = [point.mode for point in found.curve]
    assert rates == sorted(rates, reverse=True)
    assert all(0 <= point.low < point.mode < point.high <= 1 for point in found.curve)
    assert sum(each.quoted for each in found.seen) == found.quotes == QUOTES
    assert [each.price for each in found.seen] == PRICES


@pytest.mark.parametrize(
    ("posted", "taken", "lacking"),
    [([], [], "quotes"), ([Decimal(8)] * 99, [True] * 99, "quotes"), ([Decimal(8)] * 100, [True] * 100, "prices")],
)
def test_too_little_data_is_said_and_nothing_is_drawn(posted: list[Decimal], taken: list[bool], lacking: str) -> None:
    found = take_curve(posted, taken, 100)
    assert (found.curve, found.lacking) == ((), lacking)
    assert sum(each.taken for each in found.seen) == sum(taken)
