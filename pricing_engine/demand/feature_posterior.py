"""What the quotes say about feature demand: a Laplace posterior, shrunk over segments, that can be kept.

The model of one quote with features x, segment g and total price P:

    log-odds(accept) = a + a_g + sum_k x_k (u_k + w_gk) + sum_kl v_kl x_k x_l - exp(b + b_g) phi(P)

with a_g, w_gk, b_g ~ N(0, tau^2), so that a thin segment shrinks to the product mean, and a slope that is
positive whatever the data say. The posterior is normal around the mode; its precision has arrow form
(segments meet only in the shared parameters), so it is kept and drawn from by Schur complement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.values.canonical_json import Json, content_hash
from models.values.errors import InvalidValueError
from pricing_engine.demand.design import linear_columns
from pricing_engine.demand.price_basis import Floats, PriceBasis, Scale

FORMAT = "alacarte.demand/1"
_Z90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class FeatureDemand:
    """One concrete demand: the mode of a posterior, or a draw from it.

    `intercept` (G,), `worth` (G, K) in log-odds, `log_slope` (G,), `pair_worth` (pairs,),
    `ramp_log_weights` (ramps,).
    """

    features: tuple[str, ...]
    segments: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    basis: PriceBasis
    intercept: Floats
    worth: Floats
    log_slope: Floats
    pair_worth: Floats
    ramp_log_weights: Floats

    def utility(self, chosen: Floats, segment: NDArray[np.int64]) -> Floats:
        """Return the log-odds (n,) before price: constant, features (n, K) and pairs."""
        columns = linear_columns(chosen, self.pairs)
        count = len(self.features)
        own = np.einsum("nk,nk->n", columns[:, 1 : 1 + count], self.worth[segment])
        return np.asarray(self.intercept[segment] + own + columns[:, 1 + count :] @ self.pair_worth)

    def log_odds(self, chosen: Floats, price: Floats, segment: NDArray[np.int64]) -> Floats:
        """Return the log-odds (n,) of acceptance at `price` (n,), major units."""
        fall = np.exp(self.log_slope[segment]) * self.basis.phi(price, self.ramp_log_weights)
        return np.asarray(self.utility(chosen, segment) - fall)

    def acceptance(self, chosen: Floats, price: Floats, segment: NDArray[np.int64]) -> Floats:
        """Return P(accept) (n,) at `price` (n,), major units."""
        return 1.0 / (1.0 + np.exp(-np.clip(self.log_odds(chosen, price, segment), -700, 700)))

    def elasticity(self, chosen: Floats, price: Floats, segment: NDArray[np.int64]) -> Floats:
        """Return d ln P(accept) / d ln P (n,), always below zero."""
        refused = 1.0 - self.acceptance(chosen, price, segment)
        slope = np.exp(self.log_slope[segment]) * self.basis.phi_slope(price, self.ramp_log_weights)
        return np.asarray(-price * slope * refused)

    def index_of(self, segment: str) -> int:
        """Return a segment's index. Raises InvalidValueError for one the model has never seen."""
        try:
            return self.segments.index(segment)
        except ValueError as error:
            raise InvalidValueError("is not in the model", field="segment", value=segment) from error


