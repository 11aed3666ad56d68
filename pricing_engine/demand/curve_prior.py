"""What is believed of a demand curve before the first offer: nothing in particular, or what its category taught.

A category is borrowed from as a normal belief about the latent point, one for each family of curves, beside the
uninformed prior: a product that is unlike its category is found out, not ruled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from pricing_engine.demand.demand_curves import FAMILIES, LATENT_SIZE, Curves
from pricing_engine.demand.price_basis import Floats

_CHANCE = np.array([family.chance for family in FAMILIES])
_UNLIKE = 0.2
_FEWEST = 3 * LATENT_SIZE
_LEAST_VARIANCE = 0.05
_LOG_TWO_PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True, slots=True)
class CurvePrior:
    """Normal beliefs with `chance` (F,), `mean` (F, 6) and Cholesky `factor` (F, 6, 6) by family.

    `unlike`: the chance that the product has nothing to do with them; at 1 they do not count.
    """

    chance: Floats
    mean: Floats
    factor: Floats
    unlike: float

    def draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
        """Return `count` points: family (count,) and latent (count, 6)."""
        family = rng.choice(len(FAMILIES), count, p=_CHANCE)
        latent = rng.standard_normal((count, LATENT_SIZE))
        if self.unlike < 1.0:
            like = rng.random(count) >= self.unlike
            family = np.where(like, rng.choice(len(FAMILIES), count, p=self.chance), family)
            shifted = self.mean[family] + np.einsum("hij,hj->hi", self.factor[family], latent)
            latent = np.where(like[:, None], shifted, latent)
        return family, latent

    def log_density(self, family: NDArray[np.int64], latent: Floats) -> Floats:
        """Return the log density (H,) of points, but for a constant of their family."""
        own = -0.5 * (latent**2).sum(axis=1)
        if self.unlike >= 1.0:
            return np.asarray(own)
        borrowed = np.empty(len(latent))
        for index in range(len(FAMILIES)):
            rows = family == index
            gap = np.linalg.solve(self.factor[index], (latent[rows] - self.mean[index]).T)
            borrowed[rows] = -0.5 * (gap**2).sum(axis=0) - np.log(np.diag(self.factor[index])).sum()
        odds = np.log([self.unlike, 1.0 - self.unlike])
        chances = np.log([_CHANCE[family], self.chance[family]])
        return np.asarray(logsumexp(odds[:, None] + chances + np.array([own, borrowed]), axis=0))


UNINFORMED = CurvePrior(
    _CHANCE,
    np.zeros((len(FAMILIES), LATENT_SIZE)),
    np.tile(np.eye(LATENT_SIZE), (len(FAMILIES), 1, 1)),
    unlike=1.0,
)


def borrowed_from(products: Sequence[Curves]) -> CurvePrior:
    """Return the belief about one more product of a category, from equally likely curves of each of its products.

    As wide as the products differ, plus what is uncertain about each, plus what so few say of their spread.
    """
    family = np.concatenate([product.family for product in products])
    latent = np.concatenate([product.latent for product in products])
    counts = np.bincount(family, minlength=len(FAMILIES))
    chance = (counts + len(family) * 0.1 * _CHANCE) / (1.1 * len(family))
    mean, factor = UNINFORMED.mean.copy(), UNINFORMED.factor.copy()
    wider = 1.0 + 1.0 / len(products)
    for index in np.flatnonzero(counts >= _FEWEST):
        points = latent[family == index]
        mean[index] = points.mean(axis=0)
        spread = wider * np.cov(points.T) + _LEAST_VARIANCE * np.eye(LATENT_SIZE)
        factor[index] = np.linalg.cholesky(spread)
    return CurvePrior(chance, mean, factor, _UNLIKE)
