"""Lago's grid of charge models and aggregations (its golden rows b01 and b16), billed to the invoice by our close.

March 2024, one metered feature, events on the 5th unless told otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest

from billing.database import Database
from tests.billing_story import BOOK, Company, event

AMOUNTS = [("2024-03-05T10:00", 10), ("2024-03-05T11:00", 30), ("2024-03-05T12:00", 20)]
UNIT = {"model": "unit", "unit_amount": "1"}
GRADUATED = {
    "model": "graduated",
    "tiers": [{"up_to": "10", "unit_amount": "2", "flat_amount": "100"}, {"unit_amount": "1", "flat_amount": "50"}],
}
VOLUME = {"model": "volume", "tiers": [{"up_to": "10", "unit_amount": "10"}, {"unit_amount": "20"}]}
PACKAGE = {"model": "package", "package_size": "25", "package_amount": "10"}
PERCENTAGE = {"model": "percentage", "rate": "10", "fixed_amount": "1"}
BY_TIER = {
    "model": "graduated_percentage",
    "tiers": [{"up_to": "25", "rate": "10", "flat_amount": "1"}, {"rate": "20", "flat_amount": "2"}],
}
SEATS = [("2024-03-11", 31), ("2024-03-22", 62)]


@pytest.mark.parametrize(
    ("aggregation", "tariff", "events", "cents"),
    [
        ("count", UNIT, AMOUNTS, 300),
        ("sum", UNIT, AMOUNTS, 6000),
        ("max", UNIT, AMOUNTS, 3000),
        ("max", UNIT, [("2024-03-05T10:00", 40)], 4000),
        ("latest", UNIT, AMOUNTS, 2000),
        ("unique_count", UNIT, [("2024-03-05", "u1"), ("2024-03-05", "u2"), ("2024-03-06", "u2")], 200),
        ("weighted_sum", UNIT, [("2024-03-16", 62)], 3200),
        ("weighted_sum", UNIT, SEATS, 4100),
        ("sum", GRADUATED, AMOUNTS, 22000),
        ("sum", GRADUATED, [], 10000),
        ("sum", VOLUME, [("2024-03-05", 15)], 30000),
        ("sum", PACKAGE, AMOUNTS, 3000),
        ("sum", PERCENTAGE, AMOUNTS, 900),
        ("sum", BY_TIER, AMOUNTS, 1250),
        ("count", UNIT, [], 0),
        ("sum", UNIT, [], 0),
    ],
)
def test_an_invoice_comes_to_what_lagos_does(
    database: Database, aggregation: str, tariff: dict[str, Any], events: list[tuple[str, int | str]], cents: int
) -> None:
    company = Company(database)
    company.found("acme")
    meter = {"key": "use", "event_type": "llm.request", "aggregation": aggregation}
    if aggregation != "count":
        meter["value_property"] = "tokens"
    feature = {"key": "use", "name": "Use", "kind": "metered", "meter": "use", "tariff": tariff}
    book = company.publish({**BOOK, "meters": [meter], "features": [feature], "bundles": []})
    company.subscribe("acme", book, {"use": "0"}, "2024-03-01")
    if events:
        company.ingest([event(number, "acme", *each) for number, each in enumerate(events)], "2024-03-31")
    company.close("2024-03", "2024-04-01T01:00")
    assert sum(invoice.total_minor for invoice in company.invoices("acme")) == cents
