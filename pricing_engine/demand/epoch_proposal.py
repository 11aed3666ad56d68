"""Propose the prices of one epoch: posterior draw -> optimum -> guard rails, for every segment and feature.

Where limited supply would run out, the optimum is that at which a unit costs what it would earn if kept.

What leaves here is exact decimals on the price ladder; a signed price sheet carries them. One draw serves
the whole epoch, so two customers with the same facts see the same price. The selections asked for are taken
as they were quoted: a step of a few percent changes who accepts far more than what is asked for.

Without a model, or where the model gives no finite price, the list price stands and the proposal says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_market import EpochMarket, market_of
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import Rail, RailContext, RailedPrice, RailHit, Rails, project_segments
from pricing_engine.demand.limited_supply import Shortage, Stock, with_shortages
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.selections import Selections

_UNLIMITED = Stock()


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
    prices = _railed(_candidates(demand.segments, priced, wanted, contexts), contexts, rails)
    effect = _effect(demand.segments, priced, markets, wanted, prices)
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


def _candidates(
    segments: Sequence[str],
    priced: Sequence[str],
    wanted: Floats,
    contexts: Mapping[str, Mapping[str, RailContext]],
) -> dict[str, dict[str, Decimal]]:
    """Return feature -> segment -> what goes into the rails: the model's price, or the list price where it has none."""
    candidates = {feature: {name: fact.list_price for name, fact in of.items()} for feature, of in contexts.items()}
    for k, feature in enumerate(priced):
        # Twelve significant digits: far below any ladder, and the same text on every machine.
        candidates[feature] |= {segment: Decimal(f"{wanted[g, k]:.12g}") for g, segment in enumerate(segments)}
    return candidates


def _railed(
    candidates: Mapping[str, Mapping[str, Decimal]],
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
) -> tuple[ProposedPrice, ...]:
    proposed = []
    for feature, of in candidates.items():
        settled = project_segments(of, rails[feature], contexts[feature])
        for segment, candidate in of.items():
            railed = settled[segment]
            jitter = Decimal(0) if railed.is_list_price else rails[feature].jitter
            proposed.append(ProposedPrice(segment, feature, candidate, railed, jitter))
    return tuple(proposed)


def _effect(
    segments: Sequence[str],
    priced: Sequence[str],
    markets: list[EpochMarket],
    wanted: Floats,
    prices: tuple[ProposedPrice, ...],
) -> ProfitEffect:
    """Replay the rails one kind after the other over all prices; profits given up then add up."""
    at = {(p.segment, p.feature): i for i, p in enumerate(prices)}

    def value(current: Floats) -> float:
        return float(np.mean([market.profit(current[g]) for g, market in enumerate(markets)]))

    current = wanted.copy()
    earned = wanted_value = value(current)
    given_up: dict[Rail, float] = {}
    for rail in Rail:
        for g, segment in enumerate(segments):
            for k, feature in enumerate(priced):
                hit = _hit_of(prices[at[segment, feature]].railed.hits, rail)
                if hit is not None:
                    current[g, k] = float(hit.after)
        after = value(current)
        if after != earned:
            given_up[rail] = earned - after
        earned = after
    listed = np.array([market.list_price for market in markets])
    return ProfitEffect(value(listed), wanted_value, earned, given_up)


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
