"""Fit the feature posterior: damped Newton on counted cells, Laplace-EM for the spread of segments.

The Newton step uses expected information and the arrow form of the precision: one block of shared
parameters, one a segment, solved by Schur complement, so the cost grows with the segments, not their square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.values.errors import InvalidValueError
from pricing_engine.demand.design import QuoteDesign, linear_columns
from pricing_engine.demand.feature_posterior import FeaturePosterior, deviating_columns
from pricing_engine.demand.price_basis import Floats, PriceBasis, Scale, price_basis
from pricing_engine.demand.prior import DemandPrior

_MAX_STEPS = 100
_MAX_HALVINGS = 30
_CONVERGED = 1e-9
_EM_ROUNDS = 20
_EM_CONVERGED = 0.02
_MIN_SPREAD = 0.02
_PAIR_EVIDENCE = 3.0


class NoQuotesError(InvalidValueError):
    """There is no quote to learn from."""

    code = "no_quotes"


@dataclass(frozen=True, slots=True)
class _Point:
    shared: Floats
    deviations: Floats


@dataclass(frozen=True, slots=True)
class _Curvature:
    """Information blocks, score and log posterior at one point; arrays as in FeaturePosterior."""

    log_likelihood: float
    log_posterior: float
    shared_precision: Floats
    cross_precision: Floats
    own_precision: Floats
    shared_score: Floats
    own_score: Floats


class _Problem:
    """The cells of one fit with everything that does not change between steps."""

    def __init__(
        self, design: QuoteDesign, basis: PriceBasis, pairs: Sequence[tuple[int, int]], prior: DemandPrior
    ) -> None:
        self.design, self.basis, self.pairs = design, basis, tuple(pairs)
        self.linear = linear_columns(design.chosen, self.pairs)
        self.price = basis.columns(design.price)
        self.size = self.linear.shape[1] + basis.ramps + 1
        self.deviating = deviating_columns(len(design.features), self.size)
        groups = len(design.segments)
        self.groups = groups if groups > 1 else 0
        self.rows = [design.rows_of(g) for g in range(groups)]
        means, deviations = _prior_vectors(design, len(self.pairs), basis, prior)
        self.prior_mean, self.prior_precision = means, deviations**-2

    def curvature(self, point: _Point, tau: Floats) -> _Curvature:
        """Evaluate score and expected information at `point`."""
        linear_size, ramps, own = self.linear.shape[1], self.basis.ramps, len(self.deviating)
        shared_precision = np.diag(self.prior_precision)
        gap = point.shared - self.prior_mean
        shared_score = -self.prior_precision * gap
        cross = np.zeros((self.groups, self.size, own))
        own_precision = np.zeros((self.groups, own, own))
        own_score = np.zeros((self.groups, own))
        log_likelihood = 0.0
        log_prior = -0.5 * float(self.prior_precision @ gap**2)
        for g, rows in enumerate(self.rows):
            values = point.shared.copy()
            if self.groups:
                values[self.deviating] += point.deviations[g]
            weights = np.exp(values[linear_size : linear_size + ramps])
            price = self.price[rows]
            slope = np.exp(values[-1])
            fall = slope * (price @ weights if ramps else price[:, 0])
            log_odds = self.linear[rows] @ values[:linear_size] - fall
            accepted, offered = self.design.accepted[rows], self.design.offered[rows]
            chance = expit(log_odds)
            log_likelihood += float(accepted @ log_odds - offered @ np.logaddexp(0.0, log_odds))
            columns = np.column_stack(
                [self.linear[rows], -slope * price * weights, -fall] if ramps else [self.linear[rows], -fall]
            )
            information = (columns * (offered * chance * (1.0 - chance))[:, None]).T @ columns
            score = columns.T @ (accepted - offered * chance)
            shared_precision += information
            shared_score += score
            if self.groups:
                cross[g] = information[:, self.deviating]
                own_precision[g] = information[np.ix_(self.deviating, self.deviating)] + np.diag(tau**-2)
                own_score[g] = score[self.deviating] - point.deviations[g] / tau**2
                log_prior -= 0.5 * float(np.sum((point.deviations[g] / tau) ** 2))
        return _Curvature(
            log_likelihood,
            log_likelihood + log_prior,
            shared_precision,
            cross,
            own_precision,
            shared_score,
            own_score,
        )

    def start(self) -> _Point:
        """Begin at the prior, with the constant at the overall acceptance."""
        shared = self.prior_mean.copy()
        share = (self.design.accepted.sum() + 0.5) / (self.design.quotes + 1.0)
        typical = float(np.mean(self.price.sum(axis=1)))
        shared[0] = np.log(share / (1.0 - share)) + np.exp(shared[-1]) * typical
        return _Point(shared, np.zeros((self.groups, len(self.deviating))))


def fit_posterior(
    design: QuoteDesign,
    scale: Scale | None = None,
    *,
    pairs: Sequence[tuple[int, int]] = (),
    prior: DemandPrior | None = None,
) -> FeaturePosterior:
    """Return the posterior of feature demand given `design`; with `scale` None the evidence picks the member.

    `pairs`: index pairs of features whose joint worth may differ from the sum. Raises NoQuotesError for an
    empty design, InvalidValueError for prices that the scale cannot take.
    """
    if design.quotes == 0:
        raise NoQuotesError("there is no quote to learn from", field="design")
    beliefs = DemandPrior() if prior is None else prior
    if scale is not None:
        return _fit(_Problem(design, price_basis(scale, design.price), pairs, beliefs), beliefs)
    members = list(Scale) if np.all(design.price > 0) else [Scale.ADDITIVE]
    fits = [_fit(_Problem(design, price_basis(member, design.price), pairs, beliefs), beliefs) for member in members]
    return max(fits, key=lambda posterior: posterior.log_evidence)


def find_pairs(
    design: QuoteDesign, posterior: FeaturePosterior, *, least_quotes: float = 50.0
) -> list[tuple[int, int]]:
    """Return pairs of features whose joint worth differs from the sum by more than noise would.

    A score test of each product column against the fit without it, projected off the fitted columns;
    |z| > 3 and `least_quotes` quotes with both.
    """
    demand = posterior.mode()
    log_odds = demand.log_odds(design.chosen, design.price, design.segment)
    chance = expit(log_odds)
    residual = design.accepted - design.offered * chance
    weight = design.offered * chance * (1.0 - chance)
    fall = demand.utility(design.chosen, design.segment) - log_odds
    base = np.column_stack([linear_columns(design.chosen, posterior.pairs), fall])
    gram = np.linalg.pinv((base * weight[:, None]).T @ base)
    found: list[tuple[float, tuple[int, int]]] = []
    for first in range(len(design.features)):
        for second in range(first + 1, len(design.features)):
            column = design.chosen[:, first] * design.chosen[:, second]
            if (first, second) in posterior.pairs or design.offered @ (column != 0) < least_quotes:
                continue
            clear = column - base @ (gram @ (base.T @ (weight * column)))
            information = float(weight @ clear**2)
            z = float(clear @ residual) / np.sqrt(information) if information > 1e-9 else 0.0
            if abs(z) > _PAIR_EVIDENCE:
                found.append((-abs(z), (first, second)))
    return [pair for _, pair in sorted(found)]


def _fit(problem: _Problem, prior: DemandPrior) -> FeaturePosterior:
    tau = np.full(len(problem.deviating), prior.segment_spread)
    point, curvature = _climb(problem, problem.start(), tau)
    for _ in range(_EM_ROUNDS if problem.groups else 0):
        spread = _updated_spread(point, curvature, prior)
        settled = np.max(np.abs(np.log(spread / tau))) < _EM_CONVERGED
        tau = spread
        point, curvature = _climb(problem, point, tau)
        if settled:
            break
    design = problem.design
    return FeaturePosterior(
        features=design.features,
        segments=design.segments,
        pairs=problem.pairs,
        basis=problem.basis,
        shared=point.shared,
        deviations=point.deviations,
        shared_precision=curvature.shared_precision,
        cross_precision=curvature.cross_precision,
        own_precision=curvature.own_precision,
        tau=tau,
        log_evidence=_log_evidence(problem, curvature, tau),
        log_likelihood=curvature.log_likelihood,
        quotes_by_segment=design.quotes_by_segment(),
        quotes_by_feature=design.quotes_by_feature(),
    )


def _climb(problem: _Problem, start: _Point, tau: Floats) -> tuple[_Point, _Curvature]:
    """Newton with step halving until the log posterior stops rising."""
    point, here = start, problem.curvature(start, tau)
    for _ in range(_MAX_STEPS):
        step = _newton_step(here)
        length = 1.0
        for _ in range(_MAX_HALVINGS):
            trial = _Point(point.shared + length * step.shared, point.deviations + length * step.deviations)
            with np.errstate(over="ignore", invalid="ignore"):
                there = problem.curvature(trial, tau)
            if np.isfinite(there.log_posterior) and there.log_posterior >= here.log_posterior:
                break
            length *= 0.5
        else:
            return point, here
        gain = there.log_posterior - here.log_posterior
        point, here = trial, there
        if gain < _CONVERGED * (1.0 + abs(here.log_posterior)):
            break
    return point, here


def _newton_step(curvature: _Curvature) -> _Point:
    schur, score = curvature.shared_precision.copy(), curvature.shared_score.copy()
    solved = [
        np.linalg.solve(own, np.column_stack([cross.T, own_score]))
        for own, cross, own_score in zip(
            curvature.own_precision, curvature.cross_precision, curvature.own_score, strict=True
        )
    ]
    for cross, block in zip(curvature.cross_precision, solved, strict=True):
        schur -= cross @ block[:, :-1]
        score -= cross @ block[:, -1]
    shared = np.linalg.solve(schur, score)
    deviations = [block[:, -1] - block[:, :-1] @ shared for block in solved]
    return _Point(np.asarray(shared, dtype=np.float64), np.array(deviations).reshape(curvature.own_score.shape))


def _updated_spread(point: _Point, curvature: _Curvature, prior: DemandPrior) -> Floats:
    """Laplace-EM: tau^2 = mean(m^2 + var), with the prior's pseudo-segments among them.

    Without those a handful of segments would often fit tau = 0, and intervals would be too narrow.
    """
    schur = curvature.shared_precision.copy()
    inverses = np.linalg.inv(curvature.own_precision)
    for inverse, cross in zip(inverses, curvature.cross_precision, strict=True):
        schur -= cross @ inverse @ cross.T
    shared_covariance = np.linalg.inv(schur)
    total = np.full(point.deviations.shape[1], prior.pseudo_segments * prior.segment_spread**2)
    for inverse, cross, deviation in zip(inverses, curvature.cross_precision, point.deviations, strict=True):
        gain = inverse @ cross.T
        total += deviation**2 + np.diag(inverse) + np.einsum("ij,jk,ik->i", gain, shared_covariance, gain)
    return np.asarray(np.sqrt(np.maximum(total / (len(point.deviations) + prior.pseudo_segments), _MIN_SPREAD**2)))


def _log_evidence(problem: _Problem, curvature: _Curvature, tau: Floats) -> float:
    """Laplace: log posterior at the mode + (ln |prior precision| - ln |posterior precision|) / 2."""
    schur = curvature.shared_precision.copy()
    log_determinant = 0.0
    for own, cross in zip(curvature.own_precision, curvature.cross_precision, strict=True):
        schur -= cross @ np.linalg.solve(own, cross.T)
        log_determinant += float(np.linalg.slogdet(own)[1]) + 2.0 * float(np.log(tau).sum())
    log_determinant += float(np.linalg.slogdet(schur)[1]) - float(np.log(problem.prior_precision).sum())
    return curvature.log_posterior - 0.5 * log_determinant


def _prior_vectors(design: QuoteDesign, pairs: int, basis: PriceBasis, prior: DemandPrior) -> tuple[Floats, Floats]:
    worth = [prior.worth.get(name, prior.any_worth) for name in design.features]
    beliefs = [
        prior.intercept,
        *worth,
        *[prior.pair_worth] * pairs,
        *[prior.ramp_log_weight] * basis.ramps,
        prior.log_slope,
    ]
    return np.array([belief.mean for belief in beliefs]), np.array([belief.deviation for belief in beliefs])
