"""Take rates: which features a customer chooses at their posted prices.

One logit a feature, given the others (a pseudo-likelihood of the joint choice, Besag 1975):

    P(x_k = 1 | rest) = sigma(a_k - b_k p_k + sum_l s_kl x_l),   b_k > 0

with s_kl > 0 for complements: candidates for a bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Floats, Scale
from pricing_engine.demand.prior import DemandPrior, NormalBelief

_Z90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class TakeRates:
    """One posterior a feature; its columns are the other features, its price the feature's own."""

    features: tuple[str, ...]
    posteriors: tuple[FeaturePosterior, ...]

    def take_rate(self, feature: int, price: Floats, others: Floats) -> Floats:
        """Return P(feature is taken) (n,) at `price` (n,) given the other features' choices (n, K - 1)."""
        return self.posteriors[feature].mode().acceptance(others, price, np.zeros(len(price), dtype=np.int64))

    def affinities(self) -> Floats:
        """Return s (K, K), symmetrised, zero on the diagonal: > 0 complements, < 0 substitutes."""
        count = len(self.features)
        table = np.zeros((count, count))
        for k, posterior in enumerate(self.posteriors):
            table[k, [other for other in range(count) if other != k]] = posterior.shared[1:count]
        return (table + table.T) / 2

    def complements(self) -> list[tuple[int, int]]:
        """Return pairs whose affinity is above zero at 95 percent in both directions, strongest first."""
        count = len(self.features)
        lower = np.full((count, count), -np.inf)
        for k, posterior in enumerate(self.posteriors):
            deviation = np.sqrt(np.diag(posterior.covariance(0)))[1:count]
            lower[k, [other for other in range(count) if other != k]] = posterior.shared[1:count] - _Z90 * deviation
        strength = self.affinities()
        found = [
            (first, second)
            for first in range(count)
            for second in range(first + 1, count)
            if min(lower[first, second], lower[second, first]) > 0
        ]
        return sorted(found, key=lambda pair: -strength[pair])


def fit_take_rates(
    taken: Floats, posted: Floats, *, features: Sequence[str], prior: DemandPrior | None = None
) -> TakeRates:
    """Fit on what n customers took: `taken` (n, K) of 0/1 and the unit prices `posted` (n, K), major units.

    Raises InvalidValueError for arrays that do not match.
    """
    if taken.shape != posted.shape or taken.ndim != 2 or taken.shape[1] != len(features):
        raise InvalidValueError("must be (customers, features), both alike", field="posted", value=posted.shape)
    beliefs = DemandPrior(any_worth=NormalBelief(0.0, 1.5)) if prior is None else prior
    posteriors = []
    for k in range(len(features)):
        rest = [other for other in range(len(features)) if other != k]
        design = quote_design(taken[:, rest], posted[:, k], taken[:, k], features=[features[other] for other in rest])
        posteriors.append(fit_posterior(design, Scale.ADDITIVE, prior=beliefs))
    return TakeRates(tuple(features), tuple(posteriors))
