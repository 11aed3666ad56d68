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


def draw(folder: Path, markets: Sequence[str]) -> None:
    """Write images/regret.png: a panel a market, a line a policy, for those with a file in `folder`."""
    files = [file for name in markets for file in folder.glob(f"{name}.*000.json") if not file.stem.endswith("1000")]
    if not files:
        return
    rows = -(-len(files) // _COLUMNS)
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(3.4 * _COLUMNS, 2.6 * rows), squeeze=False)
    for axis, file in zip(axes.flat, files, strict=False):
        market, offers = file.stem.split(".")
        for policy, regret in json.loads(file.read_text()).items():
            times = np.linspace(0, int(offers), len(regret))
            axis.plot(times, regret, label=policy, lw=2 if policy == "ours" else 1)
        axis.set_title(market.replace("_", " "), fontsize=10)
        axis.set_ylim(0, 0.3)
    for axis in axes.flat[len(files) :]:
        axis.axis("off")
    axes[0, 0].set_ylabel("regret, share of all possible profit")
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)
    plt.close(figure)
