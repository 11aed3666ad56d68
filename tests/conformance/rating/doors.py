"""The commands that cases go through: one request in, one answer out, as a user of the command line sees them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from api.cli import aggregate, prorate
from api.cli.rate import RateCommand
from pricing_engine.tariffs.reading import Fields

_RATE = RateCommand()

Json = dict[str, Any]


def rate_request(
    tariff: Mapping[str, Any], usage: Mapping[str, Any], code: str = "USD", *, rounded: bool = False
) -> Json:
    return _RATE.answer(Fields({"currency": code, "tariff": tariff, "usage": usage, "round": rounded}, ""))


def aggregate_request(request: Mapping[str, Any]) -> Json:
    return aggregate.answer(Fields(request, ""))


def prorate_request(request: Mapping[str, Any]) -> Json:
    return prorate.answer(Fields(request, ""))


def number(text: Any) -> Decimal:
    return Decimal(str(text))


def equal(ours: Any, theirs: Any, what: str) -> None:
    """Compare two numbers by value: 1.50 is 1.5."""
    assert number(ours) == number(theirs), f"{what}: ours {ours}, theirs {theirs}"


def equal_rounded(ours: Decimal, theirs: str, what: str) -> None:
    """Compare with a figure that its source shows rounded to some places."""
    places = Decimal(theirs).as_tuple().exponent
    assert isinstance(places, int)
    assert abs(ours - Decimal(theirs)) <= Decimal((0, (5,), places - 1)), f"{what}: ours {ours}, theirs {theirs}"
