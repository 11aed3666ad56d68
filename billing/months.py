"""Billing months by their key: 2026-01."""

from __future__ import annotations

import re
from datetime import date, timedelta

from models.values.errors import InvalidValueError

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)


def first_day(key: str) -> date:
    """Return the first day of a month like 2026-01. Raises InvalidValueError."""
    match = _MONTH.fullmatch(key)
    if match is None:
        raise InvalidValueError("must be a month like 2026-01", field="period", value=key, code="invalid_period")
    try:
        return date(int(match[1]), int(match[2]), 1)
    except ValueError as error:
        raise InvalidValueError(str(error), field="period", value=key, code="invalid_period") from error


def day_after(key: str) -> date:
    """Return the first day after a month. Raises InvalidValueError."""
    try:
        return (first_day(key) + timedelta(days=32)).replace(day=1)
    except OverflowError as error:
        raise InvalidValueError("no month comes after it", field="period", value=key, code="invalid_period") from error
