"""docs/tariffs.md: every example runs, every model and field has one, the schema accepts them all."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.cli.rate import ASIDES, RateCommand
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.schema import REQUEST_SCHEMA
from pricing_engine.tariffs.tariff import MODELS, Tariff, parse_tariff, tariff_document

Json = dict[str, Any]
_TEXT = (Path(__file__).parents[3] / "docs" / "tariffs.md").read_text()
_LINES = [
    json.loads(line) for block in re.findall(r"```json\n(.*?)```", _TEXT, re.DOTALL) for line in block.splitlines()
]
EXAMPLES: list[tuple[Json, Json]] = list(zip(_LINES[::2], _LINES[1::2], strict=True))
_SCHEMA = Draft202012Validator(REQUEST_SCHEMA)


@pytest.mark.parametrize(("request_", "expected"), EXAMPLES, ids=[str(i) for i in range(len(EXAMPLES))])
def test_example(request_: Json, expected: Json) -> None:
    answer = RateCommand().answer(Fields(request_, ""))
    assert {name: answer[name] for name in expected} == expected
    assert list(_SCHEMA.iter_errors(request_)) == []
    tariff = parse_tariff({name: value for name, value in request_["tariff"].items() if name not in ASIDES})
    assert parse_tariff(tariff_document(tariff)) == tariff


def test_every_model_and_every_field_of_a_tariff_has_an_example() -> None:
    shown: set[str] = set()
    for request, _ in EXAMPLES:
        shown |= request["tariff"].keys() | {request["tariff"]["model"]}
    wanted = {field.name for field in fields(Tariff)} - {"shape"} | {
        model for model in MODELS if not model.startswith("bucketed_")
    }
    assert wanted <= shown
    assert all(f"`{model}`" in _TEXT for model in MODELS)


def test_the_schema_is_a_schema_and_refuses_what_is_not_a_tariff() -> None:
    Draft202012Validator.check_schema(REQUEST_SCHEMA)
    good = {"currency": "USD", "tariff": {"model": "unit", "unit_amount": "1"}, "usage": {"units": "1"}}
    assert _SCHEMA.is_valid(good)
    for change in ({"unit_price": "1"}, {"model": "stairs"}, {"unit_amount": "NaN"}, {"unit_amount": 0.5}):
        assert not _SCHEMA.is_valid(good | {"tariff": good["tariff"] | change})  # type: ignore[operator]


def test_the_schema_knows_every_field_of_a_tariff() -> None:
    known = REQUEST_SCHEMA["properties"]["tariff"]["properties"].keys()
    assert {field.name for field in fields(Tariff)} - {"shape"} <= known
