"""`alacarte rate`: a tariff calculator, JSON lines in and out, no database."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from api.cli.json_lines import add_input, run_json_lines
from models.values.errors import InvalidValueError
from models.values.money import Currency, currency
from models.values.quantity import EXACT, parse_decimal, plain
from pricing_engine.coupons import use_credit
from pricing_engine.rating import RatedLine, Rating, Step, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.compiled import CompiledTariff
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import exact_sum
from pricing_engine.tariffs.schema import REQUEST_SCHEMA
from pricing_engine.tariffs.tariff import parse_tariff

ASIDES = frozenset({"credits", "ignore_credits", "ignore_minimum_spend"})
_MAX_CREDITS = 1_000
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
        asides, tariff = _read_asides(request.require("tariff"))
        compiled = self._tariff(tariff)
        usage = parse_usage(request.require("usage"))
        round_lines = bool(request.flag("round"))
        request.finish()
        if asides.ignore_minimum_spend:
            usage = replace(usage, final=False)
        rating = rate(compiled, usage, money, round_lines=round_lines)
        return _after_credit(rating, asides.credit) if asides.credit else rating_document(rating)

    def _tariff(self, document: Any) -> CompiledTariff:  # noqa: ANN401 - JSON
        content = _ENCODER.encode(document)
        compiled = self._compiled.get(content)
        if compiled is None:
            if len(self._compiled) >= _MAX_CACHED_TARIFFS:
                self._compiled.clear()
            compiled = self._compiled[content] = compile_tariff(parse_tariff(document))
        return compiled


@dataclass(frozen=True, slots=True)
class _Asides:
    """What a request may put beside the fields of its tariff, to try things out; no part of a tariff."""

    credit: Decimal = Decimal(0)
    ignore_minimum_spend: bool = False


def _read_asides(document: Any) -> tuple[_Asides, Any]:  # noqa: ANN401 - JSON
    """Split a request's tariff into asides and the tariff proper."""
    if not isinstance(document, Mapping) or ASIDES.isdisjoint(document):
        return _Asides(), document
    fields = Fields(document, "tariff")
    amounts = fields.array("credits", _MAX_CREDITS, "too_many_credits") or []
    credit = exact_sum(
        parse_decimal(amount, f"tariff.credits[{i}]", minimum=Decimal(0)) for i, amount in enumerate(amounts)
    )
    ignore_credits, ignore_minimum = fields.flag("ignore_credits"), fields.flag("ignore_minimum_spend")
    asides = _Asides(Decimal(0) if ignore_credits else credit, bool(ignore_minimum))
    return asides, {name: value for name, value in document.items() if name not in ASIDES}


def _after_credit(rating: Rating, credit: Decimal) -> dict[str, Any]:
    """Write a rating whose lines prepaid credit pays, the first lines first."""
    document = rating_document(rating)
    paid = use_credit([line.total for line in rating.lines], credit)
    for line, row, part in zip(rating.lines, document["lines"], paid, strict=True):
        if part:
            row |= {"credits": plain(part), "total": plain(EXACT.subtract(line.total, part))}
    left = EXACT.subtract(rating.amount, exact_sum(paid))
    step = Step("credits", "amount", rating.amount, left, "prepaid credit pays the first lines first")
    return document | {"amount": plain(left), "steps": [*document["steps"], _step_document(step)]}


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
