"""Which price to try next: the one after which most is earned, if demand lasts as long again as it has lasted.

A trial of a price by so many customers costs what the best price would have earned more. It gains what can be expected
of the best price once its outcome is known, over all offers to come (the knowledge gradient: Frazier, Powell & Dayanik
2008; by numbers of customers, as one sale of a rare one teaches little: Frazier & Powell 2010). Only what offers at the
best price would not have taught as well counts. How many offers are to come is not known: a curve that has been true
for n of them is expected to be for n more (Gott 1993), so that what changed lately, or drifts, repays no long trial.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from pricing_engine.demand.information_directed import TwoPrices
from pricing_engine.demand.price_basis import Floats

_SIZES = np.array([0.02, 0.06, 0.2, 0.5])
"""How many customers a trial may have, as shares of the offers to come."""
_TRIED_EVERY, _JUDGED_EVERY = 5, 2
"""Every fifth price of the grid is considered for a trial, and every other one for what is offered after it."""
_SALES_AT = np.array([0.15, 0.4, 0.65, 0.8, 0.9, 0.95, 0.98, 0.995])
"""Quantiles of the sales of a trial between which its outcomes count as one, finer above: many sales at a price from
which little was expected are what changes plans."""
_GOLDEN = 0.6180339887498949


def trial(profit: Floats, chance: Floats, to_come: Floats) -> TwoPrices:
    """Choose among G prices by profit and chance of acceptance (S, G) under S equally likely demand curves.

    `to_come` (S,): for how many offers each of the curves is expected to last. The share is 0 where no trial pays.
    """
    size, grid = profit.shape
    mean, offers = profit.mean(axis=0), float(to_come.mean())
    best = int(mean.argmax())
    tried = np.arange(best % _TRIED_EVERY, grid, _TRIED_EVERY)
    judged = profit[:, best % _JUDGED_EVERY :: _JUDGED_EVERY] * (to_come / (offers * size))[:, None]
    counts = np.maximum(_SIZES * offers, 1.0)
    after = expected_most(judged, chance[:, tried], counts)
    known_anyway = after[:, best // _TRIED_EVERY, None]
    gain = (offers - counts)[:, None] * (after - known_anyway) - counts[:, None] * (mean[best] - mean[tried])
    of_size, which = np.unravel_index(int(gain.argmax()), gain.shape)
    pays = bool(gain[of_size, which] > 0.0)
    return TwoPrices(best, int(tried[which]), float(pays), float(counts[of_size]))


def expected_most(profit: Floats, chance: Floats, counts: Floats) -> Floats:
    """Return (N, X): what is expected of the best price once the outcome of a trial is known.

    `profit` (S, G): of each price under each curve, times the curve's weight. `chance` (S, X): of acceptance at the
    prices tried. `counts` (N,): customers of the trial. Sales are binomial, by the arcsine transform that makes them
    normal (Anscombe 1948), with the normal distribution by its tanh approximation (Page 1977, .0002): a trial of no
    use comes out as exactly that, since the chances of the outcomes sum to one under each curve.
    """
    size = len(chance)
    angle = np.arcsin(np.sqrt(chance.T))
    precision = 2.0 * np.sqrt(counts)
    noise = ndtri(np.arange(1, size + 1) * _GOLDEN % 1.0)
    seen = np.sort((angle + noise / precision[:, None, None]).astype(np.float32), axis=-1)
    share = np.sin(np.clip(seen[..., (_SALES_AT * size).astype(np.int64)], 0.0, np.pi / 2)) ** 2
    customers = counts[:, None, None]
    sales = np.floor(share * customers)
    edge = np.arcsin(np.sqrt(np.minimum((sales + 0.75) / (customers + 0.75), 1.0)))
    z = (precision[:, None, None, None] * (edge[..., None] - angle[:, None, :])).astype(np.float32)
    at_most = np.tanh(np.sqrt(2.0 / np.pi).astype(np.float32) * z * (1.0 + 0.044715 * z * z))
    outcome = 0.5 * np.diff(at_most, axis=2, prepend=np.float32(-1.0), append=np.float32(1.0))
    most = (outcome.reshape(-1, size) @ profit.astype(np.float32)).max(axis=1)
    return np.asarray(most.reshape(outcome.shape[:-1]).sum(axis=-1), dtype=np.float64)
