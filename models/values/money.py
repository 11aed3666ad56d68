"""Money: currencies, the ledger unit, rounding at named places, allocation without loss.

Two forms and no third: `Decimal` in major units while an amount is being rated (exact, unrounded), and
integers of the *ledger unit* once it is posted. The ledger unit is 10^-6 of the currency's minor unit, or
10^-4 where it has none: USD 10^-8, BHD 10^-9, KRW 10^-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache
from math import lcm
from typing import cast

import iso4217

from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.quantity import EXACT, plain

_LEDGER_DIGITS_BELOW_MINOR = 6
_LEDGER_DIGITS_WITHOUT_MINOR = 4
_MAX_CUSTOM_EXPONENT = 12


class CurrencyMismatchError(RuleBrokenError):
    """Two amounts of different currencies were combined."""

    code = "currency_mismatch"


class RoundingMode(StrEnum):
    """How a half, or any rest, goes; the default everywhere is half away from zero."""

    HALF_AWAY_FROM_ZERO = "half_away_from_zero"
    HALF_EVEN = "half_even"
    HALF_TOWARDS_ZERO = "half_towards_zero"
    UP = "up"  # Away from zero.
    DOWN = "down"  # Towards zero.
    CEILING = "ceiling"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Currency:
    """An ISO 4217 currency, or a custom credit with a precision of its own.

    `exponent`: digits of the minor unit (JPY 0, USD 2, BHD 3).
    """

    code: str
    exponent: int

    @property
    def ledger_exponent(self) -> int:
        """Digits of the ledger unit: USD 8, KRW 4, BHD 9."""
        return self.exponent + _LEDGER_DIGITS_BELOW_MINOR if self.exponent else _LEDGER_DIGITS_WITHOUT_MINOR

    @property
    def units_per_minor(self) -> int:
        """Ledger units in one minor unit."""
        return int(10 ** (self.ledger_exponent - self.exponent))


@cache
def currency(code: str) -> Currency:
    """Look up an ISO 4217 code, or parse a custom credit `XCREDIT.<digits>`, e.g. `XTOKENS.3`.

    Raises InvalidValueError for an unknown code, lower case included.
    """
    name, dot, digits = code.partition(".")
    if dot:
        is_credit = name.isascii() and name.isupper() and name.isalnum() and name.startswith("X") and len(name) > 3  # noqa: PLR2004
        if is_credit and digits.isdecimal() and digits.isascii() and int(digits) <= _MAX_CUSTOM_EXPONENT:
            return Currency(code, int(digits))
        raise InvalidValueError(
            f"a custom credit is X and two or more capitals, a point and 0 to {_MAX_CUSTOM_EXPONENT} digits",
            field="currency",
            value=code,
            code="unknown_currency",
        )
    try:
        exponent = iso4217.Currency(code).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise InvalidValueError(
            "must be an ISO 4217 code with a minor unit", field="currency", value=code, code="unknown_currency"
        )
    return Currency(code, exponent)


def round_fraction(value: Fraction | Decimal, mode: RoundingMode = RoundingMode.HALF_AWAY_FROM_ZERO) -> int:
    """Round an exact number to an integer by `mode`. The one place where a rest is decided."""
    numerator, denominator = value.as_integer_ratio()
    whole, rest = divmod(abs(numerator), denominator)
    negative = numerator < 0
    twice = 2 * rest
    match mode:
        case RoundingMode.HALF_AWAY_FROM_ZERO:
            up = twice >= denominator
        case RoundingMode.HALF_EVEN:
            up = twice > denominator or (twice == denominator and whole % 2 == 1)
        case RoundingMode.HALF_TOWARDS_ZERO:
            up = twice > denominator
        case RoundingMode.UP:
            up = rest > 0
        case RoundingMode.DOWN:
            up = False
        case RoundingMode.CEILING:
            up = rest > 0 and not negative
        case RoundingMode.FLOOR:
            up = rest > 0 and negative
    magnitude = whole + int(up)
    return -magnitude if negative else magnitude


def round_to_minor(
    amount: Decimal | Fraction, of: Currency, mode: RoundingMode = RoundingMode.HALF_AWAY_FROM_ZERO
) -> int:
    """Round an exact amount in major units to integer minor units."""
    return round_fraction(_shifted(amount, of.exponent), mode)


def round_to_ledger_units(amount: Decimal | Fraction, of: Currency) -> int:
    """Round an exact amount in major units to integer ledger units, half away from zero.

    Callers post differences of cumulative values, so what lies below the unit is carried, not lost.
    """
    return round_fraction(_shifted(amount, of.ledger_exponent))


def _shifted(amount: Decimal | Fraction, digits: int) -> Decimal | Fraction:
    return amount * 10**digits if isinstance(amount, Fraction) else EXACT.scaleb(amount, digits)


def from_minor(minor: int, of: Currency) -> Decimal:
    """Integer minor units -> exact Decimal in major units."""
    return Decimal(minor).scaleb(-of.exponent, context=EXACT)


def from_ledger_units(units: int, of: Currency) -> Decimal:
    """Integer ledger units -> exact Decimal in major units."""
    return Decimal(units).scaleb(-of.ledger_exponent, context=EXACT)


def shown_minor(minor: int, code: str) -> str:
    """Print integer minor units of a currency as a decimal string in major units: what a refusal says."""
    return plain(from_minor(minor, currency(code)))


def shown_units(units: int, code: str) -> str:
    """Print integer ledger units of a currency as a decimal string in major units."""
    return plain(from_ledger_units(units, currency(code)))


def allocate(total: int, weights: Sequence[Decimal | Fraction | int]) -> list[int]:
    """Split an integer `total` in proportion to `weights` by largest remainder; the parts sum to it exactly.

    Ties go to the earlier part. Weights must be >= 0; all-zero weights share equally.
    Raises InvalidValueError for a negative weight or for no weights.
    """
    if not weights or min(weights) < 0:
        raise InvalidValueError("needs at least one weight, none negative", field="weights", value=list(weights))
    shares = _whole_weights(weights)
    whole = sum(shares)
    if whole == 0:
        shares, whole = [1] * len(shares), len(shares)
    divided = [divmod(abs(total) * share, whole) for share in shares]
    parts = [part for part, _ in divided]
    left = abs(total) - sum(parts)
    if left:  # Sorting is stable in reverse too: of equal rests the earlier comes first.
        rests = [rest for _, rest in divided]
        for i in sorted(range(len(parts)), key=rests.__getitem__, reverse=True)[:left]:
            parts[i] += 1
    return parts if total >= 0 else [-part for part in parts]


def _whole_weights(weights: Sequence[Decimal | Fraction | int]) -> Sequence[int]:
    """Return integers in the same proportion."""
    if all([type(weight) is int for weight in weights]):
        return cast("Sequence[int]", weights)
    exact = [Fraction(weight) for weight in weights]
    common = lcm(*[weight.denominator for weight in exact])
    return [weight.numerator * (common // weight.denominator) for weight in exact]


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in integer ledger units of one currency."""

    amount_units: int
    currency: str

    def __add__(self, other: Money) -> Money:
        """Sum of two amounts of one currency; raises CurrencyMismatchError otherwise."""
        self._require_same_currency(other)
        return Money(self.amount_units + other.amount_units, self.currency)

    def __sub__(self, other: Money) -> Money:
        """Difference of two amounts of one currency; raises CurrencyMismatchError otherwise."""
        self._require_same_currency(other)
        return Money(self.amount_units - other.amount_units, self.currency)

    def __neg__(self) -> Money:
        """Return the opposite amount."""
        return Money(-self.amount_units, self.currency)

    def _require_same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatchError(
                f"amounts must be in one currency, have {self.currency}", field="currency", value=other.currency
            )

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return from_ledger_units(self.amount_units, currency(self.currency))
