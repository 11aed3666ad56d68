"""Figures keep their digits: short ones are rounded for the eye, exact ones are not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.console import figures
from models.values.period import Period


@pytest.mark.parametrize(
    ("amount", "code", "shown"),
    [
        ("1234567.895", "USD", "1,234,567.90"),
        ("-0.5", "USD", "\N{MINUS SIGN}0.50"),
        ("0", "USD", "0.00"),
        ("0.000478", "USD", "0.000478"),
        ("0.00047866", "USD", "0.000479"),
        ("1234.5", "KRW", "1,235"),
        ("0.4", "KRW", "0.400"),
    ],
)
def test_money_is_rounded_to_the_minor_unit_or_to_three_digits_below_it(amount: str, code: str, shown: str) -> None:
    assert figures.money(Decimal(amount), code) == shown


def test_what_is_taken_off_has_one_minus_sign_however_small() -> None:
    assert figures.money(Decimal("-0.00202"), "USD") == "\N{MINUS SIGN}0.00202"
    assert figures.money(Decimal("-1.1"), "USD") == "\N{MINUS SIGN}1.10"


def test_exact_figures_keep_every_digit() -> None:
    assert figures.number(Decimal("-1234567.000000000000123")) == "\N{MINUS SIGN}1,234,567.000000000000123"
    assert figures.minor(-123456, "USD") == "\N{MINUS SIGN}1,234.56"


def test_small_prices_are_written_for_a_million_units() -> None:
    assert figures.price(Decimal("0.00000015")) == "0.15 / 1M"
    assert figures.price(Decimal("0.002")) == "0.002"
    assert figures.price(Decimal("1.0666666666666666665")) == "1.06666666667"
    assert figures.price(Decimal("1200")) == "1,200"
    assert figures.prices(Decimal("0.00000015"), Decimal("0.0000025")) == "0.15\N{EN DASH}2.5 / 1M"


def test_days_are_counted_where_the_customer_lives() -> None:
    november = Period(datetime(2026, 10, 31, 15, tzinfo=UTC), datetime(2026, 11, 30, 15, tzinfo=UTC))
    assert figures.days(november, "Asia/Seoul") == "2026-11-01 \N{EN DASH} 2026-11-30"
