"""Time-of-day windows through clock changes, and which matrix rule wins."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from models.values.money import currency
from pricing_engine.rating import parse_usage, rate
from pricing_engine.tariffs.tariff import parse_tariff
from pricing_engine.tariffs.windows import Windows

USD = currency("USD")
NIGHT = {"name": "night", "from": "22:00", "to": "06:00", "factor": "0.5"}


def windows(*ranges: dict[str, Any], zone: str = "Europe/Berlin") -> Windows:
    tariff = parse_tariff({"model": "unit", "windows": {"zone": zone, "ranges": list(ranges)}})
    assert tariff.windows is not None
    return tariff.windows


def name_at(some: Windows, instant: str) -> str | None:
    window = some.window_at(datetime.fromisoformat(instant).astimezone(UTC))
    return None if window is None else window.name


@pytest.mark.parametrize(
    ("instant", "name"),
    [
        ("2024-07-01T21:59:59+02:00", None),
        ("2024-07-01T22:00:00+02:00", "night"),
        ("2024-07-02T05:59:59+02:00", "night"),
        ("2024-07-02T06:00:00+02:00", None),
        ("2024-10-27T02:30:00+02:00", "night"),  # The hour that happens twice.
        ("2024-10-27T02:30:00+01:00", "night"),
        ("2024-10-27T04:59:59Z", "night"),  # 05:59:59 in winter.
        ("2024-10-27T05:00:00Z", None),
        ("2024-03-31T03:59:59Z", "night"),  # 05:59:59 in summer, an hour after the gap.
        ("2024-03-31T04:00:00Z", None),
    ],
)
def test_a_window_follows_the_wall_clock(instant: str, name: str | None) -> None:
    assert name_at(windows(NIGHT), instant) == name


def test_days_are_those_on_which_a_window_starts() -> None:
    weekend = NIGHT | {"days": ["sat"]}
    assert name_at(windows(weekend), "2024-07-06T23:00:00+02:00") == "night"
    assert name_at(windows(weekend), "2024-07-07T05:00:00+02:00") == "night"
    assert name_at(windows(weekend), "2024-07-06T05:00:00+02:00") is None


def test_the_first_window_that_contains_an_instant_counts() -> None:
    day = {"name": "all day", "from": "00:00", "to": "00:00", "factor": "2"}
    assert name_at(windows(NIGHT, day), "2024-07-01T23:00:00+02:00") == "night"
    assert name_at(windows(NIGHT, day), "2024-07-01T12:00:00+02:00") == "all day"


def test_splits_weigh_their_own_window_units() -> None:
    tariff = parse_tariff(
        {
            "model": "graduated",
            "tiers": [{"up_to": "10", "unit_amount": "2"}, {"unit_amount": "1"}],
            "windows": {"zone": "UTC", "ranges": [NIGHT]},
        }
    )
    first = {"units": "12", "window_units": {"night": "8"}}
    second = {"units": "6", "window_units": {"night": "2"}}
    whole = {"units": "18", "window_units": {"night": "10"}}
    amounts = [rate(tariff, parse_usage(usage), USD).amount for usage in (first, second | {"prior": first}, whole)]
    assert amounts == [Decimal(16), Decimal(7), Decimal(23)]


def test_the_rule_with_most_properties_wins_and_the_earlier_of_equals() -> None:
    tariff = parse_tariff(
        {
            "model": "matrix",
            "rules": [
                {"when": {"region": "eu"}, "unit_amount": "1"},
                {"when": {"model": "a"}, "unit_amount": "2"},
                {"when": {"model": "a", "region": "us"}, "unit_amount": "3"},
            ],
        }
    )

    def price(**properties: str) -> Decimal:
        usage = parse_usage({"groups": [{"properties": properties, "units": "1"}]})
        return rate(tariff, usage, USD).amount

    assert price(model="a", region="eu") == 1
    assert price(model="a", region="us", size="xl") == 3
    assert price(model="a", region="ap") == 2
