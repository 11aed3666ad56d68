"""Exact decimals: parsing what people send, printing what we promise.

Every amount and quantity enters as a decimal string or an integer and leaves as a plain decimal string.
Floats are refused at the door: 0.1 + 0.2 is not a price.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, Overflow

from models.values.errors import InvalidValueError, LimitExceededError

MAX_INTEGER_DIGITS = 26
"""Digits before the point that a parsed number may have."""
MAX_FRACTION_DIGITS = 24
"""Digits behind the point that a parsed number may have."""

EXACT = Context(prec=400, rounding=ROUND_HALF_UP, traps=[Inexact, Overflow])
"""Arithmetic that raises rather than rounds; wide enough for every product of parsed numbers."""

_PLAIN_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)


def parse_decimal(value: object, field: str, *, minimum: Decimal | None = None) -> Decimal:
    """Return `value` (decimal string, int or Decimal) as an exact finite Decimal.

    Raises InvalidValueError for floats, booleans, NaN, infinities, text that is no number, or a value
    below `minimum`; LimitExceededError beyond MAX_INTEGER_DIGITS or MAX_FRACTION_DIGITS.
    """
    if type(value) is str and value.isdecimal() and value.isascii() and len(value) <= MAX_INTEGER_DIGITS:
        number = Decimal(value)  # Most of what is sent: only the minimum is left to check.
        if minimum is not None and number < minimum:
            raise _below(minimum, value, field)
        return number
    number = _to_decimal(value, field)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidValueError("must be a finite number", field=field, value=value, code="not_finite")
    if number != 0 and number.adjusted() >= MAX_INTEGER_DIGITS:
        raise LimitExceededError(
            f"at most {MAX_INTEGER_DIGITS} digits before the point", field=field, value=value, code="number_too_large"
        )
    if number == 0:
        number = Decimal(0)  # A zero may come with a sign, or with an exponent of thousands.
    elif -exponent > MAX_FRACTION_DIGITS:
        number = _without_trailing_zeros(number, field)
    if minimum is not None and number < minimum:
        raise _below(minimum, value, field)
    return number


def _below(minimum: Decimal, value: object, field: str) -> InvalidValueError:
    return InvalidValueError(f"must be >= {plain(minimum)}", field=field, value=value, code="below_minimum")


def _without_trailing_zeros(number: Decimal, field: str) -> Decimal:
    digits = number.as_tuple().digits
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    if -int(number.as_tuple().exponent) - zeros > MAX_FRACTION_DIGITS:
        raise LimitExceededError(
            f"at most {MAX_FRACTION_DIGITS} decimal places", field=field, value=number, code="too_many_decimal_places"
        )
    return Decimal(plain(number))


def _to_decimal(value: object, field: str) -> Decimal:
    if isinstance(value, bool) or value is None:
        raise InvalidValueError("must be a decimal string", field=field, value=repr(value), code="not_a_number")
    if isinstance(value, float):
        raise InvalidValueError(
            "must be a decimal string; a float is not exact", field=field, value=value, code="float_refused"
        )
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= 200 and _PLAIN_DECIMAL.fullmatch(value):  # noqa: PLR2004
        return Decimal(value)
    raise InvalidValueError("must be a decimal string", field=field, value=value, code="not_a_number")


def plain(number: Decimal) -> str:
    """Print without exponent and without trailing zeros: Decimal('1E+3') -> '1000', '2.50' -> '2.5'."""
    if not number:
        return "0"
    text = str(number)
    if "E" in text:
        text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
