"""What an offer teaches, and which price to offer for it."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_engine.demand.information_directed import two_prices
from pricing_engine.demand.price_basis import Floats

SHARES = np.array([[0.6, 1.0, 0.2], [1.0, 0.5, 0.2], [0.6, 0.2, 1.0]])
"""Profit as a share of the most of each curve: at each price another curve has its best."""
CHANCES = np.array([[0.012, 0.01, 0.004], [0.03, 0.01, 0.004], [0.012, 0.01, 0.008]])
"""At the middle price all curves foretell the same outcomes."""


def repeated(values: Floats) -> Floats:
    return np.repeat(values, 100, axis=0)


def test_a_price_that_all_curves_foretell_alike_is_not_explored_where_few_accept() -> None:
    chosen = two_prices(repeated(SHARES), repeated(CHANCES), most=0.1)
    assert chosen.best == 0
    assert chosen.share == 0 or chosen.other != 1


@pytest.mark.parametrize("most", [0.1, 0.35, 1.0])
def test_no_more_offers_explore_than_may(most: float) -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        chance = draw.uniform(0.001, 0.2, (64, 12))
        assert two_prices(chance * draw.uniform(1.0, 9.0, 12), chance, most=most).share <= most + 1e-9


def test_certainty_offers_the_best_price_alone() -> None:
    chance = np.tile([0.4, 0.3, 0.1], (10, 1))
    chosen = two_prices(chance * [1.0, 2.0, 3.0], chance, most=0.2)
    assert (chosen.best, chosen.share * (chosen.other - chosen.best)) == (1, 0)
