"""The optimum against brute force and against SciPy's own Lambert W."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import lambertw

from pricing_engine.demand.design import quote_design
from pricing_engine.demand.optimum import lambert_w_of_exp, optimal_prices
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from tests.unit.demand.worlds import world


def test_lambert_w_of_exp_is_accurate_and_does_not_overflow() -> None:
    z = np.linspace(-20, 300, 2001)
    np.testing.assert_allclose(lambert_w_of_exp(z), lambertw(np.exp(z)).real, rtol=1e-13)
    huge = np.array([1e3, 1e6, 1e12])
    w = lambert_w_of_exp(huge)
    np.testing.assert_allclose(w + np.log(w), huge, rtol=1e-14)


@pytest.mark.parametrize("scale", list(Scale))
def test_the_optimum_is_the_best_of_a_fine_grid(scale: Scale) -> None:
    rng = np.random.default_rng(1)
    design = world(rng, features=3, segments=2).quotes(rng, 2_000)
    demand = fit_posterior(design, scale).draw(rng)
    chosen = (rng.random((50, 3)) < 0.5).astype(float)
    segment, cost, highest = rng.integers(0, 2, 50), rng.uniform(0.0, 4, 50), np.full(50, 60.0)
    found = optimal_prices(demand, chosen, cost, segment, highest)
    grid = np.exp(np.linspace(np.log(0.01), np.log(60), 4000))

    def profit(price: np.ndarray, i: int) -> np.ndarray:
        repeated = np.full(len(price), segment[i])
        return (price - cost[i]) * demand.acceptance(np.tile(chosen[i], (len(price), 1)), price, repeated)

    for i in range(50):
        assert profit(found[i : i + 1], i)[0] >= profit(grid, i).max() * (1 - 1e-6)
        assert cost[i] <= found[i] <= 60.0


def test_where_demand_hardly_falls_the_price_stops_at_the_cap() -> None:
    rng = np.random.default_rng(2)
    price = rng.uniform(2, 20, 300)
    design = quote_design(np.zeros((300, 0)), price, (rng.random(300) < 0.3).astype(float), features=[])
    for scale in Scale:
        demand = fit_posterior(design, scale).mode()
        found = optimal_prices(demand, np.zeros((1, 0)), np.ones(1), np.zeros(1, dtype=np.int64), np.array([7.5]))
        assert found[0] == pytest.approx(7.5, rel=1e-4)
