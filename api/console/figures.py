"""Figures for people. What is shown short is rounded for the eye alone; pages that prove something show every digit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from zoneinfo import ZoneInfo

from models.values.money import currency, from_minor, round_to_minor
from models.values.period import Period
from models.values.quantity import plain

_SIGNIFICANT = 3
_MILLION = Decimal(1_000_000)
_THOUSANDTH = Decimal("0.001")
_TO_TWELVE_DIGITS = Context(prec=12)


def money(amount: Decimal, code: str) -> str:
    """Write an amount in major units to the minor unit, or to three digits where it is smaller than one."""
    of = currency(code)
    rounded = from_minor(round_to_minor(amount, of), of)
    if rounded or not amount:
        return _grouped(format(rounded, f".{of.exponent}f"))
    digits = _SIGNIFICANT - 1 - amount.adjusted()
    return _grouped(format(amount, f".{digits}f"))


def minor(amount: int, code: str) -> str:
    """Write minor units with all their digits."""
    of = currency(code)
    return _grouped(format(from_minor(amount, of), f".{of.exponent}f"))


def number(value: Decimal | int) -> str:
    """Write an exact number with every digit."""
    return _grouped(plain(Decimal(value)))


def percent(share: Decimal | float, digits: int = 0) -> str:
    """Write a share of one."""
    return f"{Decimal(str(share)) * 100:.{digits}f} %"


def price(amount: Decimal) -> str:
    """Write a price a unit to twelve digits; one that is less than a thousandth as what a million units cost."""
    amount = _TO_TWELVE_DIGITS.create_decimal(amount)
    return f"{number(amount * _MILLION)} / 1M" if 0 < amount < _THOUSANDTH else number(amount)


def prices(lowest: Decimal, highest: Decimal) -> str:
    """Write the span between two prices, in the unit that suits the higher one."""
    if lowest == highest:
        return price(lowest)
    if highest < _THOUSANDTH:
        return f"{number(lowest * _MILLION)}\N{EN DASH}{number(highest * _MILLION)} / 1M"
    return f"{number(lowest)}\N{EN DASH}{number(highest)}"


def day(moment: date | datetime | None) -> str:
    """Write a date as 2026-11-25, which both languages read."""
    return "" if moment is None else moment.strftime("%Y-%m-%d")


def days(period: Period, zone: str) -> str:
    """Write the first and the last day of a period, as its customer counts them."""
    where = ZoneInfo(zone)
    first = period.start.astimezone(where)
    last = max(first, (period.end - timedelta(microseconds=1)).astimezone(where))
    return f"{day(first)} \N{EN DASH} {day(last)}"


def minute(moment: datetime | None) -> str:
    """Write a time to the minute, UTC."""
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")


def instant(text: str) -> str:
    """Write a time that comes as text to the minute, UTC."""
    return minute(datetime.fromisoformat(text).astimezone(UTC))


def _grouped(text: str) -> str:
    """Put commas between thousands, as English and Korean do."""
    sign, digits = ("\N{MINUS SIGN}", text[1:]) if text.startswith("-") else ("", text)
    whole, dot, fraction = digits.partition(".")
    return f"{sign}{int(whole):,}{dot}{fraction}"
