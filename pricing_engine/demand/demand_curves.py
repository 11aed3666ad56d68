"""Many possible demand curves, tabulated: the hypotheses among which an adaptive price learns.

A curve is D(p) = ceiling * (share * S_1(p) + (1 - share) * S_2(p)), each S the chance that willingness to pay,
with some location and relative spread, exceeds p: a ramp (linear demand), a logistic, a log-normal, or a
Weibull (exponential demand among them). One customer group or two, and a ceiling that half of the curves have
below one, so that a conversion of a few percent, a kink and a second market are nothing special.

A curve is a point of R^6 under a standard normal prior, which makes proposals and their prior odds simple.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from pricing_engine.demand.price_basis import Floats

LATENT_SIZE = 6
"""Location, log spread, ceiling; second group's location and log spread; share of the first group."""
_LEAST_CHANCE = 1e-4
_SPREAD_MEDIAN, _SPREAD_LOG_DEVIATION = 0.4, 0.7
_USUAL_SPAN, _NARROWER_BY, _VAGUER_BY = 2.4, 0.5, 0.4
"""In a range of prices narrower than by a factor of eleven willingness to pay is believed to spread less, and less is
believed: else all curves would be flat from end to end."""
_CEILING_LOG_DEVIATION = 2.5
_LOCATION_SHARES = (0.3, 1.1)
_LOCATION_DEVIATION = 0.7
"""Below 1: the middle of that span is likelier than its ends, or a few sales low down are soon all there is."""
_RATHER_LOW, _LOWER_BY = -1.0, 0.3
"""Below that latent location, one of six, it leaves that span downwards by so much of the range for each unit: a best
price at the low end is unlikely, but must not be impossible."""
_WEIBULL_SHAPE, _LARGEST_EXPONENT = 1.1, 10.0
_RAMP_HALF_WIDTH = float(np.sqrt(3.0))
_LOGISTIC_SCALE = float(np.sqrt(3.0) / np.pi)


class Shape(IntEnum):
    """The distribution of willingness to pay within a customer group."""

    RAMP = 0
    LOGISTIC = 1
    LOG_NORMAL = 2
    WEIBULL = 3


@dataclass(frozen=True, slots=True)
class CurveFamily:
    """Curves of one shape with one customer group or two, and how likely they are before the first offer."""

    shape: Shape
    groups: int
    chance: float


FAMILIES = (
    CurveFamily(Shape.RAMP, 1, 0.2),
    CurveFamily(Shape.LOGISTIC, 1, 0.2),
    CurveFamily(Shape.LOG_NORMAL, 1, 0.2),
    CurveFamily(Shape.WEIBULL, 1, 0.1),
    CurveFamily(Shape.RAMP, 2, 0.1),
    CurveFamily(Shape.LOGISTIC, 2, 0.1),
    CurveFamily(Shape.LOG_NORMAL, 2, 0.1),
)


@dataclass(frozen=True, slots=True)
class Curves:
    """H curves: `family` (H,) index into FAMILIES, `latent` (H, 6), `chance` (H, G) of acceptance on a grid."""

    family: NDArray[np.int64]
    latent: Floats
    chance: Floats

    def rows(self, index: NDArray[np.int64]) -> Curves:
        """Return the curves at `index`, in that order."""
        return Curves(self.family[index], self.latent[index], self.chance[index])

    def joined(self, other: Curves) -> Curves:
        """Return these curves followed by others on the same grid."""
        return Curves(
            np.concatenate([self.family, other.family]),
            np.concatenate([self.latent, other.latent]),
            np.concatenate([self.chance, other.chance]),
        )


class PriceGrid:
    """G prices from `low` to `high` (major units, low > 0) in equal ratios, and the curves on them."""

    def __init__(self, low: float, high: float, size: int) -> None:
        self.log_low, self.log_step = float(np.log(low)), float(np.log(high / low) / (size - 1))
        self.prices = np.exp(self.log_low + self.log_step * np.arange(size))
        # Who sets a range expects willingness to pay inside it: not at its low end, perhaps above its high end.
        # Without this, a few sales at low prices would convince the model that there is nothing to find above.
        span = float(np.log(high / low))
        self._location = self.log_low + _LOCATION_SHARES[0] * span
        self._lower_by = _LOWER_BY * span
        narrower = _NARROWER_BY * max(float(np.log(_USUAL_SPAN / span)), 0.0)
        self._log_spread = float(np.log(_SPREAD_MEDIAN)) - narrower
        self._log_spread_deviation = _SPREAD_LOG_DEVIATION + _VAGUER_BY * narrower
        self._location_span = (_LOCATION_SHARES[1] - _LOCATION_SHARES[0]) * span

    def curves(self, family: NDArray[np.int64], latent: Floats) -> Curves:
        """Tabulate the curves of `family` (H,) and `latent` (H, 6)."""
        chance = np.empty((len(family), len(self.prices)))
        for index, member in enumerate(FAMILIES):
            rows = np.flatnonzero(family == index)
            if len(rows):
                chance[rows] = self._acceptance(member, latent[rows])
        return Curves(family, latent, np.clip(chance, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE))

    def weights(self, price: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Return each price's lower neighbour on the grid (n,) and the share (n,) that belongs to the upper."""
        position = np.clip((np.log(price) - self.log_low) / self.log_step, 0.0, len(self.prices) - 1.0)
        lower = np.minimum(position.astype(np.int64), len(self.prices) - 2)
        return lower, position - lower

    def _acceptance(self, family: CurveFamily, latent: Floats) -> Floats:
        paying = self._survival(family.shape, latent[:, 0:1], latent[:, 1:2])
        if family.groups == 2:
            share = ndtr(latent[:, 5:6])
            paying = share * paying + (1.0 - share) * self._survival(family.shape, latent[:, 3:4], latent[:, 4:5])
        ceiling = np.exp(np.minimum(0.0, _CEILING_LOG_DEVIATION * latent[:, 2:3]))
        return np.asarray(ceiling * paying)

    def _survival(self, shape: Shape, location: Floats, spread: Floats) -> Floats:
        """P(willingness to pay > price) (H, G), for latent location and spread (H, 1)."""
        inside = self._location + self._location_span * ndtr(_LOCATION_DEVIATION * location)
        middle = np.exp(inside + self._lower_by * np.minimum(location - _RATHER_LOW, 0.0))
        width = np.exp(self._log_spread + self._log_spread_deviation * spread)
        if shape is Shape.RAMP:
            return np.asarray(
                np.clip(0.5 + (middle - self.prices) / (2.0 * _RAMP_HALF_WIDTH * width * middle), 0.0, 1.0)
            )
        if shape is Shape.LOGISTIC:
            return np.asarray(expit((middle - self.prices) / (_LOGISTIC_SCALE * width * middle)))
        if shape is Shape.LOG_NORMAL:
            return np.asarray(ndtr((np.log(middle) - np.log(self.prices)) / width))
        power = np.minimum((np.log(self.prices) - np.log(middle)) * _WEIBULL_SHAPE / width, _LARGEST_EXPONENT)
        return np.asarray(np.exp(-np.exp(power)))
