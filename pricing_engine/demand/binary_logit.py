"""A plain binary logit by Newton, free of any sign or shape: the referee that diagnostics ask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats

_MAX_STEPS = 50
_CONVERGED = 1e-10
_Z90 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class LogitFit:
    """Coefficients (K,), their covariance (K, K) and the log-likelihood."""

    coef: Floats
    covariance: Floats
    log_likelihood: float

    def interval(self, column: int) -> tuple[float, float]:
        """Return the 90 percent interval of one coefficient."""
        half = _Z90 * float(np.sqrt(self.covariance[column, column]))
        return float(self.coef[column]) - half, float(self.coef[column]) + half

    def z(self, column: int) -> float:
        """Return how many standard errors one coefficient lies from zero."""
        return float(self.coef[column] / np.sqrt(self.covariance[column, column]))


@on_one_core
def fit_logit(columns: Floats, accepted: Floats, offered: Floats, *, ridge: float = 1e-6) -> LogitFit:
    """Fit log-odds = columns @ coef on weighted counts; the ridge only keeps separated data finite."""
    scale = np.sqrt(np.mean(columns**2, axis=0))
    scale[scale == 0] = 1.0
    design = columns / scale
    coef = np.zeros(design.shape[1])
    here = -np.inf
    information = np.eye(len(coef))
    for _ in range(_MAX_STEPS):
        log_odds = design @ coef
        chance = expit(log_odds)
        information = (design * (offered * chance * (1 - chance))[:, None]).T @ design + ridge * np.eye(len(coef))
        score = design.T @ (accepted - offered * chance) - ridge * coef
        here = _objective(design, accepted, offered, coef, ridge)
        step = np.linalg.solve(information, score)
        while _objective(design, accepted, offered, coef + step, ridge) < here - 1e-12 * abs(here):
            step = step / 2
        coef = coef + step
        if float(score @ step) < _CONVERGED * (1 + abs(here)):
            break
    log_odds = design @ coef
    likelihood = float(accepted @ log_odds - offered @ np.logaddexp(0.0, log_odds))
    return LogitFit(coef / scale, np.asarray(np.linalg.inv(information)) / np.outer(scale, scale), likelihood)


def _objective(design: Floats, accepted: Floats, offered: Floats, coef: Floats, ridge: float) -> float:
    log_odds = design @ coef
    return float(accepted @ log_odds - offered @ np.logaddexp(0.0, log_odds) - 0.5 * ridge * coef @ coef)
