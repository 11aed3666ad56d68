"""A simulated month where demand responds: what the draft's prices would earn if they were offered anew. Pure.

A customer who accepted at today's price is, at the draft's, worth as many such customers as the chances of accepting
stand to each other: q(draft) / q(today), both under one draw of the posterior, over many draws. Usage stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from billing.simulation import Billing, Interval, SimulatedCustomer, SimulatedTotal, Simulation
from models.values.money import currency, from_minor
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.price_basis import Floats

_DRAWS = 200


def with_response(
    simulation: Simulation,
    posteriors: Mapping[str, FeaturePosterior],
    *,
    seed: int,
    draws: int = _DRAWS,
    priced_as: Callable[[str], str] = str,
) -> Simulation:
    """Return the simulation with expected amounts, by the `posteriors` of each currency; 90 percent intervals.

    Customers of a segment or with a feature that the model has not seen, those who pay nothing at today's or the
    draft's prices, and those who were there for a part of the month, whose bill is no price that anybody decides on,
    are taken as they were; totals say how many respond. `priced_as`: the segment whose prices one of
    another segment gets. The same seed gives the same result.
    """
    rng = np.random.default_rng(seed)
    customers: dict[int, SimulatedCustomer] = dict(enumerate(simulation.customers))
    totals = []
    for total in simulation.totals:
        posterior = posteriors.get(total.currency)
        own = [number for number, each in customers.items() if each.currency == total.currency]
        if posterior is None:
            totals.append(total)
            continue
        rows = [simulation.customers[number] for number in own]
        told_apart = [replace(each, segment=priced_as(each.segment)) for each in rows]
        ratios, responds = _ratios(told_apart, posterior, rng, draws)
        nets = np.array([_major(each.draft, each.currency) for each in rows])
        costs = np.array([sum(float(amounts.cost) for amounts in each.features.values()) for each in rows])
        for number, net, ratio, known in zip(own, nets, ratios.T, responds, strict=True):
            if known:
                customers[number] = replace(customers[number], expected=_interval(net * ratio))
        totals.append(_expected(total, ratios, nets, costs, int(responds.sum())))
    hashes = sorted({posterior.content_hash for posterior in posteriors.values()})
    return replace(simulation, customers=tuple(customers.values()), totals=tuple(totals), model_hash=" ".join(hashes))


def _expected(total: SimulatedTotal, ratios: Floats, nets: Floats, costs: Floats, responding: int) -> SimulatedTotal:
    return replace(
        total,
        expected=_interval(ratios @ nets),
        expected_margin=_interval(ratios @ (nets - costs)),
        responding=responding,
    )


def _ratios(
    rows: Sequence[SimulatedCustomer], posterior: FeaturePosterior, rng: np.random.Generator, draws: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return q(draft) / q(today) by draw and customer, 1 where the model has no say, and who responds."""
    live = np.array([_major(each.live, each.currency) for each in rows])
    draft = np.array([_major(each.draft, each.currency) for each in rows])
    known = np.array(
        [
            each.whole_month
            and each.segment in posterior.segments
            and bool(each.selection)
            and set(each.selection) <= set(posterior.features)
            for each in rows
        ]
    )
    responds = known & (live > 0) & (draft > 0)
    ratios = np.ones((draws, len(rows)))
    speaking = [each for each, does in zip(rows, responds, strict=True) if does]
    if speaking:
        chosen = np.array(
            [[float(each.selection.get(feature, 0)) for feature in posterior.features] for each in speaking]
        )
        chosen /= posterior.unit_sizes
        segment = np.array([posterior.segments.index(each.segment) for each in speaking], dtype=np.int64)
        for draw in range(draws):
            demand = posterior.draw(rng)
            before = demand.log_odds(chosen, live[responds], segment)
            after = demand.log_odds(chosen, draft[responds], segment)
            # ln q = -ln(1 + exp(-log odds)), so that small chances keep their ratio.
            ratios[draw, responds] = np.exp(np.logaddexp(0.0, -before) - np.logaddexp(0.0, -after))
    return ratios, responds


def _major(billing: Billing, asset: str) -> float:
    """Return a net amount in major units, as an estimate's input: nothing is posted from it."""
    return float(from_minor(billing.net_minor, currency(asset)))


def _interval(values: Floats) -> Interval:
    """Return the interval and the mean, draws beyond the interval taken to its end.

    By one draw hardly anybody would buy today, so who did is worth thousands: it must not outweigh all others.
    """
    low, high = np.quantile(values, [0.05, 0.95])
    return Interval(float(low), float(np.clip(values, low, high).mean()), float(high))
