"""Amounts of money as they come in: decimal strings, exact or refused."""

from __future__ import annotations

from models.values.errors import InvalidValueError
from models.values.money import Currency, from_minor, round_to_minor
from models.values.quantity import parse_decimal


def minor_of(text: str, field: str, money: Currency) -> int:
    """Return an amount in minor units. Raises InvalidValueError for one that is finer: nothing is rounded."""
    amount = parse_decimal(text, field)
    minor = round_to_minor(amount, money)
    if from_minor(minor, money) != amount:
        raise InvalidValueError(
            f"has at most {money.exponent} decimals", field=field, value=text, code="too_many_decimal_places"
        )
    return minor
