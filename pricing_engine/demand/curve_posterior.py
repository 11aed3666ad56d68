"""What offers taught about demand curves: Bayes over many hypotheses, at several lengths of memory.

Offers are kept as counts on the price grid, once for each memory m, where an offer of age a counts
exp(-a / m); the longest memory forgets nothing. Each memory has its own posterior over the same curves, and
memories are weighed by how well they foretold outcomes (fixed share, Herbster & Warmuth 1998): in a stable
market the longest wins, after a change a shorter one, and a long memory that has become hopeless restarts
from the next shorter one's counts.

Curves are renewed as the posterior narrows (iterated batch importance sampling, Chopin 2002): half stay as the
prior drew them, so that no price is ever ruled out; the others are drawn from the posterior and moved by
differential-evolution Metropolis steps (ter Braak 2006). Each curve's weight corrects for how it was drawn:
prior / (half prior + half posterior mixture).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pricing_engine.demand.demand_curves import FAMILIES, Curves, PriceGrid
from pricing_engine.demand.price_basis import Floats

MEMORIES = (np.inf, 30_000.0, 10_000.0, 3_000.0, 1_000.0, 300.0, 100.0)
"""In offers; the longest first."""
_LASTING_SHARE = 0.9
_HAZARD = 1.0 / 2_000.0
_HOPELESS = 1e-3
_MOVES = 3
_MOVE_LENGTHS = (0.3, 0.7, 1.2)
_MOVE_NOISE = 0.02
_FEW_CURVES = 80.0


class CurvePosterior:
    """Posterior over demand curves on a grid; `weight` (H,) is that of each of `curves`, all memories together."""

    def __init__(self, grid: PriceGrid, rng: np.random.Generator, *, curves: int = 2_400) -> None:
        self._grid, self._rng = grid, rng
        self._lasting = curves // 2
        self._keep = np.array(MEMORIES)
        count = len(MEMORIES)
        self._offered, self._accepted = np.zeros((2, count, len(grid.prices)))
        self._prior_belief = np.full(count, (1.0 - _LASTING_SHARE) / (count - 1))
        self._prior_belief[0] = _LASTING_SHARE
        self.belief = self._prior_belief.copy()
        self.offers = self._renewed_at = 0
        self._log_correction = np.zeros(curves)
        self._log_likelihood = np.zeros((count, curves))
        self._set_curves(grid.draw(curves, rng))
        self._weigh()

    def observe(self, price: Floats, accepted: Floats) -> None:
        """Learn from offers at `price` (n,), `accepted` (n,) of 0/1, in order of time."""
        offered, taken = self._counts(price, accepted)
        kept = np.exp(-len(price) / self._keep)[:, None]
        forgotten = kept * self._log_likelihood
        hit = np.flatnonzero(offered)
        news = self._log_taken[:, hit] @ taken[hit] + self._log_refused[:, hit] @ (offered - taken)[hit]
        before = _log_sum_exp(forgotten + self._log_correction)
        self._log_likelihood = forgotten + news
        self._offered = kept * self._offered + offered
        self._accepted = kept * self._accepted + taken
        self.offers += len(price)
        self._log_mass = _log_sum_exp(self._log_likelihood + self._log_correction)
        self._believe(self._log_mass - before, len(price))
        self._restart()
        self._weigh()
        grown = self.offers / (self._renewed_at + 1.0)
        few = 1.0 / float(self.weight @ self.weight) < _FEW_CURVES
        if (few and self.offers > 1.15 * self._renewed_at + 20) or (grown > 1.5 and self.offers > 50):
            self._renew()

    def sample(self, count: int) -> Floats:
        """Return the acceptance (count, G) of curves drawn from the posterior, evenly by their weight."""
        likely = np.flatnonzero(self.weight > 1e-6)
        return np.asarray(self.curves.chance[likely[_systematic(self.weight[likely], count, self._rng)]])

    def _counts(self, price: Floats, accepted: Floats) -> tuple[Floats, Floats]:
        """Spread each offer over its two neighbours on the grid."""
        lower, upper_share = self._grid.weights(price)
        index = np.concatenate([lower, lower + 1])
        share = np.concatenate([1.0 - upper_share, upper_share])
        size = len(self._grid.prices)
        offered = np.bincount(index, share, size).astype(np.float64)
        return offered, np.bincount(index, share * np.tile(accepted, 2), size).astype(np.float64)

    def _set_curves(self, curves: Curves) -> None:
        self.curves = curves
        self._log_taken, self._log_refused = np.log(curves.chance), np.log1p(-curves.chance)

    def _believe(self, log_predictive: Floats, offers: int) -> None:
        told = self.belief * np.exp(log_predictive - log_predictive.max())
        changed = 1.0 - (1.0 - _HAZARD) ** offers
        self.belief = (1.0 - changed) * told / told.sum() + changed * self._prior_belief

    def _restart(self) -> None:
        for k in reversed(range(len(self.belief) - 1)):
            if self.belief[k] < _HOPELESS * self.belief[k + 1]:
                for kept in (self._offered, self._accepted, self._log_likelihood, self._log_mass):
                    kept[k] = kept[k + 1]
                self.belief[k : k + 2] = self.belief[k : k + 2].mean()

    def _weigh(self) -> None:
        log_weight = self._log_likelihood + self._log_correction
        self._log_mass = _log_sum_exp(log_weight)
        self._by_memory = np.exp(log_weight - self._log_mass[:, None])
        self.weight = self.belief @ self._by_memory

    def _renew(self) -> None:
        self._renewed_at = self.offers
        lasting = self.curves.rows(np.arange(self._lasting))
        count = len(self.weight) - self._lasting
        drawn = _systematic((self.belief[:, None] * self._by_memory).ravel(), count, self._rng)
        memory, which = np.divmod(drawn, len(self.weight))
        posterior_mass = self._log_mass[:, None]
        moved = self._move(self.curves.rows(which), memory)
        self._set_curves(lasting.joined(moved))
        refused = self._offered - self._accepted
        self._log_likelihood = self._accepted @ self._log_taken.T + refused @ self._log_refused.T
        posterior = logsumexp(self._log_likelihood - posterior_mass, axis=0, b=self.belief[:, None])
        self._log_correction = -np.logaddexp(np.log(0.5), np.log(0.5) + posterior)
        self._weigh()

    def _move(self, curves: Curves, memory: NDArray[np.int64]) -> Curves:
        """Move each curve by Metropolis steps that keep the posterior of its memory."""
        rng, count = self._rng, len(memory)
        order = np.argsort(curves.family, kind="stable")
        bounds = np.searchsorted(curves.family[order], np.arange(len(FAMILIES) + 1))
        first, size = bounds[curves.family], (bounds[1:] - bounds[:-1])[curves.family]
        latent, chance = curves.latent, curves.chance
        here = self._log_posterior(latent, chance, memory)
        for _ in range(_MOVES):
            one, other = (order[first + (rng.random(count) * size).astype(np.int64)] for _ in range(2))
            step = rng.choice(_MOVE_LENGTHS, count)[:, None] * (latent[one] - latent[other])
            proposed = latent + step + _MOVE_NOISE * rng.standard_normal(latent.shape)
            new_chance = self._grid.curves(curves.family, proposed).chance
            there = self._log_posterior(proposed, new_chance, memory)
            accept = np.log(rng.random(count)) < there - here
            latent = np.where(accept[:, None], proposed, latent)
            chance = np.where(accept[:, None], new_chance, chance)
            here = np.where(accept, there, here)
        return Curves(curves.family, latent, chance)

    def _log_posterior(self, latent: Floats, chance: Floats, memory: NDArray[np.int64]) -> Floats:
        taken, offered = self._accepted[memory], self._offered[memory]
        fit = (taken * np.log(chance) + (offered - taken) * np.log1p(-chance)).sum(axis=1)
        return np.asarray(fit - 0.5 * (latent**2).sum(axis=1))


def _log_sum_exp(rows: Floats) -> Floats:
    """Return ln sum exp of each row; scipy's checks would take longer than the sum."""
    top = rows.max(axis=1)
    return np.asarray(top + np.log(np.exp(rows - top[:, None]).sum(axis=1)))


def _systematic(weight: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` indices with chances in proportion to `weight`, evenly spread (one random number)."""
    edges = np.cumsum(weight)
    drawn = np.searchsorted(edges / edges[-1], (np.arange(count) + rng.random()) / count)
    return np.minimum(drawn, len(weight) - 1)
