"""How price enters the log-odds of acceptance: log-odds = worth - slope * phi(price), phi increasing.

Three members, of which evidence picks one: `additive` phi = P / unit (worth adds up in money),
`multiplicative` phi = ln(P / unit) (worth multiplies), and `flexible` phi = sum_j exp(c_j) R_j(ln P), ramps
between knots whose weights exp(c_j) are positive whatever the data say. All three are monotone in price by
construction, for every parameter value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.values.errors import InvalidValueError

Floats = NDArray[np.float64]

_KNOT_SHARES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.98)


class Scale(StrEnum):
    """The member that a demand model uses for price."""

    ADDITIVE = "additive"
    MULTIPLICATIVE = "multiplicative"
    FLEXIBLE = "flexible"


@dataclass(frozen=True, slots=True)
class PriceBasis:
    """One member, fixed by its scale, a unit of price (major units) and, for `flexible`, knots of ln P."""

    scale: Scale
    unit: float
    knots: tuple[float, ...] = ()

    @property
    def ramps(self) -> int:
        """How many weights exp(c_j) the member learns: 0 except for `flexible`."""
        return len(self.knots) - 1 if self.scale is Scale.FLEXIBLE else 0

    def columns(self, price: Floats) -> Floats:
        """Return phi's columns (n, 1) or (n, ramps) at `price` (n,)."""
        if self.scale is Scale.ADDITIVE:
            return (price / self.unit)[:, None]
        log_price = np.log(price)
        if self.scale is Scale.MULTIPLICATIVE:
            return np.asarray((log_price - np.log(self.unit))[:, None])
        knots = np.asarray(self.knots)
        # The outer ramps run on beyond the data, so that demand keeps falling there.
        low = np.concatenate([[-np.inf], knots[1:-1]])
        high = np.concatenate([knots[1:-1], [np.inf]])
        starts = np.concatenate([[knots[1]], knots[1:-1]])
        return np.asarray(np.clip(log_price[:, None], low, high) - starts)

    def phi(self, price: Floats, log_weights: Floats) -> Floats:
        """Return phi (n,) at `price` (n,) given the ramps' log weights (ramps,)."""
        columns = self.columns(price)
        return np.asarray(columns @ np.exp(log_weights)) if self.ramps else columns[:, 0]

    def phi_slope(self, price: Floats, log_weights: Floats) -> Floats:
        """Return d phi / d price (n,), always > 0."""
        if self.scale is Scale.ADDITIVE:
            return np.full_like(price, 1.0 / self.unit)
        if self.scale is Scale.MULTIPLICATIVE:
            return 1.0 / price
        inner = np.asarray(self.knots)[1:-1]
        return np.asarray(np.exp(log_weights)[np.searchsorted(inner, np.log(price), side="right")] / price)


def price_basis(scale: Scale, price: Floats) -> PriceBasis:
    """Fix a member's unit and knots from the prices seen, in major units.

    Raises InvalidValueError for a price that is not finite, or not above zero where the log is taken.
    """
    if not np.all(np.isfinite(price)):
        raise InvalidValueError("must be finite", field="price", code="not_finite")
    if scale is Scale.ADDITIVE:
        return PriceBasis(scale, float(np.median(np.abs(price))) or 1.0)
    if np.any(price <= 0):
        raise InvalidValueError("must be above zero on a log scale", field="price", value=float(price.min()))
    unit = float(np.exp(np.median(np.log(price))))
    if scale is Scale.MULTIPLICATIVE:
        return PriceBasis(scale, unit)
    knots = np.unique(np.quantile(np.log(price), _KNOT_SHARES))
    if len(knots) < 3:
        middle = float(knots.mean())
        knots = np.array([middle - 0.5, middle, middle + 0.5])
    return PriceBasis(scale, unit, tuple(float(knot) for knot in knots))
