"""What no rail says of one price alone: the ratio between segments, and the rungs of the ladder.

The ratio confines all segments of a feature to one window [m, ratio * m]. Where m lies decides what each segment gives
up, so it is chosen by expected profit, and so is the rung a price goes to: what one price lost by going down, the next
may win back by going up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from pricing_engine.demand.epoch_market import EpochMarket
from pricing_engine.demand.guardrails import PriceLadder, Rail, RailHit, Rails
from pricing_engine.demand.price_basis import Floats

Window = tuple[Decimal, Decimal]
Hits = dict[Rail, RailHit]

_ROUNDS = 2
_WINDOWS = 25
_SWEEPS = 4
_LEAST_GAIN = 1e-12


@dataclass(frozen=True, slots=True)
class SettledTogether:
    """Of G markets and P features: `prices` (G, P) best inside the ratios, `rungs`, and by what `hits` they moved."""

    prices: Floats
    rungs: list[list[Decimal]]
    hits: list[list[Hits]]


def settle_together(
    markets: Sequence[EpochMarket], rails: Sequence[Rails], prices: Floats, low: Floats, high: Floats
) -> SettledTogether:
    """Settle prices, which are best within `low`, `high` (all (G, P)), on ratios and ladders."""
    within, windows = best_windows(markets, rails, prices, low, high)
    rungs = best_rungs(markets, rails, within, windows, low, high)
    hits = [
        [_hits(prices[g, k], within[g, k], of[k], window) for k, window in enumerate(windows)]
        for g, of in enumerate(rungs)
    ]
    return SettledTogether(within, rungs, hits)


def _hits(wanted: float, within: float, rung: Decimal, window: Window | None) -> Hits:
    before, settled, hits = _decimal(wanted), _decimal(within), Hits()
    for edge in window or ():
        if _decimal(float(edge)) == settled != before:
            hits[Rail.SEGMENT_RATIO] = RailHit(Rail.SEGMENT_RATIO, edge, before, settled)
    if rung != settled:
        hits[Rail.LADDER] = RailHit(Rail.LADDER, rung, settled, rung)
    return hits


def best_windows(
    markets: Sequence[EpochMarket], rails: Sequence[Rails], prices: Floats, low: Floats, high: Floats
) -> tuple[Floats, list[Window | None]]:
    """Return the best prices (G, P) that also keep each feature's ratio, and the window of each feature (P,).

    `prices` (G, P) are best within `low`, `high`. None where there is no ratio to keep, or no window that could.
    """
    windows: list[Window | None] = [None] * prices.shape[1]
    current = prices.copy()
    for _ in range(_ROUNDS if len(markets) > 1 else 0):
        moved = current.copy()
        for k, rail in enumerate(rails):
            windows[k] = _best_window(markets, rail.segment_ratio, rail.ladder, moved, prices, low, high, k)
            moved[:, k] = _in_window(prices[:, k], windows[k])
        if np.array_equal(moved, prices):
            return prices, windows
        floors, caps = _confined(low, high, windows)
        current = np.array([market.optimum(floors[g], caps[g]) for g, market in enumerate(markets)])
    return current, windows


def _confined(low: Floats, high: Floats, windows: Sequence[Window | None]) -> tuple[Floats, Floats]:
    """Return bounds (G, P) that also keep to the windows (P,)."""
    floors, caps = low.copy(), high.copy()
    for k, window in enumerate(windows):
        if window is not None:
            free = low[:, k] < high[:, k]
            floors[free, k] = np.maximum(low[free, k], float(window[0]))
            caps[free, k] = np.minimum(high[free, k], float(window[1]))
    return floors, caps


def best_rungs(
    markets: Sequence[EpochMarket],
    rails: Sequence[Rails],
    prices: Floats,
    windows: Sequence[Window | None],
    low: Floats,
    high: Floats,
) -> list[list[Decimal]]:
    """Return the rungs, near `prices` (G, P), that together earn most: from the nearest, one up or down after another.

    A feature's rungs move alone and in all segments at once. A price that may not move, or has no rung within its
    bounds, stays as it is.
    """
    floors, caps = _confined(low, high, windows)
    ends = [
        [_rungs_within(r.ladder, *bounds) for r, *bounds in zip(rails, *of, strict=True)]
        for of in zip(low, high, strict=True)
    ]
    chosen = [
        [_nearest(rail.ladder, *each) for rail, *each in zip(rails, *of, strict=True)]
        for of in zip(prices, floors, caps, strict=True)
    ]
    earned = _earned(markets, chosen)
    for _ in range(_SWEEPS):
        before = earned
        for k, rail in enumerate(rails):
            movable = [g for g, of in enumerate(ends) if of[k] is not None]
            for group in [[g] for g in movable] + [movable] * (len(movable) > 1):
                for step in (-rail.ladder.step, rail.ladder.step):
                    tried = [[*of] for of in chosen]
                    for g in group:
                        tried[g][k] += step
                    if _allowed([of[k] for of in tried], [of[k] for of in ends], rail.segment_ratio):
                        profit = _earned(markets, tried)
                        if profit > earned + _LEAST_GAIN * abs(earned):
                            chosen, earned = tried, profit
        if earned <= before:
            break
    return chosen


def _nearest(ladder: PriceLadder, price: float, low: float, high: float) -> Decimal:
    ends = _rungs_within(ladder, low, high)
    return _decimal(price) if ends is None else min(max(ladder.nearest(_decimal(price)), ends[0]), ends[1])


def _allowed(rungs: Sequence[Decimal], ends: Sequence[Window | None], ratio: Decimal | None) -> bool:
    inside = all(end is None or end[0] <= rung <= end[1] for rung, end in zip(rungs, ends, strict=True))
    return inside and (ratio is None or max(rungs) <= min(rungs) * ratio)


def _earned(markets: Sequence[EpochMarket], rungs: Sequence[Sequence[Decimal]]) -> float:
    return _value(markets, np.array(rungs, dtype=np.float64))


def _best_window(
    markets: Sequence[EpochMarket],
    ratio: Decimal | None,
    ladder: PriceLadder,
    current: Floats,
    prices: Floats,
    low: Floats,
    high: Floats,
    k: int,
) -> Window | None:
    """Return the window, from a rung on, in which feature `k` earns most beside `current` prices of the others.

    Where it can hold all prices as they are, they lie in its middle, so that there is room for jitter.
    """
    if ratio is None:
        return None
    cheapest, dearest = float(prices[:, k].min()), float(prices[:, k].max())
    starts = {ladder.nearest(_decimal(m)) for m in np.geomspace(cheapest, dearest / float(ratio), _WINDOWS)}
    fitting = [m for m in sorted(starts) if low[:, k].max() <= float(m * ratio) and 0 < float(m) <= high[:, k].min()]
    middle = (cheapest + dearest / float(ratio)) / 2

    def worth(m: Decimal) -> tuple[float, float]:
        tried = current.copy()
        tried[:, k] = _in_window(prices[:, k], (m, m * ratio))
        return _value(markets, tried), -abs(float(m) - middle)

    best = max(fitting, key=worth, default=None)
    return None if best is None else (best, best * ratio)


def _in_window(prices: Floats, window: Window | None) -> Floats:
    return prices if window is None else np.clip(prices, float(window[0]), float(window[1]))


def _rungs_within(ladder: PriceLadder, low: float, high: float) -> Window | None:
    if low == high:
        return None
    first = ladder.at_least(_decimal(low))
    last = ladder.at_most(_decimal(high)) if np.isfinite(high) else first + ladder.step * 10**9
    return None if last is None or last < first else (first, last)


def _decimal(price: float) -> Decimal:
    """Return a price in twelve significant digits: far below any ladder, and the same text on every machine."""
    return Decimal(f"{price:.12g}")


def _value(markets: Sequence[EpochMarket], prices: Floats) -> float:
    return float(np.mean([market.profit(prices[g]) for g, market in enumerate(markets)]))
