"""`alacarte prorate`, through the command itself."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from api.cli.main import main


@pytest.fixture
def answers(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Any:
    def ask(*requests: dict[str, Any]) -> list[dict[str, Any]]:
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        assert main(["prorate"]) == 0
        return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]

    return ask


def request(**fields: Any) -> dict[str, Any]:
    return {"id": "r", "amount": "599.95", "currency": "USD", **fields}


def dates(start: str, end: str) -> dict[str, str]:
    return {"from": start, "to": end}


def test_a_full_request(answers: Any) -> None:
    asked = request(
        period=dates("2012-02-29", "2012-03-31"),
        used=dates("2012-03-02", "2012-03-31"),
        unit="day",
        zone="UTC",
        anchor=31,
        basis="calendar",
    )
    assert answers(asked) == [
        {
            "id": "r",
            "amount": "561.24",
            "exact": "561.243548387096774193548387",
            "ratio": "0.935483870967741935483871",
            "period": {"from": "2012-02-29T00:00:00Z", "to": "2012-03-31T00:00:00Z"},
        }
    ]


def test_the_anchor_finds_the_full_period(answers: Any) -> None:
    (found,) = answers(request(used=dates("2012-03-02", "2012-03-31"), anchor=31))
    assert (found["amount"], found["period"]["from"]) == ("561.24", "2012-02-29T00:00:00Z")
    piece = dates("2012-05-12", "2012-08-01")
    (quarter,) = answers(request(amount="69.95", period=piece, used=piece, anchor=1))
    assert (quarter["amount"], quarter["period"]["from"]) == ("61.59", "2012-05-01T00:00:00Z")
    (named,) = answers(request(amount="366", used=dates("2024-03-01", "2024-03-02"), anchor=1, interval="year"))
    assert named["amount"] == "1"
    (calendar,) = answers(request(amount="31", used=dates("2024-03-12", "2024-03-13"), interval="month"))
    assert (calendar["amount"], calendar["period"]["from"]) == ("1", "2024-03-01T00:00:00Z")


def test_several_turns_of_the_cycle(answers: Any) -> None:
    (found,) = answers(request(amount="31", used=dates("2011-02-01", "2011-04-13"), anchor=13))
    assert found["amount"] == "74"
    assert [piece["ratio"][:6] for piece in found["pieces"]] == ["0.3870", "1", "1"]
    assert found["period"] == dates("2011-01-13T00:00:00Z", "2011-04-13T00:00:00Z")


def test_days_and_seconds_where_the_clocks_change(answers: Any) -> None:
    month = {"period": dates("2024-03-01", "2024-04-01"), "used": dates("2024-03-10", "2024-03-11")}
    by_day, by_second = answers(
        request(amount="743", zone="America/New_York", unit="day", **month),
        request(amount="743", zone="America/New_York", unit="second", **month),
    )
    assert (by_day["amount"], by_second["amount"]) == ("23.97", "23")
    assert by_second["period"] == dates("2024-03-01T05:00:00Z", "2024-04-01T04:00:00Z")


def test_currencies_round_by_their_own_minor_unit(answers: Any) -> None:
    third = {"period": dates("2023-04-01", "2023-05-01"), "used": dates("2023-04-01", "2023-04-11")}
    found = answers(
        *(request(amount="100", **third) | {"currency": code} for code in ("JPY", "USD", "BHD", "XTOKENS.5"))
    )
    assert [one["amount"] for one in found] == ["33", "33.33", "33.333", "33.33333"]


def test_edges_of_use(answers: Any) -> None:
    month = dates("2026-01-01", "2026-02-01")
    whole, outside, nothing, none = answers(
        request(period=month),
        request(period=month, used=dates("2026-01-01", "2026-03-01")),
        request(period=month, used=dates("2026-01-05", "2026-01-05")),
        request(period=dates("2026-01-01", "2026-01-01")),
    )
    assert [one["ratio"] for one in (whole, outside, nothing, none)] == ["1", "1", "0", "1"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": None}, "missing_field"),
        ({"amount": "ten"}, "not_a_number"),
        ({"amount": 10.5}, "float_refused"),
        ({"currency": "usd"}, "unknown_currency"),
        ({"currency": None}, "missing_field"),
        ({"period": None}, "missing_field"),
        ({"period": dates("2026-02-01", "2026-01-01")}, "period_reversed"),
        ({"period": {"from": "2026-02-01"}}, "missing_field"),
        ({"period": dates("2026-02-30", "2026-03-01")}, "invalid_time"),
        ({"zone": "Mars/Olympus"}, "unknown_zone"),
        ({"unit": "hour"}, "unknown_unit"),
        ({"basis": "actual"}, "unknown_basis"),
        ({"basis": "fixed_30", "unit": "second"}, "basis_needs_days"),
        ({"anchor": 0}, "invalid_anchor"),
        ({"anchor": 32}, "invalid_anchor"),
        ({"anchor": "1.5"}, "invalid_anchor"),
        ({"anchor": 1, "interval": "fortnight"}, "unknown_interval"),
        ({"rounding": "up"}, "unknown_field"),
    ],
    ids=map(str, range(18)),
)
def test_a_bad_request_is_refused_with_its_code(answers: Any, change: dict[str, Any], code: str) -> None:
    (found,) = answers(request(period=dates("2026-01-01", "2026-02-01")) | change)
    assert (found["id"], found["error"]["code"]) == ("r", code)
