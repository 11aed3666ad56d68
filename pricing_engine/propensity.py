"""With what probability a quote's total was drawn: what evaluating other prices offline rests on.

All adaptive features of a quote share one number u, uniform in [-1, 1], each scaled by its own jitter, so their
propensities must not be multiplied. The shown prices are those of the u in [a, b] where every feature stays on its
rung; the total's probability is (b - a) / 2. Spread over half the way to the next totals below and above, which the
features that step at a and b lead to, it becomes a density.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from models.values.quantity import EXACT, plain
from pricing_engine.price_sheet import PriceSheet, SheetPrice, draw_range
from pricing_engine.quoting import PricedQuote, QuoteLine

_DIGITS = Context(prec=12, rounding=ROUND_HALF_EVEN)
_LOWEST, _HIGHEST, _ZERO = Decimal(-1), Decimal(1), Decimal(0)


@dataclass(frozen=True, slots=True)
class TotalPropensity:
    """`mass`: probability of just this total. `density`: per major unit of the total."""

    mass: Decimal
    density: Decimal

    def document(self) -> dict[str, Any]:
        """Return both as plain decimal strings."""
        return {"mass": plain(self.mass), "density": plain(self.density)}


@dataclass(frozen=True, slots=True)
class _Range:
    """Where in u one line keeps its price, and how far the total goes where it takes its next rung."""

    low: Decimal
    high: Decimal
    step: Decimal


def total_propensity(quote: PricedQuote, sheet: PriceSheet) -> TotalPropensity | None:
    """Return the propensity of a quote's total under its sheet; None where no draw could have moved it."""
    prices = {price.feature: price for price in sheet.prices}
    ranges = [
        _range(line, prices[line.feature])
        for line in quote.lines
        if line.shown is not None and line.amount and prices[line.feature].jitter and line.shown.price
    ]
    if not ranges:
        return None
    low, high = max(each.low for each in ranges), min(each.high for each in ranges)
    below = _sum([each.step for each in ranges if each.low == low]) if low > _LOWEST else _ZERO
    above = _sum([each.step for each in ranges if each.high == high]) if high < _HIGHEST else _ZERO
    sides = [side for side in (below, above) if side]
    if not sides:
        return None
    mass = _DIGITS.divide(EXACT.subtract(high, low), Decimal(2))
    width = _DIGITS.divide(_sum(sides), Decimal(len(sides)))
    return TotalPropensity(mass, _DIGITS.divide(mass, width))


def _range(line: QuoteLine, price: SheetPrice) -> _Range:
    """Return a line's range. The last rung a rail allows reaches to the end of the draws."""
    assert line.shown is not None  # noqa: S101 - asked for by the caller
    low, high = draw_range(price, line.shown.price)
    step = _DIGITS.divide(EXACT.multiply(line.amount, price.ladder_step), line.shown.price)
    return _Range(_DIGITS.divide(low, price.jitter), _DIGITS.divide(high, price.jitter), step)


def _sum(amounts: list[Decimal]) -> Decimal:
    return sum(amounts, _ZERO)
