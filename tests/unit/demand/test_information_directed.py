"""What an offer teaches, and which price to offer for it."""

from __future__ import annotations

import numpy as np

from pricing_engine.demand.information_directed import two_prices


def test_a_price_that_all_curves_foretell_alike_is_not_explored() -> None:
    profit = np.repeat([[1.0, 0.4, 0.9], [1.0, 0.4, 0.1], [1.0, 0.4, 1.3]], 100, axis=0)
    chosen = two_prices(profit)
    assert (chosen.best, chosen.other) == (0, 2)
    assert 0 < chosen.share < 1


def test_certainty_offers_the_best_price_alone() -> None:
    chosen = two_prices(np.tile([0.4, 0.6, 0.3], (10, 1)))
    assert (chosen.best, chosen.share * (chosen.other - chosen.best)) == (1, 0)
