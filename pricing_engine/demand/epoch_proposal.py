"""Propose the prices of one epoch: posterior draw -> optimum -> guard rails, for every segment and feature.

The optimum is found again inside the rails' bounds: where a rail stops one price, the best others are not the same.
Ratios between segments and rungs of the ladder are then chosen by what all prices together earn.

Where limited supply would run out, the optimum is that at which a unit costs what it would earn if kept.

What leaves here is exact decimals on the price ladder; a signed price sheet carries them. One draw serves
the whole epoch, so two customers with the same facts see the same price. The selections asked for are taken
as they were quoted: a step of a few percent changes who accepts far more than what is asked for.

Without a model, or where the model gives no finite price, the list price stands and the proposal says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_market import EpochMarket, market_of
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import (
    Rail,
    RailContext,
    RailedPrice,
    RailHit,
    Rails,
    project_segments,
    rail_bounds,
)
from pricing_engine.demand.joint_rails import SettledTogether, settle_together
from pricing_engine.demand.limited_supply import Shortage, Stock, with_shortages
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.selections import Selections

_UNLIMITED = Stock()
_AFTER_BOUNDS = (Rail.SEGMENT_RATIO, Rail.LADDER, Rail.CONFLICT)
_Bounds = Mapping[Rail, tuple[Decimal | None, Decimal | None]]


@dataclass(frozen=True, slots=True)
class ProposedPrice:
    """One feature's price for one segment: what the model wanted and what the rails allow."""

    segment: str
    feature: str
    candidate: Decimal
    railed: RailedPrice
    jitter: Decimal


@dataclass(frozen=True, slots=True)
class ProfitEffect:
    """Expected profit a quote, major units: at list prices, at the model's own, and at the proposed ones.

    `given_up`: by rail, what each took off on the way from the model's own prices to the proposed; these
    sum to `wanted - proposed`, ladder and jitter range included. Units of a feature that is short cost what they would
    earn if kept.
    """

    at_list: float
    wanted: float
    proposed: float
    given_up: Mapping[Rail, float]


@dataclass(frozen=True, slots=True)
class EpochProposal:
    """All prices of one epoch. `model_hash` is empty and `fallback` says why where list prices stand.

    `shortages`: the limited features that are dearer so that what is left lasts.
    """

    epoch: int
    prices: tuple[ProposedPrice, ...]
    model_hash: str
    effect: ProfitEffect | None
    fallback: str = ""
    shortages: tuple[Shortage, ...] = ()

    def shortage_of(self, feature: str) -> Shortage | None:
        """Return what is short of a feature, None where supply is ample or not limited."""
        return next((each for each in self.shortages if each.feature == feature), None)

    def price_of(self, segment: str, feature: str) -> ProposedPrice:
        """Return one price. Raises InvalidValueError where there is none."""
        for price in self.prices:
            if (price.segment, price.feature) == (segment, feature):
                return price
        raise InvalidValueError("is not in the proposal", field="proposal", value=f"{segment}/{feature}")


@on_one_core
def propose_epoch(
    posterior: FeaturePosterior | None,
    selections: Selections | None,
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
    *,
    epoch: int,
    seed: int,
    explore: bool = True,
    distrust: str = "",
    stock: Stock = _UNLIMITED,
) -> EpochProposal:
    """Return the prices of `epoch`: `contexts` feature -> segment -> facts, `rails` feature -> rails.

    Every feature of `contexts` is priced for every segment of it; one that the posterior does not know keeps its list
    price. With `explore` the optimum is that of one posterior draw, else of the mode. A reason to `distrust` the
    posterior leaves all prices at the list. Of the limited features in `stock` no more is to be wanted than is left.
    The same arguments give the same proposal. Without a posterior no selections are needed. Raises InvalidValueError
    where `contexts` is empty, lacks a segment of the posterior, or does not fit `rails`.
    """
    _check(posterior, contexts, rails)
    if posterior is None or selections is None:
        return _list_prices(contexts, epoch, "no model")
    if distrust:
        return _list_prices(contexts, epoch, distrust)
    try:
        demand = posterior.draw(np.random.default_rng([seed, epoch])) if explore else posterior.mode()
    except np.linalg.LinAlgError:
        return _list_prices(contexts, epoch, "the model's posterior is no distribution")
    priced = [feature for feature in posterior.features if feature in contexts]
    markets = [
        market_of(demand, selections, posterior.unit_sizes, contexts, priced, g) for g in range(len(demand.segments))
    ]
    markets, shortages = with_shortages(markets, demand.segments, priced, stock)
    wanted = np.array([market.optimum() for market in markets])
    if not np.all(np.isfinite(wanted)):
        return _list_prices(contexts, epoch, "the model gave no finite price")
    bounds = [
        [rail_bounds(rails[feature], contexts[feature][segment]) for feature in priced] for segment in demand.segments
    ]
    within, low, high, given_up = _best_within(markets, bounds, wanted)
    together = settle_together(markets, [rails[feature] for feature in priced], within, low, high)
    prices = _railed(demand.segments, priced, wanted, together, contexts, rails)
    effect = _effect(demand.segments, priced, markets, wanted, within, together.prices, given_up, prices)
    return EpochProposal(epoch, prices, posterior.content_hash, effect, shortages=shortages)


def _check(
    posterior: FeaturePosterior | None,
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
) -> None:
    """Refuse contexts from which no whole sheet follows."""
    segments = [set(of) for of in contexts.values()]
    known = set() if posterior is None else set(posterior.segments)
    if not segments or any(of != segments[0] for of in segments) or not known <= segments[0]:
        raise InvalidValueError("needs every segment for every feature", field="contexts")
    if not set(contexts) <= set(rails):
        raise InvalidValueError("must name every feature", field="rails", value=sorted(set(contexts) - set(rails)))


