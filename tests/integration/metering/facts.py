"""A published price book whose meters are those of `tests.metering_facts`."""

from __future__ import annotations

from typing import Any

import msgspec

from billing.database import Database
from billing.publishing import publish
from pricing_engine.catalog import Meter
from pricing_engine.price_book import parse_price_book
from tests.metering_facts import INPUT, NOW, OUTPUT, REQUESTS, TENANT
from tests.quote_facts import SIGNER


def publish_meters(database: Database, *meters: Meter, version: int = 1) -> None:
    """Publish a book with one metered feature a meter."""
    read = meters or (INPUT, OUTPUT, REQUESTS)
    document: dict[str, Any] = {
        "key": "llm",
        "version": version,
        "currency": "USD",
        "effective_from": "2020-01-01T00:00:00Z",
        "meters": [msgspec.to_builtins(meter) for meter in read],
        "features": [
            {"key": meter.key, "name": meter.key, "kind": "metered", "meter": meter.key,
             "tariff": {"model": "unit", "unit_amount": "0.000001"}}
            for meter in read
        ],
    }  # fmt: skip
    with database.writing(TENANT) as uow:
        publish(uow, parse_price_book(document), SIGNER, NOW, "ann")
