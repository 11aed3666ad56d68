"""What adaptive prices earn of what one who knows demand would, cold start, one setting for every market.

A row is the mean over fresh seeds plus two standard errors, beside plain policies in the same run; mean, tenth
percentile and worst run are in its facts. `--full` adds T = 100,000.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial

import numpy as np

from benchmarks.harness import OUT, Benchmark, Clock, LegRun, Options, Value, run
from benchmarks.pricing_baselines import BASELINES
from pricing_engine.demand.markets import MARKETS, Market, Pricer, Sales, sell
from pricing_engine.demand.policy import AdaptivePricer
from pricing_engine.demand.price_basis import Floats

SEED = 20_261_125
RUNS = {
    100: (50, 1),
    500: (50, 1),
    1_000: (50, 1),
    2_000: (20, 1),
    5_000: (20, 10),
    10_000: (20, 10),
    100_000: (8, 100),
}
"""Offers -> runs, batch."""
BARS: dict[tuple[str, int], float | None] = {
    ("linear", 100): 0.90,
    ("logit", 100): 0.90,
    ("lognormal", 100): 0.90,
    ("linear", 1_000): 0.96,
    ("linear", 10_000): 0.985,
    ("linear", 100_000): 0.995,
    ("logit", 1_000): 0.95,
    ("logit", 10_000): 0.985,
    ("logit", 100_000): 0.996,
    ("lognormal", 1_000): 0.93,
    ("lognormal", 10_000): 0.978,
    ("lognormal", 100_000): 0.994,
    ("bimodal", 1_000): 0.85,
    ("bimodal", 10_000): 0.955,
    ("bimodal", 100_000): 0.988,
    ("jumps", 1_000): 0.84,
    ("jumps", 10_000): 0.958,
    ("jumps", 100_000): 0.992,
    ("waves", 10_000): 0.94,
    ("features8", 500): 0.964,
    ("features8", 5_000): 0.992,
    ("capacity", 1_000): 0.981,
    ("capacity", 10_000): 0.997,
    ("exponential", 2_000): None,
    ("kinked", 2_000): None,
    ("two_segments", 2_000): None,
    ("three_percent", 2_000): None,
    ("wide_range", 2_000): None,
    ("small_change", 2_000): None,
}
WORST_BAR = 0.75
"""No run of 2,000 offers may earn less."""
_POINTS = 50
WITH_CATEGORY = 100
"""Runs of so many offers know the logs of five earlier products, whose prices were spread over the range."""
_PRODUCTS, _LOGGED, _WORTH_SPREAD = 5, 400, 0.2


def ours(market: Market, offers: int, seed: int, category: Sequence[tuple[Floats, Floats]] = ()) -> Pricer:
    """Return our pricer as anyone would make it."""
    stock = None if market.stock_share is None else int(market.stock_share * offers)
    return AdaptivePricer(
        market.price_range,
        market.unit_cost,
        n_features=market.n_features,
        capacity=stock,
        horizon=offers if stock else None,
        seed=seed,
        category=category,
    )


def earlier_products(market: Market, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    """Return the prices and outcomes of products like the market's, worth more or less by about a fifth."""
    logs = []
    for _ in range(_PRODUCTS):
        worth = np.exp(_WORTH_SPREAD * rng.standard_normal())
        price = np.exp(rng.uniform(np.log(market.price_range[0]), np.log(market.price_range[1]), _LOGGED))
        chance = market.acceptance(price / worth, np.zeros(_LOGGED), np.empty((_LOGGED, 0)))
        logs.append((price, (rng.random(_LOGGED) < chance).astype(np.float64)))
    return logs


def leg_of(name: str, offers: int) -> Callable[[Clock], object]:
    """Return the leg that runs every policy through one market, a process a core."""

    def leg(clock: Clock) -> object:
        runs, batch = RUNS[offers]
        runs = 2 if clock.options.small else runs
        regret: dict[str, list[float]] = {}
        shares: list[float] = []
        with ProcessPoolExecutor() as pool:
            for policy in ("ours", *BASELINES):
                one = partial(_sales, name, offers, batch, policy)
                with clock if policy == "ours" else nullcontext():
                    sales = list(pool.map(one, range(runs)))
                regret[policy] = _regret(sales)
                if policy == "ours":
                    shares = [sale.share for sale in sales]
                else:
                    clock.facts[policy] = float(np.mean([sale.share for sale in sales]))
        clock.facts |= {
            "mean": float(np.mean(shares)),
            "standard_error": float(np.std(shares, ddof=1) / np.sqrt(runs)),
            "p10": float(np.quantile(shares, 0.1)),
            "worst": float(np.min(shares)),
        }
        _keep_regret(name, offers, regret)
        return [round(share, 9) for share in shares]

    return leg


def _sales(name: str, offers: int, batch: int, policy: str, number: int) -> Sales:
    """Run one policy once through a market; the same number meets the same market and customers."""
    seed = [SEED, offers, number]
    market = MARKETS[name](np.random.default_rng(seed))
    if policy == "ours":
        category = earlier_products(market, np.random.default_rng([*seed, 2])) if offers == WITH_CATEGORY else ()
        pricer = ours(market, offers, number, category)
    else:
        pricer = BASELINES[policy](market, number)
    return sell(market, pricer, offers, np.random.default_rng([*seed, 1]), batch)


def _regret(sales: list[Sales]) -> list[float]:
    """Return the mean regret so far, as a share of what was possible in all, at evenly spaced times."""
    lost = np.mean([np.cumsum(sale.possible - sale.earned) / sale.possible.sum() for sale in sales], axis=0)
    return [float(lost[at]) for at in np.linspace(0, len(lost) - 1, _POINTS).astype(int)]


def _keep_regret(name: str, offers: int, regret: dict[str, list[float]]) -> None:
    folder = OUT / "regret"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{offers}.json").write_text(json.dumps(regret))


def plot(options: Options) -> None:
    """Draw images/regret.png from the longest run of each market."""
    from benchmarks.regret_plot import draw

    if not options.small:
        draw(OUT / "regret", [name for name, offers in BARS if offers in (5_000, 10_000)])


def mean_plus_two_errors(leg: LegRun) -> float:
    """Return the figure that must reach the bar."""
    return leg.facts["mean"] + 2 * leg.facts["standard_error"]


def _row(name: str, offers: int, bar: float | None) -> Value:
    worst_counts = bar is None
    return Value(
        f"demand.{name}.{offers}",
        f"{name}_{offers}",
        "of clairvoyant",
        bar=WORST_BAR if worst_counts else bar,
        better="higher",
        of=(lambda leg: leg.facts["worst"]) if worst_counts else mean_plus_two_errors,
        rounds=1,
        how=f"{RUNS[offers][0]} runs, batches of {RUNS[offers][1]}: "
        + ("the worst run's share" if worst_counts else "mean share + 2 s.e.")
        + (", five earlier products known" if offers == WITH_CATEGORY else ""),
        full_only=offers == 100_000,
    )


BENCHMARK = Benchmark(
    legs={f"{name}_{offers}": leg_of(name, offers) for name, offers in BARS},
    rows=[_row(name, offers, bar) for (name, offers), bar in BARS.items()],
    cleanup=plot,
    warm_up=False,
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
