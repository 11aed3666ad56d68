"""`alacarte rate` as it is run: a file or standard input, line by line, compiled once a tariff."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from api.cli import rate
from models.values.errors import InvalidValueError
from pricing_engine.tariffs.reading import Fields

REQUEST: dict[str, Any] = {
    "id": "a",
    "currency": "USD",
    "tariff": {
        "model": "graduated",
        "tiers": [
            {"up_to": "10", "unit_amount": "1.5", "flat_amount": "2"},
            {"up_to": None, "unit_amount": "1", "flat_amount": None},
        ],
        "minimum_spend": None,
        "unit_conversion": None,
        "zero_usage_flat_fee": True,
    },
    "usage": {"units": "15", "prior_units": None, "final": True, "events": None},
    "round": False,
}


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    rate.register(parser.add_subparsers())
    options = parser.parse_args(["rate", *arguments])
    return int(options.run(options))


def test_a_file_is_answered_line_by_line(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "requests.jsonl"
    bad = REQUEST | {"id": 7, "tariff": {"model": "unit", "unit_amount": "-1"}}
    path.write_text(json.dumps(REQUEST) + "\n\n" + json.dumps(bad) + "\n")
    assert run(str(path)) == 0
    first, second = map(json.loads, capfdbinary.readouterr().out.splitlines())
    assert (first["id"], first["amount"]) == ("a", "22")
    assert first["lines"][0] == {"component": "tier-1-unit", "quantity": "10", "unit_amount": "1.5", "amount": "15"}
    assert second == {
        "id": 7,
        "error": {
            "code": "negative_price",
            "field": "tariff.unit_amount",
            "message": "tariff.unit_amount: must be >= 0, got '-1'",
        },
    }


def test_standard_input_is_read_where_no_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(REQUEST).encode())))
    assert run() == 0
    assert json.loads(capfdbinary.readouterr().out)["amount"] == "22"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError) as refused:
        run(str(tmp_path / "none.jsonl"))
    assert refused.value.code == "unreadable_file"


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--schema") == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["currency", "tariff", "usage"]


def test_a_tariff_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    original = rate.parse_tariff
    monkeypatch.setattr(rate, "parse_tariff", lambda document: compiled.append(document) or original(document))
    command = rate.RateCommand()
    for units in ("1", "2", "3"):
        command.answer(
            Fields({name: REQUEST[name] for name in ("currency", "tariff")} | {"usage": {"units": units}}, "")
        )
    assert len(compiled) == 1
