"""Whole numbers as commands take them: what no database or calendar could hold is refused, and is no fault of ours."""

from __future__ import annotations

import argparse
from datetime import timedelta

from models.values.errors import InvalidValueError

MOST_DAYS = 36_500
_MOST_DIGITS = 18


def whole(text: str) -> int:
    """Read a whole number of at most 18 digits."""
    try:
        number = int(text)
    except ValueError:
        number = 10**_MOST_DIGITS
    if abs(number) >= 10**_MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {_MOST_DIGITS} digits, got {text!r}")
    return number


def days(count: int, most: int = MOST_DAYS, field: str = "days") -> timedelta:
    """Return so many days. Raises InvalidValueError unless they are from 1 to `most`."""
    if not 1 <= count <= most:
        raise InvalidValueError(f"must be from 1 to {most}", field=field, value=count)
    return timedelta(days=count)
