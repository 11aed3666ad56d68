"""Prices for one product without features: a grid, a posterior over demand curves, and what to offer next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pricing_engine.demand.curve_posterior import CurvePosterior
from pricing_engine.demand.curve_prior import UNINFORMED, borrowed_from
from pricing_engine.demand.demand_curves import Curves, PriceGrid
from pricing_engine.demand.information_directed import TwoPrices, two_prices
from pricing_engine.demand.lookahead import trial
from pricing_engine.demand.price_basis import Floats

_GRID_SIZE = 96
_SAMPLED_CURVES = 512
_FIRST_PART = 20
_LEAST_PRICE_SHARE = 1e-3
_LEARN_EVERY, _LEARN_MOST = 0.005, 100
"""As a share of the offers so far, 100 at most: what one more among thousands teaches can wait for the next few, but
a market that has just changed cannot."""
_EVIDENCE_AT_ONCE, _MOST_AT_ONCE = 0.5, 20
"""Where few accept, outcomes are taken together until about half a rare one is due, 20 at most: price by price,
each refusal would lead further down, and the first acceptance there would end the search."""

_SHARES_UNTIL = 30.0
"""How many rarer outcomes weigh as much for profits in money as for shares. In money alone, the few curves on which a
sale is worth most would lead at first: where few accept, to prices that nobody pays, with nothing sold to say so."""

_AT_LEAST_TO_COME = 100.0
"""Offers for which any demand curve is expected to last: who sets prices by what they teach has that many to make."""
_COMMON_RATE, _LEAST_TRIED = 0.1, 0.05
"""Where the rarer outcome is rarer than `_COMMON_RATE`, only so large a share of offers as its rate is of that, but
`_LEAST_TRIED` always, is a trial: a few percent of some hundred offers are few sales to tell one price from another."""
_BESIDES = 0.1
"""Where no trial pays, at most this share of as many offers explores all the same: what is believed may be wrong."""

_MANY, _MANY_SHARE = 200, 0.5
"""So many offers at once, and more than half as many as there were before, are not to be made at two prices: nothing of
what they teach can be used until all of them are decided."""

_BISECTIONS = 20

Outcomes = tuple[Floats, Floats]
"""Prices (n,) that were offered, major units, and what became of them (n,), 0 or 1."""


class CurvePricing:
    """Learns one demand curve and offers prices (major units) in `low`..`high`."""

    def __init__(
        self, low: float, high: float, unit_cost: float, rng: np.random.Generator, category: Sequence[Outcomes] = ()
    ) -> None:
        self._rng, self._unit_cost = rng, unit_cost
        self.low, self.high = low, high
        self._grid = PriceGrid(max(low, _LEAST_PRICE_SHARE * high), high, _GRID_SIZE)
        prior = borrowed_from([_learnt_of(log, self._grid, rng) for log in category]) if category else UNINFORMED
        self._posterior = CurvePosterior(self._grid, rng, prior)
        self._waiting: list[tuple[Floats, Floats]] = []
        self._choice: TwoPrices | None = None
        self._chosen_for = 1.0
        self._first: int | None = None

    def propose(self, features: Floats, sellable_share: float) -> tuple[Floats, Floats]:
        """Return prices (n,) and the density (n,) with which each was drawn, per major unit.

        `sellable_share`: stock left over offers left; more demand than that earns nothing.
        """
        choice, count = self._choose(sellable_share), len(features)
        if count >= _MANY and count > _MANY_SHARE * self._posterior.offers:
            return self._spread(count, sellable_share)
        share = choice.share_of(count)
        index = np.where(self._rng.random(count) < share, choice.other, choice.best)
        cells = self._cell(choice.best), self._cell(choice.other)
        low, high = (np.where(index == choice.other, cells[1][end], cells[0][end]) for end in (0, 1))
        price = np.exp(low + (high - low) * self._rng.random(count))
        return np.clip(price, self.low, self.high), self._density(price, cells, share)

    def _spread(self, count: int, sellable_share: float) -> tuple[Floats, Floats]:
        """Return prices and densities as in `propose`: each the best of a curve of its own, so that much is learnt."""
        best = self._profit(self._posterior.sample(_SAMPLED_CURVES)[0].chance, sellable_share).argmax(axis=1)
        index, chosen = np.unique(best, return_counts=True)
        low, high = np.array([self._cell(int(each)) for each in index]).T
        chance = chosen / len(best)
        which = self._rng.choice(len(index), count, p=chance)
        log_price = low[which] + (high - low)[which] * self._rng.random(count)
        price = np.exp(log_price)
        return np.clip(price, self.low, self.high), chance[which] / (np.maximum(high - low, 1e-300)[which] * price)

    def observe(self, price: Floats, accepted: Floats, features: Floats) -> None:
        """Learn from outcomes (n,) of 0/1 at prices (n,)."""
        self._waiting.append((price, accepted))
        if sum(len(prices) for prices, _ in self._waiting) >= self._worth_learning():
            self._posterior.observe(*(np.concatenate(part) for part in zip(*self._waiting, strict=True)))
            self._waiting, self._choice = [], None

    def _worth_learning(self) -> float:
        """Return how many outcomes to wait for: a share of those so far, more where the rarer outcome is rare."""
        offers, rarer = self._posterior.offers, self._posterior.rarer
        return max(
            min(_LEARN_EVERY * offers, _LEARN_MOST),
            min(_EVIDENCE_AT_ONCE * (offers + 2.0) / (2.0 * rarer + 1.0), _MOST_AT_ONCE),
        )

    def _choose(self, sellable_share: float) -> TwoPrices:
        if self._choice is None or abs(sellable_share / self._chosen_for - 1.0) > _LEARN_EVERY:
            self._choice = self._best_and_other(sellable_share)
            self._chosen_for = sellable_share
            self._first = self._choice.best if self._first is None else self._first
        return self._choice

    def _best_and_other(self, sellable_share: float) -> TwoPrices:
        """Return the price that earns most and the one to try: what pays, else what teaches most for its cost."""
        curves, lasted = self._posterior.sample(_SAMPLED_CURVES)
        profit = self._weighed(self._profit(curves.chance, sellable_share))
        tried = trial(profit, curves.chance, np.maximum(lasted, _AT_LEAST_TO_COME))
        if tried.share:
            return replace(tried, share=self._most_tried())
        besides = two_prices(profit)
        return replace(besides, share=min(besides.share, _BESIDES * self._most_tried()))

    def _profit(self, chance: Floats, sellable_share: float) -> Floats:
        """Return the profit (S, G) an offer: what is sold now cannot be sold later, for what it would earn then.

        The worth of a unit of stock is, by curve, the least at which the best price asks for no more than the share.
        """
        margin = self._grid.prices - self._unit_cost
        if sellable_share >= 1.0:
            return np.asarray(margin * chance)
        rows = np.arange(len(chance))
        low, high = np.zeros((len(chance), 1)), np.full((len(chance), 1), self.high)
        for _ in range(_BISECTIONS):
            worth = (low + high) / 2
            wanted = chance[rows, ((margin - worth) * chance).argmax(axis=1)][:, None]
            low, high = np.where(wanted > sellable_share, worth, low), np.where(wanted > sellable_share, high, worth)
        return np.asarray((margin - high) * chance + high * sellable_share)

    def _most_tried(self) -> float:
        """Return the largest share of offers that may be a trial."""
        rate = (self._posterior.rarer + 0.5) / (self._posterior.offers + 2.0)
        return min(max(rate / _COMMON_RATE, _LEAST_TRIED), 1.0)

    def _weighed(self, profit: Floats) -> Floats:
        """Return profits (S, G) in money where much is known, as shares of the most of each curve where little is."""
        most = profit.max(axis=1, keepdims=True)
        relative = _SHARES_UNTIL / (_SHARES_UNTIL + self._posterior.rarer)
        weighed = np.asarray(profit / np.where(most > 0.0, most, 1.0) ** relative)
        # Alike on all curves, so never chosen: never sell at a loss to learn, and where nobody accepted yet do not ask
        # for more than at first, though flat curves, whose best price is the highest, explain that best.
        weighed[:, self._grid.prices < self._unit_cost] = -self.high
        if self._first is not None and not self._posterior.taken:
            weighed[:, self._first + 1 :] = -self.high
        return weighed

    def _cell(self, index: int) -> tuple[float, float]:
        """Return the log prices nearest to one grid price, inside the range and not below cost."""
        middle, half = float(np.log(self._grid.prices[index])), self._grid.log_step / 2
        lowest = max(self.low, self._unit_cost, float(self._grid.prices[0]))
        return max(middle - half, float(np.log(lowest))), min(middle + half, float(np.log(self.high)))

    def _density(self, price: Floats, cells: tuple[tuple[float, float], ...], share: float) -> Floats:
        log_price = np.log(price)
        density = np.zeros(len(price))
        for (low, high), chance in zip(cells, (1.0 - share, share), strict=True):
            inside = (log_price >= low) & (log_price <= high)
            density += np.where(inside, chance / (max(high - low, 1e-300) * price), 0.0)
        return density


def _learnt_of(log: Outcomes, grid: PriceGrid, rng: np.random.Generator) -> Curves:
    """Return curves that one product's log leaves likely; it is learnt in parts, so that curves narrow with it."""
    posterior, start = CurvePosterior(grid, rng), 0
    inside = (log[0] >= grid.prices[0]) & (log[0] <= grid.prices[-1])
    price, accepted = log[0][inside], log[1][inside]
    while start < len(price):
        part = slice(start, start + max(_FIRST_PART, start // 2))
        posterior.observe(price[part], accepted[part])
        start = part.stop
    return posterior.sample(_SAMPLED_CURVES)[0]
