"""Numbers at and beyond the limits are read exactly or refused with a code, never with a crash or a wrong digit."""

from __future__ import annotations

from decimal import Decimal

import pytest

from models.values.errors import LimitExceededError
from models.values.quantity import parse_decimal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10000000000.0000000000000000000000000", Decimal(10_000_000_000)),
        ("1.5000000000000000000000000000", Decimal("1.5")),
        ("0e-9999", Decimal(0)),
        ("-0.0", Decimal(0)),
        ("9" * 26 + "." + "9" * 24, Decimal("9" * 26 + "." + "9" * 24)),
    ],
)
def test_read(text: str, number: Decimal) -> None:
    read = parse_decimal(text, "n")
    assert read == number
    assert -int(read.as_tuple().exponent) <= 24
    assert not read.is_signed()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("10000000000.0000000000000000000000001", "too_many_decimal_places"),
        ("1e-9999", "too_many_decimal_places"),
        ("1e9999", "number_too_large"),
        ("1" + "0" * 26, "number_too_large"),
    ],
)
def test_refused(text: str, code: str) -> None:
    with pytest.raises(LimitExceededError) as refused:
        parse_decimal(text, "n")
    assert refused.value.code == code
