"""`alacarte rate`: a tariff calculator, JSON lines in and out, no database."""

from __future__ import annotations

import argparse
import json
from typing import Any

import msgspec

from api.cli.json_lines import add_input, run_json_lines
from models.values.errors import InvalidValueError
from models.values.money import Currency, currency
from models.values.quantity import plain
from pricing_engine.rating import RatedLine, Rating, Step, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.compiled import CompiledTariff
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.schema import REQUEST_SCHEMA
from pricing_engine.tariffs.tariff import parse_tariff

_MAX_CACHED_TARIFFS = 1_000
_ENCODER = msgspec.json.Encoder()


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "rate", help="usage to an amount", description="Rate usage by a tariff, one JSON request a line."
    )
    add_input(command)
    command.add_argument("--schema", action="store_true", help="print the JSON Schema of a request and stop")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line, or print the schema."""
    if options.schema:
        print(json.dumps(REQUEST_SCHEMA, indent=2))
        return 0
    return run_json_lines(options.file, RateCommand().answer)


class RateCommand:
    """Answers requests. Tariffs are compiled once each, found again by their content."""

    def __init__(self) -> None:
        self._compiled: dict[bytes, CompiledTariff] = {}

    def answer(self, request: Fields) -> dict[str, Any]:
        """Rate one request. Raises the errors of reading and of rating."""
        money = _currency(request)
        compiled = self._tariff(request.require("tariff"))
        usage = parse_usage(request.require("usage"))
        round_lines = bool(request.flag("round"))
        request.finish()
        return rating_document(rate(compiled, usage, money, round_lines=round_lines))

    def _tariff(self, document: Any) -> CompiledTariff:  # noqa: ANN401 - JSON
        content = _ENCODER.encode(document)
        compiled = self._compiled.get(content)
        if compiled is None:
            if len(self._compiled) >= _MAX_CACHED_TARIFFS:
                self._compiled.clear()
            compiled = self._compiled[content] = compile_tariff(parse_tariff(document))
        return compiled


def _currency(request: Fields) -> Currency:
    code = request.require("currency")
    if not isinstance(code, str):
        raise InvalidValueError("must be text", field="currency", value=repr(code), code="unknown_currency")
    return currency(code)


def rating_document(rating: Rating) -> dict[str, Any]:
    """Write a rating in wire form: amount, lines, steps."""
    return {
        "amount": plain(rating.amount),
        "lines": [_line_document(line) for line in rating.lines],
        "steps": [_step_document(step) for step in rating.steps],
    }


def _line_document(line: RatedLine) -> dict[str, Any]:
    document: dict[str, Any] = {
        "component": line.component,
        "quantity": plain(line.quantity),
        "unit_amount": plain(line.unit_amount),
        "amount": plain(line.amount),
    }
    if line.charges:
        document["charges"] = plain(line.charges)
    if line.discounts:
        document["discount"] = plain(line.discount)
        document["discounts"] = [{"kind": part.kind, "amount": plain(part.amount)} for part in line.discounts]
    if line.charges or line.discounts:
        document["total"] = plain(line.total)
    return document


def _step_document(step: Step) -> dict[str, str]:
    return {
        "step": step.name,
        "of": step.of,
        "before": plain(step.before),
        "after": plain(step.after),
        "rule": step.rule,
    }
