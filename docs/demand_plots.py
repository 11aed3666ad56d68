"""Draw the figures of demand.md: `python docs/demand_plots.py`. Simulated data, fixed seed."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from pricing_engine.demand.design import quote_design
from pricing_engine.demand.diagnostics import calibration
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Floats, Scale

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDER = Path(__file__).resolve().parent / "images"
COST = 2.0


def main() -> None:
    """Write images/demand_curve.png and images/demand_calibration.png."""
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    chosen = rng.integers(0, 2, (1_200, 3)).astype(float)
    price = np.exp(rng.normal(np.log(9), 0.4, 1_200))
    chance = 1 / (1 + np.exp(-(1 + chosen @ [0.4, 0.8, 1.2] - 0.3 * price)))
    accepted = (rng.random(1_200) < chance).astype(float)
    posterior = fit_posterior(quote_design(chosen, price, accepted, features=["api", "sso", "audit"]))
    _curve(posterior, rng)
    _calibration(chosen, price, accepted)


def _curve(posterior: FeaturePosterior, rng: np.random.Generator) -> None:
    grid = np.linspace(2, 25, 200)
    row, segment = np.tile([1.0, 1.0, 0.0], (200, 1)), np.zeros(200, dtype=np.int64)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for _ in range(60):
        curve = posterior.draw(rng).acceptance(row, grid, segment)
        left.plot(grid, curve, color="tab:blue", alpha=0.12, linewidth=0.8)
        right.plot(grid, (grid - COST) * curve, color="tab:blue", alpha=0.12, linewidth=0.8)
    curve = posterior.mode().acceptance(row, grid, segment)
    left.plot(grid, curve, color="black")
    right.plot(grid, (grid - COST) * curve, color="black")
    left.set(xlabel="price of api + sso", ylabel="chance of acceptance", ylim=(0, 1))
    right.set(xlabel="price of api + sso", ylabel="expected profit a quote")
    figure.savefig(FOLDER / "demand_curve.png", dpi=80)


def _calibration(chosen: Floats, price: Floats, accepted: Floats) -> None:
    half = len(price) // 2
    design = quote_design(chosen[:half], price[:half], accepted[:half], features=["api", "sso", "audit"])
    demand = fit_posterior(design, Scale.ADDITIVE).mode()
    segment = np.zeros(len(price) - half, dtype=np.int64)
    table = calibration(demand.acceptance(chosen[half:], price[half:], segment), accepted[half:])
    figure, axes = plt.subplots(figsize=(3.4, 3), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.plot([row.predicted for row in table.bins], [row.accepted for row in table.bins], "o", color="tab:blue")
    axes.set(xlabel="predicted", ylabel="accepted", xlim=(0, 1), ylim=(0, 1))
    figure.savefig(FOLDER / "demand_calibration.png", dpi=80)


if __name__ == "__main__":
    main()
