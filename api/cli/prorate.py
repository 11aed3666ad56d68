"""`alacarte prorate`: part of an amount for part of a period, JSON lines in and out, no database."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from api.cli.json_lines import add_input, run_json_lines
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor, round_to_minor
from models.values.period import BillingCycle, Interval, Period, parse_instant, parse_zone
from models.values.quantity import parse_decimal, plain
from pricing_engine.aggregation import round_units
from pricing_engine.proration import (
    Proration,
    ProrationBasis,
    ProrationRule,
    ProrationUnit,
    prorate,
    prorate_cycle,
)
from pricing_engine.tariffs.reading import Fields

_SHOWN_DIGITS = 24
_LONGEST = {Interval.MONTH: 31, Interval.QUARTER: 92, Interval.HALF_YEAR: 184}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "prorate",
        help="part of an amount for part of a period",
        description="Prorate amounts, one JSON request a line.",
    )
    add_input(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line."""
    return run_json_lines(options.file, answer)


def answer(request: Fields) -> dict[str, Any]:
    """Prorate one amount.

    Without `anchor` or `interval` the `period` is the full one. With one of them the full periods are the turns of a
    billing cycle, and `used` may span several: `anchor` is the day of the month on which turns begin (that of the
    calendar where absent), `interval` how long they are (the shortest that holds `period`, or a month).
    """
    amount = parse_decimal(request.require("amount"), "amount")
    of = currency(str(request.require("currency")))
    rule = _read_rule(request)
    full, used = _read_span(request, "period", rule.zone), _read_span(request, "used", rule.zone)
    pieces = _pieces(request, amount, full, used, rule)
    request.finish()
    exact = sum((piece.exact for piece in pieces), Fraction(0))
    document: dict[str, Any] = {
        "amount": plain(from_minor(round_to_minor(exact, of), of)),
        "exact": _decimal_text(exact),
        "ratio": _decimal_text(sum((piece.ratio for piece in pieces), Fraction(0))),
        "period": _span_document(pieces[0].full.start, pieces[-1].full.end),
    }
    if len(pieces) > 1:
        document["pieces"] = [_piece_document(piece) for piece in pieces]
    return document


def _read_rule(request: Fields) -> ProrationRule:
    zone = request.take("zone")
    return ProrationRule(
        parse_zone("UTC" if zone is None else zone),
        ProrationUnit(request.choice("unit", tuple(ProrationUnit), "unknown_unit") or ProrationUnit.DAY),
        ProrationBasis(request.choice("basis", tuple(ProrationBasis), "unknown_basis") or ProrationBasis.CALENDAR),
    )


def _read_span(request: Fields, name: str, zone: ZoneInfo) -> Period | None:
    fields = request.object(name)
    if fields is None:
        return None
    span = Period(
        parse_instant(fields.require("from"), fields.path("from"), zone),
        parse_instant(fields.require("to"), fields.path("to"), zone),
    )
    fields.finish()
    return span


def _pieces(
    request: Fields, amount: Decimal, full: Period | None, used: Period | None, rule: ProrationRule
) -> tuple[Proration, ...]:
    anchor = request.count("anchor", "invalid_anchor")
    named = request.choice("interval", tuple(Interval), "unknown_interval")
    whole = full or used
    if whole is None or (full is None and anchor is None and named is None):
        raise InvalidValueError(
            "is required, or else `used` and the `anchor` or `interval` of its billing cycle",
            field="period",
            code="missing_field",
        )
    if anchor is None and named is None:
        return (prorate(amount, used=used or whole, full=whole, rule=rule),)
    interval = Interval(named) if named else _shortest_interval(full)
    if anchor is None:
        cycle = BillingCycle.calendar(interval, rule.zone)
    else:
        cycle = BillingCycle.on_day(interval, rule.zone, anchor, whole.start)
    pieces = prorate_cycle(amount, used=used or whole, cycle=cycle, rule=rule)
    return pieces or (prorate(amount, used=whole, full=cycle.period_containing(whole.start), rule=rule),)


def _shortest_interval(period: Period | None) -> Interval:
    """Return the shortest interval that holds the period; a month where none is given."""
    if period is None:
        return Interval.MONTH
    elapsed = period.end - period.start - timedelta(hours=1)  # Clocks may have been set back by an hour.
    fitting = (interval for interval, days in _LONGEST.items() if elapsed <= timedelta(days=days))
    return next(fitting, Interval.YEAR)


def _decimal_text(number: Fraction) -> str:
    """Print a fraction as a decimal, exact up to 24 digits behind the point and rounded there."""
    return plain(round_units(number, _SHOWN_DIGITS))


def _piece_document(piece: Proration) -> dict[str, Any]:
    return {
        "used": _span_document(piece.used.start, piece.used.end),
        "period": _span_document(piece.full.start, piece.full.end),
        "exact": _decimal_text(piece.exact),
        "ratio": _decimal_text(piece.ratio),
    }


def _span_document(start: datetime, end: datetime) -> dict[str, str]:
    return {"from": _instant_text(start), "to": _instant_text(end)}


def _instant_text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