@dataclass(frozen=True)
class FeaturePosterior:
    """Normal posterior around the mode, in arrow form.

    Shared parameters (m,): constant, K features, pairs, ramps, log slope. Deviations (G, 2 + K): constant,
    features, log slope; none where there is one segment. `shared_precision` (m, m), `cross_precision`
    (G, m, 2 + K), `own_precision` (G, 2 + K, 2 + K). `tau` (2 + K,): spread of the deviations.
    `log_evidence`: Laplace approximation of ln p(outcomes). `quotes_*`: weighted counts behind the figures.
    `units` (K,): the quantity that a 1 in the features' columns stands for; none means one of each.
    """

    features: tuple[str, ...]
    segments: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    basis: PriceBasis
    shared: Floats
    deviations: Floats
    shared_precision: Floats
    cross_precision: Floats
    own_precision: Floats
    tau: Floats
    log_evidence: float
    log_likelihood: float
    quotes_by_segment: Floats
    quotes_by_feature: Floats
    units: tuple[float, ...] = ()

    @property
    def unit_sizes(self) -> Floats:
        """What a 1 in each feature's column stands for (K,), in the feature's units."""
        return np.array(self.units) if self.units else np.ones(len(self.features))

    @property
    def quotes(self) -> float:
        """Weighted number of quotes behind the posterior."""
        return float(self.quotes_by_segment.sum())

    def quotes_behind(self, segment: str, feature: str) -> float:
        """Return how many quotes stand behind a price: of its segment or with its feature, whichever are fewer."""
        if segment not in self.segments or feature not in self.features:
            return 0.0
        by_segment = self.quotes_by_segment[self.segments.index(segment)]
        return float(min(by_segment, self.quotes_by_feature[self.features.index(feature)]))

    def mode(self) -> FeatureDemand:
        """Return the most probable demand."""
        return self._demand(self.shared, self.deviations)

    def draw(self, rng: np.random.Generator) -> FeatureDemand:
        """Return one demand drawn from the posterior (a Thompson draw)."""
        shift = np.linalg.solve(self._schur_factor.T, rng.standard_normal(len(self.shared)))
        deviations = self.deviations.copy()
        for g in range(len(deviations)):
            factor = self._own_factors[g]
            mean = np.linalg.solve(self.own_precision[g], self.cross_precision[g].T @ shift)
            deviations[g] += np.linalg.solve(factor.T, rng.standard_normal(deviations.shape[1])) - mean
        return self._demand(self.shared + shift, deviations)

    def covariance(self, segment: int) -> Floats:
        """Return the covariance (m, m) of one segment's own parameters: shared plus its deviation."""
        size = len(self.shared)
        schur_inverse = np.linalg.inv(self._schur_factor @ self._schur_factor.T)
        if not len(self.deviations):
            return np.asarray(schur_inverse, dtype=np.float64)
        own = np.linalg.inv(self.own_precision[segment])
        embed = np.zeros((size, own.shape[0]))
        embed[self.deviating, np.arange(own.shape[0])] = 1.0
        carry = np.eye(size) - embed @ own @ self.cross_precision[segment].T
        return np.asarray(carry @ schur_inverse @ carry.T + embed @ own @ embed.T)

    def own_parameters(self, segment: int) -> Floats:
        """Return one segment's parameters (m,) at the mode."""
        values = self.shared.copy()
        if len(self.deviations):
            values[self.deviating] += self.deviations[segment]
        return values

    @property
    def deviating(self) -> NDArray[np.intp]:
        """Indices into the shared parameters that have a deviation a segment."""
        return deviating_columns(len(self.features), len(self.shared))

    def worth_interval(self, segment: int, feature: int) -> tuple[float, float, float]:
        """Return (low, mode, high) of a feature's worth, 90 percent interval.

        In money (major units) per unit on the additive scale; elsewhere in log-odds over the slope, the log of
        the factor by which the feature, in its typical quantity, lifts willingness to pay.
        """
        values, covariance = self.own_parameters(segment), self.covariance(segment)
        slope = np.exp(values[-1])
        scale = self.basis.unit / self.unit_sizes[feature] if self.basis.scale is Scale.ADDITIVE else 1.0
        ratio = values[1 + feature] / slope * scale
        gradient = np.zeros(len(values))
        gradient[1 + feature], gradient[-1] = scale / slope, -ratio
        half = _Z90 * float(np.sqrt(gradient @ covariance @ gradient))
        return float(ratio - half), float(ratio), float(ratio + half)

    def slope_interval(self, segment: int) -> tuple[float, float, float]:
        """Return (low, mode, high) of the price slope exp(b + b_g) per unit of phi, 90 percent interval."""
        b = self.own_parameters(segment)[-1]
        half = _Z90 * float(np.sqrt(self.covariance(segment)[-1, -1]))
        return float(np.exp(b - half)), float(np.exp(b)), float(np.exp(b + half))

    def document(self) -> dict[str, Json]:
        """Return the posterior as canonical JSON: every float as a decimal string that reads back exactly."""
        return {
            "format": FORMAT,
            "features": list(self.features),
            "segments": list(self.segments),
            "pairs": [list(pair) for pair in self.pairs],
            "basis": {
                "scale": str(self.basis.scale),
                "unit": _text(self.basis.unit),
                "knots": [_text(knot) for knot in self.basis.knots],
            },
            "log_evidence": _text(self.log_evidence),
            "log_likelihood": _text(self.log_likelihood),
            **{name: _texts(getattr(self, name)) for name in _ARRAYS},
            **({"units": [_text(unit) for unit in self.units]} if self.units else {}),
        }

    @property
    def content_hash(self) -> str:
        """The SHA-256 of the canonical document; a price sheet names it."""
        return content_hash(self.document())

    def _demand(self, shared: Floats, deviations: Floats) -> FeatureDemand:
        count, pairs, ramps = len(self.features), len(self.pairs), self.basis.ramps
        own = np.tile(shared, (len(self.segments), 1))
        if len(deviations):
            own[:, self.deviating] += deviations
        return FeatureDemand(
            self.features,
            self.segments,
            self.pairs,
            self.basis,
            own[:, 0],
            own[:, 1 : 1 + count],
            own[:, -1],
            shared[1 + count : 1 + count + pairs],
            shared[1 + count + pairs : 1 + count + pairs + ramps],
        )

    @cached_property
    def _own_factors(self) -> Floats:
        return np.asarray(np.linalg.cholesky(self.own_precision), dtype=np.float64)

    @cached_property
    def _schur_factor(self) -> Floats:
        schur = self.shared_precision.copy()
        for own, cross in zip(self.own_precision, self.cross_precision, strict=True):
            schur -= cross @ np.linalg.solve(own, cross.T)
        return np.asarray(np.linalg.cholesky(schur), dtype=np.float64)


