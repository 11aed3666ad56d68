"""Which price to offer next: the one that buys knowledge at the best rate (information-directed sampling).

Over sampled demand curves, a price costs its expected regret and teaches what knowing the best price would change of
what is expected there. The chance of exploring minimises regret^2 / information (Russo & Van Roy 2014/2018), whose
minimum needs two prices only: here the one that earns most and one other. Unlike Thompson sampling it does not offer
a price that teaches nothing, and it needs no horizon.

Where acceptances are common, information is the variance of the expected profit. Where they are rare, profits are
taken as shares of what each curve could earn, and a share differs between curves also where all of them foretell
the same outcomes, so that offers there would teach nothing. Hence the rarer they are, the more counts the mutual
information of the best price and the outcome itself, and the fewer offers explore.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_engine.demand.price_basis import Floats

_SHARES = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True, slots=True)
class TwoPrices:
    """Offer price number `best`, and with chance `share` number `other` instead."""

    best: int
    other: int
    share: float


def two_prices(profit: Floats, chance: Floats, most: float) -> TwoPrices:
    """Choose among G prices by their profit and chance of acceptance (S, G) under S equally likely demand curves.

    `most`: the largest share of offers that may explore, 0 to 1; what is short of 1 is the weight of the mutual
    information. Chances lie between 0 and 1, exclusive.
    """
    mean = profit.mean(axis=0)
    regret = float(profit.max(axis=1).mean()) - mean
    information = _information(profit, chance, most)
    best = int(regret.argmin())
    shares = _SHARES[most + 1e-9 >= _SHARES]
    costs = (1.0 - shares) * regret[best] + shares * regret[:, None]
    gains = (1.0 - shares) * information[best] + shares * information[:, None]
    ratio = costs**2 / np.maximum(gains, np.finfo(np.float64).tiny)
    other, share = np.unravel_index(int(ratio.argmin()), ratio.shape)
    return TwoPrices(best, int(other), float(shares[share]))


def _information(profit: Floats, chance: Floats, most: float) -> Floats:
    """Return what each price (G,) would teach: variance ** most * mutual information ** (1 - most)."""
    best = profit.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    _, starts, counts = np.unique(best[order], return_index=True, return_counts=True)
    share = counts / len(profit)
    expected, mean = _known(profit, order, starts, counts), profit.mean(axis=0)
    # Never quite zero, so that certainty divides zero by something.
    variance = np.asarray(share @ (expected - mean) ** 2 + 1e-12 * float(mean.max()) ** 2 + 1e-300)
    if most >= 1.0:
        return variance
    taken, mean = _known(chance, order, starts, counts), chance.mean(axis=0)
    gain = taken * np.log(taken / mean) + (1.0 - taken) * np.log((1.0 - taken) / (1.0 - mean))
    return np.asarray(variance**most * (share @ gain + 1e-12) ** (1.0 - most))


def _known(values: Floats, order: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats:
    """Return what `values` (S, G) are expected to be once the best price is known (groups, G)."""
    return np.asarray(np.add.reduceat(values[order], starts, axis=0) / counts[:, None])
