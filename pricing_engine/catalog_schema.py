"""The JSON Schema of a catalog file, from the values themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from pricing_engine.price_book import PriceBook
from pricing_engine.tariffs.schema import TARIFF_SCHEMA

_DECIMAL = {"type": ["string", "number"], "pattern": "^[+-]?[0-9]*\\.?[0-9]+$"}


def catalog_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that editors check and complete catalog files with."""
    schema = msgspec.json.schema(PriceBook)
    definitions: dict[str, Any] = schema["$defs"]
    _allow_numbers(definitions)
    definitions["Feature"]["properties"]["tariff"] = TARIFF_SCHEMA
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Alacarte catalog", **schema}


def _allow_numbers(node: Any) -> None:  # noqa: ANN401
    """Let a decimal be written with or without quotes: a catalog file keeps its digits either way."""
    if isinstance(node, dict):
        if node.get("format") == "decimal":
            node.clear()
            node.update(_DECIMAL)
        for value in node.values():
            _allow_numbers(value)
    elif isinstance(node, list):
        for value in node:
            _allow_numbers(value)
