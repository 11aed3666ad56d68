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
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats, PriceBasis, Scale, price_basis
from pricing_engine.demand.prior import DemandPrior

_MAX_STEPS = 100
_MAX_HALVINGS = 30
_CONVERGED = 1e-9
_EM_ROUNDS = 20
_EM_CONVERGED = 0.02
_MIN_SPREAD = 0.02
_PAIR_EVIDENCE = 3.0
_MOST_AT_START = 0.9


class NoQuotesError(InvalidValueError):
    """There is no quote to learn from."""

    code = "no_quotes"


@dataclass(frozen=True, slots=True)
class _Point:
    shared: Floats
    deviations: Floats


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the data alone say at a point: log-likelihood, information (G, m, m) and score (G, m)."""

    point: _Point
    log_likelihood: float
    information: Floats
    score: Floats


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
        self,
        design: QuoteDesign,
        basis: PriceBasis,
        pairs: Sequence[tuple[int, int]],
        prior: DemandPrior,
        ceiling: float = 1.0,
    ) -> None:
        self.design, self.basis, self.pairs, self.ceiling = design, basis, tuple(pairs), ceiling
        linear = linear_columns(design.chosen, self.pairs)
        self.price = basis.columns(design.price)
        self.linear_size = linear.shape[1]
        self.size = self.linear_size + basis.ramps + 1
        # The linear columns stand; those of price are written anew at each point.
        self.columns = np.column_stack([linear, np.empty((len(linear), basis.ramps + 1))])
        self.deviating = deviating_columns(len(design.features), self.size)
        groups = len(design.segments)
        self.groups = groups if groups > 1 else 0
        self.rows = [design.rows_of(g) for g in range(groups)]
        means, deviations = _prior_vectors(design, len(self.pairs), basis, prior)
        self.prior_mean, self.prior_precision = means, deviations**-2

    def evidence(self, point: _Point) -> _Evidence:
        """Evaluate likelihood, score and expected information of each segment at `point`."""
        linear, ramps = self.linear_size, self.basis.ramps
        information = np.empty((len(self.rows), self.size, self.size))
        scores = np.empty((len(self.rows), self.size))
        log_likelihood = 0.0
        for g, rows in enumerate(self.rows):
            values = point.shared.copy()
            if self.groups:
                values[self.deviating] += point.deviations[g]
            columns, price, offered = self.columns[rows], self.price[rows], self.design.offered[rows]
            weights, slope = np.exp(values[linear : linear + ramps]), np.exp(values[-1])
            columns[:, -1] = -slope * (price @ weights if ramps else price[:, 0])
            columns[:, linear:-1] = -slope * price * weights if ramps else 0.0
            log_odds = columns[:, :linear] @ values[:linear] + columns[:, -1]
            accepted, chance = self.design.accepted[rows], expit(log_odds)
            weight, residual = offered * chance * (1.0 - chance), accepted - offered * chance
            if self.ceiling < 1.0:
                likelihood, weight, residual = _below_ceiling(self.ceiling, log_odds, accepted, offered)
                log_likelihood += likelihood
            else:
                log_likelihood += float(accepted @ log_odds - offered @ np.logaddexp(0.0, log_odds))
            information[g] = (columns * weight[:, None]).T @ columns
            scores[g] = columns.T @ residual
        return _Evidence(point, log_likelihood, information, scores)

    def curvature(self, evidence: _Evidence, tau: Floats) -> _Curvature:
        """Add the prior to what the data say."""
        gap, deviations = evidence.point.shared - self.prior_mean, evidence.point.deviations
        log_prior = -0.5 * float(self.prior_precision @ gap**2) - 0.5 * float(np.sum((deviations / tau) ** 2))
        parts, own = evidence.information[: self.groups], self.deviating
        return _Curvature(
            evidence.log_likelihood,
            evidence.log_likelihood + log_prior,
            evidence.information.sum(axis=0) + np.diag(self.prior_precision),
            # In C order, or a posterior read back from JSON would draw other last digits.
            np.ascontiguousarray(parts[:, :, own]),
            np.ascontiguousarray(parts[:, own[:, None], own] + np.diag(tau**-2)),
            evidence.score.sum(axis=0) - self.prior_precision * gap,
            evidence.score[: self.groups, own] - deviations / tau**2,
        )

    def start(self) -> _Point:
        """Begin at the prior, with the constant at the overall acceptance."""
        shared = self.prior_mean.copy()
        share = (self.design.accepted.sum() + 0.5) / (self.design.quotes + 1.0)
        share = min(share / self.ceiling, _MOST_AT_START) if self.ceiling < 1.0 else share
        typical = float(np.mean(self.price.sum(axis=1)))
        shared[0] = np.log(share / (1.0 - share)) + np.exp(shared[-1]) * typical
        return _Point(shared, np.zeros((self.groups, len(self.deviating))))


@on_one_core
def fit_posterior(
    design: QuoteDesign,
    scale: Scale | None = None,
    *,
    pairs: Sequence[tuple[int, int]] = (),
    prior: DemandPrior | None = None,
    ceiling: float = 1.0,
) -> FeaturePosterior:
    """Return the posterior of feature demand given `design`; with `scale` None the evidence picks the member.

    `pairs`: index pairs of features whose joint worth may differ from the sum. `ceiling`: share of customers who
    would take the offer at any price; the posterior is then of the demand of those. Raises NoQuotesError for an
    empty design, InvalidValueError for prices that the scale cannot take or a ceiling outside (0, 1].
    """
    if design.quotes == 0:
        raise NoQuotesError("there is no quote to learn from", field="design")
    if not 0.0 < ceiling <= 1.0:
        raise InvalidValueError("must be above 0 and at most 1", field="ceiling", value=ceiling)
    beliefs = DemandPrior() if prior is None else prior
    if scale is not None:
        return _fit(_Problem(design, price_basis(scale, design.price), pairs, beliefs, ceiling), beliefs)
    members = list(Scale) if np.all(design.price > 0) else [Scale.ADDITIVE]
    bases = [price_basis(member, design.price) for member in members]
    fits = [_fit(_Problem(design, basis, pairs, beliefs, ceiling), beliefs) for basis in bases]
    return max(fits, key=lambda posterior: posterior.log_evidence)


@on_one_core
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


def _below_ceiling(ceiling: float, log_odds: Floats, accepted: Floats, offered: Floats) -> tuple[float, Floats, Floats]:
    """Return log-likelihood, weight (n,) and residual (n,) in log-odds where ceiling * sigma(log-odds) accept."""
    among = expit(log_odds)
    chance = ceiling * among
    passed_on = (1.0 - among) / (1.0 - chance)
    likelihood = accepted @ (np.log(ceiling) - np.logaddexp(0.0, -log_odds)) + (offered - accepted) @ np.log1p(-chance)
    return float(likelihood), offered * chance * (1.0 - among) * passed_on, (accepted - offered * chance) * passed_on


def _fit(problem: _Problem, prior: DemandPrior) -> FeaturePosterior:
    tau = np.full(len(problem.deviating), prior.segment_spread)
    evidence, _ = _climb(problem, problem.evidence(problem.start()), tau, _MAX_STEPS)
    for _ in range(_EM_ROUNDS if problem.groups else 0):
        curvature = problem.curvature(evidence, tau)
        spread = _updated_spread(evidence.point, curvature, prior)
        settled = np.max(np.abs(np.log(spread / tau))) < _EM_CONVERGED
        tau = spread
        if settled:
            break
        evidence, _ = _climb(problem, evidence, tau, 1)
    evidence, curvature = _climb(problem, evidence, tau, _MAX_STEPS)
    design = problem.design
    return FeaturePosterior(
        features=design.features,
        segments=design.segments,
        pairs=problem.pairs,
        basis=problem.basis,
        shared=evidence.point.shared,
        deviations=evidence.point.deviations,
        shared_precision=curvature.shared_precision,
        cross_precision=curvature.cross_precision,
        own_precision=curvature.own_precision,
        tau=tau,
        log_evidence=_log_evidence(problem, curvature, tau),
        log_likelihood=curvature.log_likelihood,
        quotes_by_segment=design.quotes_by_segment(),
        quotes_by_feature=design.quotes_by_feature(),
        units=design.units,
    )


def _climb(problem: _Problem, start: _Evidence, tau: Floats, steps: int) -> tuple[_Evidence, _Curvature]:
    """Newton with step halving until the log posterior stops rising, `steps` steps at most."""
    evidence, here = start, problem.curvature(start, tau)
    for _ in range(steps):
        step = _newton_step(here)
        point, length = evidence.point, 1.0
        for _ in range(_MAX_HALVINGS):
            trial = _Point(point.shared + length * step.shared, point.deviations + length * step.deviations)
            with np.errstate(over="ignore", invalid="ignore"):
                found = problem.evidence(trial)
                there = problem.curvature(found, tau)
            if np.isfinite(there.log_posterior) and there.log_posterior >= here.log_posterior:
                break
            length *= 0.5
        else:
            return evidence, here
        gain = there.log_posterior - here.log_posterior
        evidence, here = found, there
        if gain < _CONVERGED * (1.0 + abs(here.log_posterior)):
            break
    return evidence, here


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
