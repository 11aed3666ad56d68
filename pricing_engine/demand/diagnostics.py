"""May this model be believed? Calibration, drift, effect of price, placebo, confounding, expiry.

Each check asks the data with as little of the model's structure as it can, and answers with the number it
rests on, so that a model card can print it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.values.errors import InvalidValueError
from pricing_engine.demand.binary_logit import LogitFit, fit_logit
from pricing_engine.demand.design import LoggedQuotes, QuoteDesign
from pricing_engine.demand.price_basis import Floats

DRIFT_ALARM_Z = 3.9
"""One false alarm in about 10,000 windows; set once, not tuned."""
CONFOUNDING_Z = 2.58
_WEAK_INSTRUMENT_F = 10.0
_DEALS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Quotes with like predictions: how many, the mean prediction, the share accepted."""

    quotes: float
    predicted: float
    accepted: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """`slope` 1 and `intercept` 0 are perfect; a slope below 1 means too certain. `log_score` a quote.

    `expected_error`: by how much bins are off on average; `by_chance`: by how much perfect predictions would be.
    """

    bins: tuple[CalibrationBin, ...]
    expected_error: float
    slope: float
    intercept: float
    log_score: float
    by_chance: float

    @property
    def excess_error(self) -> float:
        """By how much predictions are off beyond what so few quotes make of perfect ones."""
        return self.expected_error - self.by_chance


