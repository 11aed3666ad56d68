"""What offers taught about demand curves: Bayes over many hypotheses and over when the market last changed.

Offers are kept as counts on the price grid, once for each of a few moments at which the market may have become
what it is now; each such era has its own posterior over the same curves. Eras are weighed by how well they
foretold outcomes (Bayesian online change point detection, Adams & MacKay 2007), with a hazard of about one
change in the time so far, so that no horizon need be known. In a stable market the first era wins; after a
change one that began near it; where demand drifts, ever new short ones.

Curves are renewed as the posterior narrows (iterated batch importance sampling, Chopin 2002): half stay as the
prior drew them, so that no price is ever ruled out; the others are drawn from the posterior and moved by
differential-evolution Metropolis steps (ter Braak 2006). Each curve's weight corrects for how it was drawn:
prior / (half prior + half posterior mixture). After a change hardly a curve is near the new truth: then the
likelihood is let in by stages, no faster than curves can follow (Del Moral, Doucet & Jasra 2006).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pricing_engine.demand.curve_prior import UNINFORMED, CurvePrior
from pricing_engine.demand.demand_curves import FAMILIES, Curves, PriceGrid
from pricing_engine.demand.price_basis import Floats

_ERAS = 12
_ERA_GAP, _ERA_GAP_GROWTH = 25, 0.005
"""So often that one begins close to any change: offers from before it would mislead an era for as long as it lasts."""
_HAZARD_EVIDENCE = 200
_NEGLIGIBLE = 1e-6
_MOVES = 5
_MOVE_LENGTHS = (0.3, 0.7, 1.2)
_MOVE_NOISE = 0.001
"""Below the width of the posterior after 100,000 offers, or hardly a step would be accepted there."""
_FEW_CURVES = 80.0
_MOST_STAGES, _HALVINGS = 8, 8


class CurvePosterior:
    """Posterior over demand curves on a grid; `weight` (H,) is that of each of `curves`, all eras together.

    `offers`, `taken`: how many were observed, and how many of them accepted.
    `began` (E,): the evidence before each era, the first is 0; `belief` (E,): its probability. Evidence is
    twice the rarer outcome: as many offers where half accept, few where a few percent do.
    """

    def __init__(
        self, grid: PriceGrid, rng: np.random.Generator, prior: CurvePrior = UNINFORMED, *, curves: int = 2_400
    ) -> None:
        self._grid, self._rng, self._prior = grid, rng, prior
        self._lasting = curves // 2
        self._offered, self._accepted = np.zeros((2, 1, len(grid.prices)))
        self.began, self.belief = np.zeros(1), np.ones(1)
        self.taken = 0.0
        self.offers, self._known = 0, 0.0
        self._log_correction = np.zeros(curves)
        self._log_likelihood = np.zeros((1, curves))
        self._set_curves(grid.curves(*prior.draw(curves, rng)))
        self._weigh()

    def observe(self, price: Floats, accepted: Floats) -> None:
        """Learn from offers at `price` (n,), `accepted` (n,) of 0/1, in order of time."""
        self._perhaps_begin_era()
        offered, taken = self._counts(price, accepted)
        hit = np.flatnonzero(offered)
        news = self._log_taken[:, hit] @ taken[hit] + self._log_refused[:, hit] @ (offered - taken)[hit]
        self._offered, self._accepted = self._offered + offered, self._accepted + taken
        self._log_likelihood = self._log_likelihood + news
        self.offers += len(price)
        self.taken += float(taken.sum())
        before = self._log_mass
        self._weigh()
        foretold = self.belief * np.exp(self._log_mass - before - (self._log_mass - before).max())
        self.belief = foretold / foretold.sum()
        self.weight = self.belief @ self._by_era
        known = self._offers_since_change()
        few = self._effective_curves() < _FEW_CURVES and abs(known - self._known) > 0.15 * self._known + 20
        if few or known > max(1.5 * self._known, 50.0):
            self._renew()

    @property
    def rarer(self) -> float:
        """How often the rarer outcome was seen: acceptances where few accept."""
        return min(self.taken, self.offers - self.taken)

    def sample(self, count: int) -> tuple[Curves, Floats]:
        """Draw curves from the posterior, and for how many offers each of them (count,) has been true."""
        weight = (self.belief[:, None] * self._by_era).ravel()
        likely = np.flatnonzero(weight > 1e-9)
        era, curve = np.divmod(likely[_systematic(weight[likely], count, self._rng)], len(self.weight))
        return self.curves.rows(curve), self._offered.sum(axis=1)[era]

    def _offers_since_change(self) -> float:
        return float(self.belief @ self._offered.sum(axis=1))

    def _effective_curves(self) -> float:
        return 1.0 / float(self.weight @ self.weight)

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

    def _perhaps_begin_era(self) -> None:
        """Begin an era where the last is old enough; one of the least believed and most crowded ends."""
        evidence = 2.0 * self.rarer
        since = evidence - float(self.began[-1])
        if since < max(_ERA_GAP, _ERA_GAP_GROWTH * evidence):
            return
        changed = min(since / (evidence + _HAZARD_EVIDENCE), 0.5)
        self.belief = np.append((1.0 - changed) * self.belief, changed)
        self.began = np.append(self.began, evidence)
        nothing = np.zeros((1, len(self._grid.prices)))
        self._offered, self._accepted = np.vstack([self._offered, nothing]), np.vstack([self._accepted, nothing])
        self._log_likelihood = np.vstack([self._log_likelihood, np.zeros((1, len(self.weight)))])
        if len(self.began) > _ERAS:
            self._end_era()
        self._weigh()

    def _end_era(self) -> None:
        """Drop an era that hardly anybody believes in, else one whose neighbours began at about the same time."""
        age = 2.0 * self.rarer - self.began + 1.0
        crowding = np.append(np.inf, age[:-2] / age[2:])
        cost = np.where(self.belief[:-1] < _NEGLIGIBLE, 0.0, crowding)
        gone = int(cost[:-1].argmin())
        self.belief[gone + 1] += self.belief[gone]
        kept = np.arange(len(self.began)) != gone
        self.began, self.belief = self.began[kept], self.belief[kept]
        self._offered, self._accepted = self._offered[kept], self._accepted[kept]
        self._log_likelihood = self._log_likelihood[kept]

    def _weigh(self, heat: float = 1.0) -> None:
        log_weight = heat * self._log_likelihood + self._log_correction
        self._log_mass = _log_sum_exp(log_weight)
        self._by_era = np.exp(log_weight - self._log_mass[:, None])
        self.weight = self.belief @ self._by_era

    def _renew(self) -> None:
        self._known = self._offers_since_change()
        heat = 0.0
        for left in reversed(range(_MOST_STAGES)):
            heat = self._next_heat(heat) if left else 1.0
            self._renew_at(heat)
            if heat == 1.0:
                return

    def _next_heat(self, heat: float) -> float:
        """Return the largest exponent of the likelihood, above `heat`, that leaves more than a few curves likely."""
        if self._effective_curves() >= _FEW_CURVES:
            return 1.0
        high = 1.0
        for _ in range(_HALVINGS):
            middle = (heat + high) / 2.0
            self._weigh(middle)
            heat, high = (middle, high) if self._effective_curves() >= _FEW_CURVES else (heat, middle)
        return high

    def _renew_at(self, heat: float) -> None:
        self._weigh(heat)
        lasting = self.curves.rows(np.arange(self._lasting))
        count = len(self.weight) - self._lasting
        drawn = _systematic((self.belief[:, None] * self._by_era).ravel(), count, self._rng)
        era, which = np.divmod(drawn, len(self.weight))
        evidence = self._log_mass[:, None] - np.log(len(self.weight))  # The mean over curves, not their sum.
        moved = self._move(self.curves.rows(which), era, heat)
        self._set_curves(lasting.joined(moved))
        refused = self._offered - self._accepted
        self._log_likelihood = self._accepted @ self._log_taken.T + refused @ self._log_refused.T
        posterior = logsumexp(heat * self._log_likelihood - evidence, axis=0, b=self.belief[:, None])
        self._log_correction = -np.logaddexp(np.log(0.5), np.log(0.5) + posterior)
        self._weigh()

    def _move(self, curves: Curves, era: NDArray[np.int64], heat: float) -> Curves:
        """Move each curve by Metropolis steps that keep the posterior of its era, with likelihood ** `heat`."""
        rng, count = self._rng, len(era)
        order = np.argsort(curves.family, kind="stable")
        bounds = np.searchsorted(curves.family[order], np.arange(len(FAMILIES) + 1))
        first, size = bounds[curves.family], (bounds[1:] - bounds[:-1])[curves.family]
        latent, chance = curves.latent, curves.chance
        here = self._log_posterior(curves.family, latent, chance, era, heat)
        for _ in range(_MOVES):
            one, other = (order[first + (rng.random(count) * size).astype(np.int64)] for _ in range(2))
            step = rng.choice(_MOVE_LENGTHS, count)[:, None] * (latent[one] - latent[other])
            proposed = latent + step + _MOVE_NOISE * rng.standard_normal(latent.shape)
            new_chance = self._grid.curves(curves.family, proposed).chance
            there = self._log_posterior(curves.family, proposed, new_chance, era, heat)
            accept = np.log(rng.random(count)) < there - here
            latent = np.where(accept[:, None], proposed, latent)
            chance = np.where(accept[:, None], new_chance, chance)
            here = np.where(accept, there, here)
        return Curves(curves.family, latent, chance)

    def _log_posterior(
        self, family: NDArray[np.int64], latent: Floats, chance: Floats, era: NDArray[np.int64], heat: float
    ) -> Floats:
        taken, offered = self._accepted[era], self._offered[era]
        fit = (taken * np.log(chance) + (offered - taken) * np.log1p(-chance)).sum(axis=1)
        return np.asarray(heat * fit + self._prior.log_density(family, latent))


def _log_sum_exp(rows: Floats) -> Floats:
    """Return ln sum exp of each row; scipy's checks would take longer than the sum."""
    top = rows.max(axis=1)
    return np.asarray(top + np.log(np.exp(rows - top[:, None]).sum(axis=1)))


def _systematic(weight: Floats, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw `count` indices with chances in proportion to `weight`, evenly spread (one random number)."""
    edges = np.cumsum(weight)
    drawn = np.searchsorted(edges / edges[-1], (np.arange(count) + rng.random()) / count)
    return np.minimum(drawn, len(weight) - 1)