def _railed(
    segments: Sequence[str],
    priced: Sequence[str],
    wanted: Floats,
    together: SettledTogether,
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
) -> tuple[ProposedPrice, ...]:
    """Project what is best inside the rails; what stood against the model's own prices is told too.

    Where the model has no price, the list price goes into the rails.
    """
    proposed = []
    for feature, of in contexts.items():
        free = {name: fact.list_price for name, fact in of.items()}
        best, rung, moved = free.copy(), free.copy(), dict[str, dict[Rail, RailHit]]()
        for g, segment in enumerate(segments if feature in priced else ()):
            k = priced.index(feature)
            free[segment], best[segment] = _in_digits(wanted[g, k]), _in_digits(together.prices[g, k])
            rung[segment], moved[segment] = together.rungs[g][k], together.hits[g][k]
        against, settled = (project_segments(each, rails[feature], of) for each in (free, rung))
        for segment, candidate in free.items():
            hits = {hit.rail: hit for hit in against[segment].hits if hit.rail not in _AFTER_BOUNDS}
            hits |= _binding(rail_bounds(rails[feature], of[segment]), best[segment])
            hits |= {hit.rail: hit for hit in settled[segment].hits} or moved.get(segment, {})
            railed = replace(settled[segment], hits=tuple(hits[rail] for rail in Rail if rail in hits))
            jitter = Decimal(0) if railed.is_list_price else rails[feature].jitter
            proposed.append(ProposedPrice(segment, feature, candidate, railed, jitter))
    return tuple(proposed)


def _binding(bounds: _Bounds, best: Decimal) -> dict[Rail, RailHit]:
    """Return the rails at whose edge the best price lies, with that edge: it may be the other than the model's own."""
    edges = [(rail, edge) for rail, ends in bounds.items() for edge in ends if edge is not None]
    return {rail: RailHit(rail, edge, best, edge) for rail, edge in edges if _in_digits(edge) == best}


def _in_digits(price: Decimal | float) -> Decimal:
    """Return a price in twelve significant digits: far below any ladder, and the same text on every machine."""
    return Decimal(f"{price:.12g}")


def _best_within(
    markets: Sequence[EpochMarket], bounds: Sequence[Sequence[_Bounds]], wanted: Floats
) -> tuple[Floats, Floats, Floats, dict[Rail, float]]:
    """Return the best prices inside `bounds`, G times P of them, the ends of those, and what each rail gives up.

    One rail is added after the other and the optimum found again inside all of them, so that what is given up adds up.
    """
    low, high, current = np.zeros(wanted.shape), np.full(wanted.shape, np.inf), wanted.copy()
    given_up: dict[Rail, float] = {}
    for rail in Rail:
        earned = _value(markets, current)
        for g, market in enumerate(markets):
            for k, by_rail in enumerate(bounds[g]):
                lowest, highest = by_rail.get(rail, (None, None))
                low[g, k] = low[g, k] if lowest is None else max(low[g, k], float(lowest))
                high[g, k] = high[g, k] if highest is None else min(high[g, k], float(highest))
            if np.any((current[g] < low[g]) | (current[g] > high[g])):
                current[g] = market.optimum(low[g], high[g])
        after = _value(markets, current)
        if after != earned:
            given_up[rail] = earned - after
    return current, low, high, given_up


def _effect(
    segments: Sequence[str],
    priced: Sequence[str],
    markets: Sequence[EpochMarket],
    wanted: Floats,
    within: Floats,
    together: Floats,
    given_up: Mapping[Rail, float],
    prices: tuple[ProposedPrice, ...],
) -> ProfitEffect:
    """Add what ratios, ladders and conflicts give up, replayed one kind after the other over all prices."""
    at = {(p.segment, p.feature): i for i, p in enumerate(prices)}
    current, lost = together.copy(), dict(given_up)
    earned = _value(markets, current)
    if earned != _value(markets, within):
        lost[Rail.SEGMENT_RATIO] = _value(markets, within) - earned
    for rail in _AFTER_BOUNDS:
        for g, segment in enumerate(segments):
            for k, feature in enumerate(priced):
                hit = _hit_of(prices[at[segment, feature]].railed.hits, rail)
                if hit is not None:
                    current[g, k] = float(hit.after)
        after = _value(markets, current)
        if after != earned:
            lost[rail] = lost.get(rail, 0.0) + earned - after
        earned = after
    listed = np.array([market.list_price for market in markets])
    return ProfitEffect(_value(markets, listed), _value(markets, wanted), earned, lost)


def _value(markets: Sequence[EpochMarket], prices: Floats) -> float:
    return float(np.mean([market.profit(prices[g]) for g, market in enumerate(markets)]))


def _hit_of(hits: tuple[RailHit, ...], rail: Rail) -> RailHit | None:
    return next((hit for hit in hits if hit.rail is rail), None)


def _list_prices(contexts: Mapping[str, Mapping[str, RailContext]], epoch: int, why: str) -> EpochProposal:
    prices = tuple(
        ProposedPrice(
            segment,
            feature,
            fact.list_price,
            RailedPrice(fact.list_price, (), fact.list_price, fact.list_price),
            Decimal(0),
        )
        for feature, of in contexts.items()
        for segment, fact in of.items()
    )
    return EpochProposal(epoch, prices, "", None, why)