def calibration(predicted: Floats, accepted: Floats, bins: int = 10) -> Calibration:
    """Compare predictions (n,) with outcomes (n,) of 0/1, in bins of equal numbers of quotes.

    Predictions must come from quotes the model did not learn from. Raises InvalidValueError without quotes.
    """
    if len(predicted) == 0 or predicted.shape != accepted.shape:
        raise InvalidValueError("needs one outcome a prediction", field="predicted", value=predicted.shape)
    chance = np.clip(predicted, 1e-12, 1 - 1e-12)
    order = np.argsort(chance, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    table = tuple(
        CalibrationBin(float(len(part)), float(chance[part].mean()), float(accepted[part].mean())) for part in parts
    )
    error = sum(row.quotes * abs(row.predicted - row.accepted) for row in table) / len(predicted)
    by_chance = sum(_mean_deviation(chance[part]) for part in parts) / len(predicted)
    log_odds = np.log(chance / (1 - chance))
    fit = fit_logit(np.column_stack([np.ones(len(chance)), log_odds]), accepted, np.ones(len(chance)))
    score = float(np.mean(accepted * np.log(chance) + (1 - accepted) * np.log1p(-chance)))
    return Calibration(table, error, float(fit.coef[1]), float(fit.coef[0]), score, by_chance)


def _mean_deviation(chance: Floats) -> float:
    """Return by how much the number accepted is off on average, up or down, where chances are right: near normal."""
    return float(np.sqrt(2 / np.pi * (chance * (1 - chance)).sum()))


@dataclass(frozen=True, slots=True)
class Drift:
    """z of each window in order of time, and the windows that raised the alarm."""

    window_quotes: int
    z: tuple[float, ...]
    alarms: tuple[int, ...]

    @property
    def alarmed(self) -> bool:
        """True where acceptance has left the model: roll back to the list price."""
        return bool(self.alarms)


def drift(predicted: Floats, accepted: Floats, window_quotes: int = 100) -> Drift:
    """Compare outcomes with predictions, both (n,) in order of time, window by window.

    z = sum(y - q) / sqrt(sum q (1 - q)); quotes after the last full window wait for it to fill.
    """
    if window_quotes < 1 or predicted.shape != accepted.shape:
        raise InvalidValueError("needs one outcome a prediction and a window of quotes", field="window_quotes")
    full = len(predicted) // window_quotes * window_quotes
    chance = predicted[:full].reshape(-1, window_quotes)
    gap = (accepted[:full].reshape(-1, window_quotes) - chance).sum(axis=1)
    z = gap / np.sqrt(np.maximum((chance * (1 - chance)).sum(axis=1), 1e-12))
    return Drift(
        window_quotes, tuple(float(v) for v in z), tuple(int(i) for i in np.flatnonzero(abs(z) > DRIFT_ALARM_Z))
    )


@dataclass(frozen=True, slots=True)
class PriceEffect:
    """Effect of ln price on the log-odds of acceptance, with a 90 percent interval free of any sign.

    `seen` is false where the interval holds zero: then the optimum lies at a rail, and only the rail says
    where. `wrong_sign` means dearer quotes sold better, which price alone cannot do.
    """

    low: float
    effect: float
    high: float

    @property
    def seen(self) -> bool:
        """True where acceptance is seen to fall as the price rises."""
        return self.high < 0

    @property
    def wrong_sign(self) -> bool:
        """True where acceptance is seen to rise with the price."""
        return self.low > 0


def price_effect(design: QuoteDesign) -> PriceEffect:
    """Measure the effect of price without the model's sign constraint, by the quotes that cost anything."""
    return _effect_of(design.chosen, design.segment, design.price, design.accepted, design.offered)


def placebo(quotes: LoggedQuotes, rng: np.random.Generator) -> PriceEffect:
    """Measure the effect of prices dealt out anew among the quotes of each segment: there must be none.

    The mean of ten deals: each of them would see one by chance in one clean log of ten, their mean in none. It is
    quotes that are dealt to, one by one: many at one price would else move together, and seem to be no chance.
    """
    one = np.ones(len(quotes.price))
    deals = []
    for _ in range(_DEALS):
        price = quotes.price.copy()
        for g in np.unique(quotes.segment):
            rows = quotes.segment == g
            price[rows] = rng.permutation(price[rows])
        found = _effect_of(quotes.chosen, quotes.segment, price, quotes.accepted, one)
        deals.append((found.low, found.effect, found.high))
    low, effect, high = np.mean(deals, axis=0)
    return PriceEffect(float(low), float(effect), float(high))


def _effect_of(
    chosen: Floats, segment: NDArray[np.int64], price: Floats, accepted: Floats, offered: Floats
) -> PriceEffect:
    paid = price > 0
    if not paid.any():
        return PriceEffect(0.0, 0.0, 0.0)
    fit = fit_logit(_controls(chosen[paid], segment[paid], price[paid]), accepted[paid], offered[paid])
    low, high = fit.interval(-1)
    return PriceEffect(low, float(fit.coef[-1]), high)


class Verdict(StrEnum):
    """What the test for confounding can say."""

    CLEAR = "clear"
    CONFOUNDED = "confounded"
    UNTESTABLE = "untestable"


@dataclass(frozen=True, slots=True)
class Confounding:
    """Whether the prices were set by something that moves demand and that the log does not show.

    `z`: of the control function, the part of ln price that the instruments do not explain. `naive`,
    `corrected`: effect of ln price on the log-odds without and with it. `instrument_f`: how strongly the
    instruments moved prices; below 10, or without any, the log is untestable, and nobody can clear it.
    """

    verdict: Verdict
    z: float
    instrument_f: float
    naive: float
    corrected: float

    @property
    def flagged(self) -> bool:
        """True unless the log could be tested and passed."""
        return self.verdict is not Verdict.CLEAR


def confounding(quotes: LoggedQuotes, instruments: Floats | None) -> Confounding:
    """Test prices for confounding by a control function (Rivers & Vuong 1988; Petrin & Train 2010).

    `instruments` (n, J): what moved prices without moving demand, such as the jitter that was drawn, or
    cost. Quotes that cost nothing say nothing. Raises InvalidValueError for rows that do not match.
    """
    if instruments is not None and len(instruments) != len(quotes.price):
        raise InvalidValueError("needs one row a quote", field="instruments", value=len(instruments))
    paid = quotes.price > 0
    if not paid.any():
        return Confounding(Verdict.UNTESTABLE, 0.0, 0.0, 0.0, 0.0)
    accepted, weight = quotes.accepted[paid], np.ones(np.count_nonzero(paid))
    controls = _controls(quotes.chosen[paid], quotes.segment[paid], quotes.price[paid])
    naive = float(fit_logit(controls, accepted, weight).coef[-1])
    if instruments is None:
        return Confounding(Verdict.UNTESTABLE, 0.0, 0.0, naive, naive)
    residual, strength = _first_stage(controls, instruments[paid])
    if strength < _WEAK_INSTRUMENT_F:
        return Confounding(Verdict.UNTESTABLE, 0.0, strength, naive, naive)
    if float(residual.var()) < 1e-9 * float(controls[:, -1].var()):  # Known draws explain every price.
        return Confounding(Verdict.CLEAR, 0.0, strength, naive, naive)
    controlled = fit_logit(np.column_stack([residual, controls]), accepted, weight)
    z = controlled.z(0)
    verdict = Verdict.CONFOUNDED if abs(z) > CONFOUNDING_Z else Verdict.CLEAR
    return Confounding(verdict, z, strength, naive, float(controlled.coef[-1]))


def expiry_rises_with_price(price: Floats, expired: Floats) -> LogitFit:
    """Fit the chance that an unaccepted quote expired (n,) of 0/1 on ln price; column 1 is the effect.

    An effect above zero means expiry is a quiet refusal and must not be left out.
    """
    return fit_logit(np.column_stack([np.ones(len(price)), np.log(price)]), expired, np.ones(len(price)))


def _controls(chosen: Floats, segment: NDArray[np.int64], price: Floats) -> Floats:
    """Columns: a constant for each segment with quotes, the features that vary, ln price last."""
    dummies = (segment[:, None] == np.unique(segment)).astype(np.float64)
    varying = chosen[:, np.ptp(chosen, axis=0) > 0] if len(chosen) else chosen
    return np.column_stack([dummies, varying, np.log(price)])


def _first_stage(controls: Floats, instruments: Floats) -> tuple[Floats, float]:
    """Regress ln price on controls and instruments; return the residual and the instruments' F."""
    exogenous, log_price = controls[:, :-1], controls[:, -1]
    both = np.column_stack([exogenous, instruments])
    restricted, residual = (
        log_price - columns @ np.linalg.lstsq(columns, log_price, rcond=None)[0] for columns in (exogenous, both)
    )
    spare = max(len(log_price) - both.shape[1], 1)
    explained = float(restricted @ restricted - residual @ residual) / instruments.shape[1]
    return np.asarray(residual), explained / max(float(residual @ residual) / spare, 1e-300)