_ARRAYS = (
    "shared",
    "deviations",
    "shared_precision",
    "cross_precision",
    "own_precision",
    "tau",
    "quotes_by_segment",
    "quotes_by_feature",
)


def deviating_columns(features: int, shared: int) -> NDArray[np.intp]:
    """Return the shared columns that deviate by segment: constant, features, log slope (the last)."""
    return np.array([*range(features + 1), shared - 1], dtype=np.intp)


def read_posterior(document: Mapping[str, Any]) -> FeaturePosterior:
    """Read what `FeaturePosterior.document` wrote. Raises InvalidValueError for another format or shape."""
    if document.get("format") != FORMAT:
        raise InvalidValueError(f"must be {FORMAT}", field="format", value=document.get("format"))
    try:
        basis = document["basis"]
        posterior = FeaturePosterior(
            features=tuple(document["features"]),
            segments=tuple(document["segments"]),
            pairs=tuple((int(first), int(second)) for first, second in document["pairs"]),
            basis=PriceBasis(
                Scale(basis["scale"]), float(basis["unit"]), tuple(float(knot) for knot in basis["knots"])
            ),
            log_evidence=float(document["log_evidence"]),
            log_likelihood=float(document["log_likelihood"]),
            **{name: _array(document[name]) for name in _ARRAYS},
            units=tuple(float(unit) for unit in document.get("units", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidValueError("is no demand posterior", field="posterior", value=str(error)) from error
    _check_shapes(posterior)
    return posterior


def _check_shapes(posterior: FeaturePosterior) -> None:
    features, segments, shared = len(posterior.features), len(posterior.segments), len(posterior.shared)
    groups, own = (segments if segments > 1 else 0), features + 2
    expected = {
        "shared": (features + 2 + len(posterior.pairs) + posterior.basis.ramps,),
        "deviations": (groups, own),
        "shared_precision": (shared, shared),
        "cross_precision": (groups, shared, own),
        "own_precision": (groups, own, own),
        "tau": (own,),
        "quotes_by_segment": (segments,),
        "quotes_by_feature": (features,),
    }
    if posterior.units and (len(posterior.units) != features or not all(0 < unit < np.inf for unit in posterior.units)):
        raise InvalidValueError("must be one quantity above zero a feature", field="units", value=posterior.units)
    for name, shape in expected.items():
        array = getattr(posterior, name)
        if array.shape != shape or not np.all(np.isfinite(array)):
            raise InvalidValueError(f"must be finite with shape {shape}", field=name, value=array.shape)


def _text(value: float) -> str:
    return repr(float(value))


def _texts(array: Floats) -> dict[str, Json]:
    return {"shape": list(array.shape), "values": [_text(value) for value in array.ravel()]}


def _array(document: Mapping[str, Any]) -> Floats:
    return np.array([float(value) for value in document["values"]]).reshape(document["shape"])
