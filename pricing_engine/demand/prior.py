"""What is believed before the first quote: weak by default, borrowed from the category for a new feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pricing_engine.demand.feature_posterior import FeaturePosterior


@dataclass(frozen=True, slots=True)
class NormalBelief:
    """A normal belief about one parameter."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class DemandPrior:
    """Beliefs about the shared parameters, in log-odds; `worth` names only features with a belief of their own.

    `log_slope` is per unit of phi: with prices divided by their median, a slope of 3 means an elasticity of
    about -1.5 where half accept. The spread of segments is learnt as if
    `pseudo_segments` more segments had been seen with spread `segment_spread`.
    """

    intercept: NormalBelief = NormalBelief(0.0, 5.0)
    log_slope: NormalBelief = NormalBelief(1.0, 1.5)
    any_worth: NormalBelief = NormalBelief(0.0, 3.0)
    pair_worth: NormalBelief = NormalBelief(0.0, 1.0)
    ramp_log_weight: NormalBelief = NormalBelief(0.0, 0.7)
    worth: Mapping[str, NormalBelief] = field(default_factory=dict)
    segment_spread: float = 0.3
    pseudo_segments: float = 4.0


def borrow_from_category(
    posterior: FeaturePosterior,
    categories: Mapping[str, str],
    costs: Mapping[str, float],
    new_features: Mapping[str, tuple[str, float]],
) -> dict[str, NormalBelief]:
    """Return beliefs about features that have no quotes yet, from the features that have.

    `categories`, `costs`: category and unit cost (major units) of known features. `new_features`: name ->
    (category, unit cost). Worth is taken as a multiple of cost where every relative has a cost, else as it
    is; the belief is as wide as the relatives differ, plus what is uncertain about each. A category without
    known features borrows from all.
    """
    covariance = posterior.covariance(0)
    beliefs: dict[str, NormalBelief] = {}
    for name, (category, cost) in new_features.items():
        known = [k for k, feature in enumerate(posterior.features) if categories.get(feature) == category]
        relatives = known or list(range(len(posterior.features)))
        if not relatives:
            continue
        worth = posterior.shared[1 + np.array(relatives)]
        variance = np.diag(covariance)[1 + np.array(relatives)]
        related_costs = np.array([costs.get(posterior.features[k], 0.0) * posterior.unit_sizes[k] for k in relatives])
        factor = cost / related_costs if cost > 0 and np.all(related_costs > 0) else np.ones(len(relatives))
        scaled = worth * factor
        spread = float(scaled.var(ddof=1)) if len(scaled) > 1 else float(scaled[0] ** 2)
        uncertainty = float(np.mean(variance * factor**2))
        beliefs[name] = NormalBelief(float(scaled.mean()), float(np.sqrt(spread + uncertainty)))
    return beliefs
