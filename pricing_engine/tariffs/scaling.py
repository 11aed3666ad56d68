"""Exact decimals as integers of a common power of ten."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from models.values.quantity import EXACT, MAX_FRACTION_DIGITS


def decimals_of(number: Decimal | None) -> int:
    """Return the digits behind the point, 0 for None and for whole numbers."""
    if number is None:
        return 0
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def decimals_of_all(numbers: Iterable[Decimal | None]) -> int:
    """Return the most digits behind the point of any of them."""
    return max(map(decimals_of, numbers), default=0)


def scaled(number: Decimal, exponent: int) -> int:
    """Return `number` x 10^exponent; the caller made `exponent` large enough for that to be whole."""
    return int(number.scaleb(exponent, EXACT))


def unscaled(number: int, exponent: int, divisor: int = 1) -> Decimal:
    """Return `number` / (10^exponent * divisor), without needless zeros.

    Exact, but for a quotient without finite decimal form: that keeps 24 decimal places, half away from zero.
    """
    if divisor != 1:
        number, rest = divmod(number, divisor)
        if rest:
            number = half_away((number * divisor + rest) * 10**MAX_FRACTION_DIGITS, divisor * 10**exponent)
            exponent = MAX_FRACTION_DIGITS
    if exponent == 0 or number == 0:
        return Decimal(number)
    whole, rest = divmod(number, 10**exponent)
    if rest == 0:
        return Decimal(whole)
    return Decimal(number).scaleb(-exponent, EXACT).normalize(EXACT)


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """Return the sum, exact: the built-in sum rounds to 28 digits."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def half_away(numerator: int, denominator: int) -> int:
    """Round numerator / denominator (denominator > 0) to an integer, half away from zero."""
    whole = (2 * abs(numerator) + denominator) // (2 * denominator)
    return whole if numerator >= 0 else -whole
