"""Propose the prices of one epoch: posterior draw -> optimum -> guard rails, for every segment and feature.

What leaves here is exact decimals on the price ladder; a signed price sheet carries them. One draw serves
the whole epoch, so two customers with the same facts see the same price. The selections asked for are taken
as they were quoted: a step of a few percent changes who accepts far more than what is asked for.

Without a model, or where the model gives no finite price, the list price stands and the proposal says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import QuoteDesign
from pricing_engine.demand.feature_posterior import FeatureDemand, FeaturePosterior
from pricing_engine.demand.guardrails import Rail, RailContext, RailedPrice, RailHit, Rails, project_segments
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats

_HIGHEST_OVER_LIST = 4.0
_LOWEST_OVER_LIST = 0.01
_STARTS = (1.0, 1.6)


@dataclass(frozen=True, slots=True)
class Selections:
    """What is asked for: `chosen` (m, K) distinct selections in the model's units, `weight` (G, m) how often."""

    chosen: Floats
    weight: Floats


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
    sum to `wanted - proposed`, ladder and jitter range included.
    """

    at_list: float
    wanted: float
    proposed: float
    given_up: Mapping[Rail, float]


@dataclass(frozen=True, slots=True)
class EpochProposal:
    """All prices of one epoch. `model_hash` is empty and `fallback` says why where list prices stand."""

    epoch: int
    prices: tuple[ProposedPrice, ...]
    model_hash: str
    effect: ProfitEffect | None
    fallback: str = ""

    def price_of(self, segment: str, feature: str) -> ProposedPrice:
        """Return one price. Raises InvalidValueError where there is none."""
        for price in self.prices:
            if (price.segment, price.feature) == (segment, feature):
                return price
        raise InvalidValueError("is not in the proposal", field="proposal", value=f"{segment}/{feature}")


def selections_of(design: QuoteDesign) -> Selections:
    """Return the selections of a design and how often each segment asked for them."""
    chosen, index = np.unique(design.chosen, axis=0, return_inverse=True)
    weight = np.zeros((len(design.segments), len(chosen)))
    np.add.at(weight, (design.segment, index.ravel()), design.offered)
    return Selections(chosen, weight)


@on_one_core
def propose_epoch(
    posterior: FeaturePosterior | None,
    selections: Selections,
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
    *,
    epoch: int,
    seed: int,
    discounts: Floats | None = None,
    explore: bool = True,
) -> EpochProposal:
    """Return the prices of `epoch`: `contexts` feature -> segment -> facts, `rails` feature -> rails.

    `discounts` (K,): shares off by number of features, as the catalog grants them. With `explore` the
    optimum is that of one posterior draw, else of the mode. The same arguments give the same proposal.
    Raises InvalidValueError where features or segments do not match the posterior's.
    """
    if posterior is None:
        return _list_prices(contexts, rails, epoch, "no model")
    if set(contexts) != set(posterior.features) or any(set(of) != set(posterior.segments) for of in contexts.values()):
        raise InvalidValueError("features and segments must be the posterior's", field="contexts")
    try:
        demand = posterior.draw(np.random.default_rng([seed, epoch])) if explore else posterior.mode()
    except np.linalg.LinAlgError:
        return _list_prices(contexts, rails, epoch, "the model's posterior is no distribution")
    off = np.zeros(len(posterior.features)) if discounts is None else discounts
    markets = [_market(demand, selections, posterior.unit_sizes, contexts, off, g) for g in range(len(demand.segments))]
    wanted = np.array([market.optimum() for market in markets])
    if not np.all(np.isfinite(wanted)):
        return _list_prices(contexts, rails, epoch, "the model gave no finite price")
    prices = _railed(demand, wanted, contexts, rails)
    return EpochProposal(epoch, prices, posterior.content_hash, _effect(demand, markets, wanted, prices))


@dataclass(frozen=True, slots=True)
class _Market:
    """One segment under one demand: quantities (m, K) with shares (m,), log-odds before price (m,)."""

    demand: FeatureDemand
    quantity: Floats
    kept: Floats
    share: Floats
    utility: Floats
    slope: float
    cost: Floats
    list_price: Floats

    def profit(self, prices: Floats) -> float:
        """Return expected profit a quote at feature prices (K,)."""
        total = self._total(prices)
        phi = self.demand.basis.phi(total, self.demand.ramp_log_weights)
        return float(self.share @ ((total - self.quantity @ self.cost) * expit(self.utility - self.slope * phi)))

    def optimum(self) -> Floats:
        """Return the feature prices (K,) with the largest profit between cost and the cap, by L-BFGS-B."""
        lowest = np.log(np.maximum(self.cost, _LOWEST_OVER_LIST * self.list_price))
        highest = np.maximum(np.log(_HIGHEST_OVER_LIST * self.list_price), lowest)
        found = [
            minimize(
                self._loss,
                np.clip(np.log(self.list_price * factor), lowest, highest),
                jac=True,
                method="L-BFGS-B",
                bounds=np.column_stack([lowest, highest]),
            )
            for factor in _STARTS
        ]
        best = min(found, key=lambda result: float(result.fun))
        return np.asarray(np.exp(best.x)) if np.isfinite(best.fun) else np.full(len(lowest), np.nan)

    def _total(self, prices: Floats) -> Floats:
        return np.maximum(self.kept * (self.quantity @ prices), 1e-12)

    def _loss(self, log_prices: Floats) -> tuple[float, Floats]:
        prices = np.exp(log_prices)
        total = self._total(prices)
        weights = self.demand.ramp_log_weights
        chance = expit(self.utility - self.slope * self.demand.basis.phi(total, weights))
        margin = total - self.quantity @ self.cost
        fall = self.slope * self.demand.basis.phi_slope(total, weights) * chance * (1 - chance)
        by_total = self.share * self.kept * (chance - margin * fall)
        return -float(self.share @ (margin * chance)), np.asarray(-(by_total @ self.quantity) * prices)


def _market(
    demand: FeatureDemand,
    selections: Selections,
    units: Floats,
    contexts: Mapping[str, Mapping[str, RailContext]],
    discounts: Floats,
    g: int,
) -> _Market:
    asked = np.flatnonzero((selections.weight[g] > 0) & (selections.chosen != 0).any(axis=1))
    chosen = selections.chosen[asked]
    sizes = np.count_nonzero(chosen, axis=1)
    facts = [contexts[feature][demand.segments[g]] for feature in demand.features]
    weight = selections.weight[g][asked]
    return _Market(
        demand,
        chosen * units,
        1.0 - discounts[sizes - 1],
        weight / max(float(weight.sum()), 1e-300),
        demand.utility(chosen, np.full(len(asked), g, dtype=np.int64)),
        float(np.exp(demand.log_slope[g])),
        np.array([float(fact.unit_cost) for fact in facts]),
        np.array([max(float(fact.list_price), 1e-12) for fact in facts]),
    )


def _railed(
    demand: FeatureDemand,
    wanted: Floats,
    contexts: Mapping[str, Mapping[str, RailContext]],
    rails: Mapping[str, Rails],
) -> tuple[ProposedPrice, ...]:
    proposed = []
    for k, feature in enumerate(demand.features):
        # Twelve significant digits: far below any ladder, and the same text on every machine.
        candidates = {segment: Decimal(f"{wanted[g, k]:.12g}") for g, segment in enumerate(demand.segments)}
        settled = project_segments(candidates, rails[feature], contexts[feature])
        for segment in demand.segments:
            railed = settled[segment]
            jitter = Decimal(0) if railed.is_list_price else rails[feature].jitter
            proposed.append(ProposedPrice(segment, feature, candidates[segment], railed, jitter))
    return tuple(proposed)


def _effect(
    demand: FeatureDemand, markets: list[_Market], wanted: Floats, prices: tuple[ProposedPrice, ...]
) -> ProfitEffect:
    """Replay the rails one kind after the other over all prices; profits given up then add up."""
    at = {(p.segment, p.feature): i for i, p in enumerate(prices)}

    def value(current: Floats) -> float:
        return float(np.mean([market.profit(current[g]) for g, market in enumerate(markets)]))

    current = wanted.copy()
    earned = wanted_value = value(current)
    given_up: dict[Rail, float] = {}
    for rail in Rail:
        for g, segment in enumerate(demand.segments):
            for k, feature in enumerate(demand.features):
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


def _list_prices(
    contexts: Mapping[str, Mapping[str, RailContext]], rails: Mapping[str, Rails], epoch: int, why: str
) -> EpochProposal:
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
        if feature in rails
    )
    return EpochProposal(epoch, prices, "", None, why)
