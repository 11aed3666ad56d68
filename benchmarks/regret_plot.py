"""The plot of regret over time, from what benchmarks/pricing_markets.py kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

PLOT = Path(__file__).resolve().parent / "images" / "regret.png"
_COLUMNS = 4


def _offers(file: Path) -> int:
    return int(file.stem.split(".")[1])


def draw(folder: Path, markets: Sequence[str]) -> None:
    """Write images/regret.png: a panel a market, its longest run in `folder`, and a line a policy."""
    found = ([*folder.glob(f"{name}.*.json")] for name in markets)
    files = [max(of_market, key=_offers) for of_market in found if of_market]
    if not files:
        return
    rows = -(-len(files) // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(3.4 * _COLUMNS, 2.6 * rows), squeeze=False)
    for axis, file in zip(axes.flat, files, strict=False):
        for policy, regret in json.loads(file.read_text()).items():
            times = np.linspace(0, _offers(file), len(regret))
            axis.plot(times, regret, label=policy, lw=2 if policy == "ours" else 1)
        axis.set_title(file.stem.split(".")[0].replace("_", " "), fontsize=10)
        axis.locator_params(axis="x", nbins=4)
        axis.set_ylim(0, 0.3)
    for axis in axes.flat[len(files) :]:
        axis.axis("off")
    axes[0, 0].set_ylabel("regret, share of all possible profit")
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)
