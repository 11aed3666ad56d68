"""The posterior over demand curves believes what Bayes' rule says, however often its curves were renewed."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from pricing_engine.demand.curve_posterior import CurvePosterior
from pricing_engine.demand.curve_prior import UNINFORMED
from pricing_engine.demand.demand_curves import PriceGrid
from pricing_engine.demand.price_basis import Floats

GRID = PriceGrid(1.0, 12.0, 96)
PARTS = 30
CHEAP, DEAR = 2.2, 4.0
CHEAP_OFFERS, DEAR_OFFERS, TAKEN = 15, 3, 10
"""In each part; in all, of the cheap ones. Too few to ask whether the market changed."""
AT_ONCE = 100


def above_cheap(chance: Floats, weight: Floats) -> float:
    """Return the chance that the price which earns most, at no cost, is well above the cheap one."""
    best = GRID.prices[(GRID.prices * chance).argmax(axis=1)]
    return float(weight @ (best > 1.3 * CHEAP))


def test_renewed_curves_are_believed_as_much_as_the_outcomes_say() -> None:
    posterior = CurvePosterior(GRID, np.random.default_rng(4))
    price = np.repeat([CHEAP, DEAR], [CHEAP_OFFERS, DEAR_OFFERS])
    for part in range(PARTS):
        accepted = np.zeros(len(price))
        accepted[0] = part % 3 == 0
        posterior.observe(price, accepted)
    assert len(posterior.began) == 1
    assert posterior.rarer == TAKEN

    curves = GRID.curves(*UNINFORMED.draw(50_000, np.random.default_rng(5)))
    cheap, dear = (np.array([np.interp(at, GRID.prices, row) for row in curves.chance]) for at in (CHEAP, DEAR))
    refused = PARTS * CHEAP_OFFERS - TAKEN
    log_weight = TAKEN * np.log(cheap) + refused * np.log1p(-cheap) + PARTS * DEAR_OFFERS * np.log1p(-dear)
    weight = np.exp(log_weight - log_weight.max())
    expected = above_cheap(curves.chance, weight / weight.sum())
    assert abs(above_cheap(posterior.curves.chance, posterior.weight) - expected) < 0.05


def test_after_a_change_there_are_likely_curves_again() -> None:
    """No old curve is near the new truth; a posterior of two or three curves would be far too sure of them."""
    rng = np.random.default_rng(6)
    posterior = CurvePosterior(GRID, np.random.default_rng(7))
    for worth, parts in ((1.0, 150), (1.6, 8)):
        for _ in range(parts):
            price = rng.choice([2.5, 3.5, 5.0], AT_ONCE)
            posterior.observe(price, (rng.random(AT_ONCE) < expit(3.2 - 0.8 * price / worth)).astype(np.float64))

    assert 1.0 / float(posterior.weight @ posterior.weight) > 200
    expected = np.interp(5.0, GRID.prices, posterior.sample(400)[0].chance.mean(axis=0))
    assert abs(expected - expit(3.2 - 0.8 * 5.0 / 1.6)) < 0.05
