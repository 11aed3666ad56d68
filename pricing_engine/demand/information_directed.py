"""Which of two prices to offer: the one that earns most, and one that buys knowledge at the best rate.

Over sampled demand curves, a price costs its expected regret and teaches what knowing the best price would change of
what is expected there: the variance of its expected profit. The chance of exploring minimises regret^2 / information
(information-directed sampling, Russo & Van Roy 2014/2018), whose minimum needs two prices only. Unlike Thompson
sampling it does not offer a price that teaches nothing, and it needs no horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing_engine.demand.price_basis import Floats

_SHARES = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True, slots=True)
class TwoPrices:
    """Offer price number `best`, and with chance `share` number `other` instead, to about `count` customers at most."""

    best: int
    other: int
    share: float
    count: float = np.inf

    def share_of(self, offers: int) -> float:
        """Return the chance of the other price where so many are offered at once."""
        return min(self.share, self.count / max(offers, 1))


def two_prices(profit: Floats) -> TwoPrices:
    """Choose among G prices by their profit (S, G) under S equally likely demand curves."""
    mean = profit.mean(axis=0)
    regret = float(profit.max(axis=1).mean()) - mean
    information = _information(profit)
    best = int(regret.argmin())
    costs = (1.0 - _SHARES) * regret[best] + _SHARES * regret[:, None]
    gains = (1.0 - _SHARES) * information[best] + _SHARES * information[:, None]
    ratio = costs**2 / np.maximum(gains, np.finfo(np.float64).tiny)
    other, share = np.unravel_index(int(ratio.argmin()), ratio.shape)
    return TwoPrices(best, int(other), float(_SHARES[share]))


def _information(profit: Floats) -> Floats:
    """Return the variance of each price's (G,) expected profit once the best price is known."""
    best = profit.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    _, starts, counts = np.unique(best[order], return_index=True, return_counts=True)
    expected = np.add.reduceat(profit[order], starts, axis=0) / counts[:, None]
    mean = profit.mean(axis=0)
    # Never quite zero, so that certainty divides zero by something.
    return np.asarray(counts / len(profit) @ (expected - mean) ** 2 + 1e-12 * float(mean.max()) ** 2 + 1e-300)
