"""`alacarte aggregate`: usage events to units, JSON lines in and out, no database."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from api.cli.json_lines import add_input, run_json_lines
from models.values.errors import InvalidValueError
from models.values.period import Period, parse_instant
from models.values.quantity import parse_decimal, plain
from pricing_engine.aggregation import (
    Aggregate,
    Aggregation,
    AggregationKind,
    Carried,
    GroupKey,
    GroupUnits,
    UnitRounding,
    aggregate,
)
from pricing_engine.in_advance import units_in_advance
from pricing_engine.tariffs.reading import Fields
from pricing_engine.usage_event import Operation, UsageEvent

_MAX_EVENTS = 1_000_000
_MAX_NAMES = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVENT_FIELDS = frozenset({"time", "value", "id", "operation", "properties"})
_NEEDS_TIME = frozenset({AggregationKind.LATEST, AggregationKind.UNIQUE_COUNT, AggregationKind.WEIGHTED_SUM})
_NOT_NUMBERS = frozenset({"not_a_number", "not_finite"})


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "aggregate", help="usage events to units", description="Aggregate usage events, one JSON request a line."
    )
    add_input(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Answer every line."""
    return run_json_lines(options.file, answer)


def answer(request: Fields) -> dict[str, Any]:
    """Aggregate the events of one request. Raises the errors of the reading and of the aggregation."""
    aggregation = _read_aggregation(request)
    period = _read_period(request.object("period"))
    if period is None and aggregation.kind is AggregationKind.WEIGHTED_SUM:
        raise InvalidValueError("a weighted sum needs its period", field="period", code="missing_field")
    events = _read_events(request, aggregation, needs_time=period is not None or aggregation.kind in _NEEDS_TIME)
    carried = _read_carried(request, aggregation)
    in_advance, billed = request.flag("in_advance"), request.amount("billed_units")
    request.finish()
    within = period or _span(events)
    if in_advance:
        units = units_in_advance(aggregation, events, within, carried=carried, billed=billed or Decimal(0))
        return {"billable_units": plain(units)}
    return _document(aggregation, aggregate(aggregation, events, within, carried=carried))


def _read_aggregation(request: Fields) -> Aggregation:
    kinds = tuple(AggregationKind)
    kind = request.choice("aggregation", kinds, "unknown_aggregation")
    if kind is None:
        request.require("aggregation")
    return Aggregation(
        AggregationKind(cast("str", kind)),
        group_by=tuple(_texts(request.array("group_by", _MAX_NAMES, "too_many_properties"), "group_by")),
        filters=_read_filters(request),
        rounding=_read_rounding(request.object("rounding")),
        percentile=request.decimal("percentile"),
        recurring=bool(request.flag("recurring")),
    )


def _read_filters(request: Fields) -> Mapping[str, frozenset[str]]:
    filters = request.object("filter")
    if filters is None:
        return {}
    return {
        name: frozenset(_texts(filters.array(name, _MAX_NAMES, "too_many_values"), filters.path(name)))
        for name in request.take("filter")
    }


def _read_rounding(rounding: Fields | None) -> UnitRounding | None:
    if rounding is None:
        return None
    function = rounding.choice("function", ("round", "ceil", "floor"), "unknown_rounding")
    precision = rounding.decimal("precision") or Decimal(0)
    rounding.finish()
    if precision != precision.to_integral_value():
        raise InvalidValueError(
            "must be a whole number",
            field="rounding.precision",
            value=precision,
            code="rounding_precision_out_of_range",
        )
    return UnitRounding(function, int(precision)) if function else None


def _read_period(period: Fields | None) -> Period | None:
    if period is None:
        return None
    span = Period(
        parse_instant(period.require("from"), period.path("from")),
        parse_instant(period.require("to"), period.path("to")),
    )
    period.finish()
    return span


def _span(events: list[UsageEvent]) -> Period:
    """Return the period that holds all events, for a request that names none."""
    times = [event.time for event in events] or [_EPOCH]
    return Period(min(times), max(times) + timedelta(microseconds=1))


def _read_carried(request: Fields, aggregation: Aggregation) -> Mapping[GroupKey, Carried]:
    groups = request.array("initial_groups", _MAX_EVENTS, "too_many_groups")
    if groups is None:
        whole = _read_carry(request)
        if whole == Carried():
            return {}
        if aggregation.group_by:
            raise InvalidValueError(
                "must say for each group what it carries, as initial_groups",
                field="initial_value",
                code="group_mismatch",
            )
        return {(): whole}
    carried = {}
    for index, document in enumerate(groups):
        fields = Fields(document, f"initial_groups[{index}]")
        values = fields.take("group") or {}
        key = tuple(values.get(name) for name in aggregation.group_by)
        carried[key] = _read_carry(fields)
        fields.finish()
    return carried


def _read_carry(fields: Fields) -> Carried:
    active = _texts(fields.array("initial_active", _MAX_EVENTS, "too_many_values"), fields.path("initial_active"))
    return Carried(fields.decimal("initial_value") or Decimal(0), frozenset(active))


def _read_events(request: Fields, aggregation: Aggregation, *, needs_time: bool) -> list[UsageEvent]:
    documents = request.array("events", _MAX_EVENTS, "too_many_events")
    if documents is None:
        request.require("events")
    return [
        _read_event(document, f"events[{index}]", aggregation, needs_time=needs_time)
        for index, document in enumerate(documents or [])
    ]


def _read_event(document: object, path: str, aggregation: Aggregation, *, needs_time: bool) -> UsageEvent:
    fields = Fields(document, path)
    time = fields.require("time", "time_required") if needs_time else fields.take("time")
    operation = fields.choice("operation", tuple(Operation), "unknown_operation") or Operation.ADD
    identity = fields.text("id", "invalid_id")
    value = _read_value(fields, aggregation)
    if aggregation.kind is AggregationKind.UNIQUE_COUNT and value is None:
        # Without a value it is the id that is counted, and such an event has no identity of its own.
        value, identity = identity, None
    return UsageEvent(
        _EPOCH if time is None else parse_instant(time, fields.path("time")),
        value,
        identity,
        Operation(operation),
        _read_properties(cast("Mapping[str, Any]", document), fields),
    )


def _read_value(fields: Fields, aggregation: Aggregation) -> Decimal | str | None:
    value = fields.take("value")
    if value is None or (aggregation.counts_values and isinstance(value, str)):
        return value
    try:
        return parse_decimal(value, fields.path("value"))
    except InvalidValueError as error:
        if error.code in _NOT_NUMBERS and isinstance(value, str):
            return value
        raise


def _read_properties(event: Mapping[str, Any], fields: Fields) -> dict[str, str]:
    """Read `properties`, and every field of the event that has no meaning of its own."""
    nested = event.get("properties") if fields.object("properties") else None
    named = {**{name: value for name, value in event.items() if name not in _EVENT_FIELDS}, **(nested or {})}
    return {name: _property(value, fields.path(name)) for name, value in named.items() if value is not None}


def _property(value: object, field: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    raise InvalidValueError(
        "must be text, a whole number or a boolean", field=field, value=value, code="invalid_property"
    )


def _texts(values: list[Any] | None, field: str) -> list[str]:
    for value in values or []:
        if not isinstance(value, str):
            raise InvalidValueError("must be text", field=field, value=repr(value), code="not_text")
    return values or []


def _document(aggregation: Aggregation, result: Aggregate) -> dict[str, Any]:
    document: dict[str, Any] = {
        "units": plain(result.units),
        "event_count": str(result.event_count),
        "groups": [_group_document(aggregation, group) for group in result.groups] if aggregation.group_by else [],
    }
    if not aggregation.group_by:
        document |= _carry_document(aggregation, result.groups[0])
    if result.skipped:
        document["skipped"] = [{"event": skip.index, "reason": skip.reason} for skip in result.skipped]
    return document


def _group_document(aggregation: Aggregation, group: GroupUnits) -> dict[str, Any]:
    return {
        "group": dict(zip(aggregation.group_by, group.key, strict=True)),
        "units": plain(group.units),
        "event_count": str(group.event_count),
        **_carry_document(aggregation, group),
    }


def _carry_document(aggregation: Aggregation, group: GroupUnits) -> dict[str, Any]:
    if not (aggregation.recurring or aggregation.kind is AggregationKind.WEIGHTED_SUM):
        return {}
    if aggregation.kind is AggregationKind.UNIQUE_COUNT:
        return {"carry_forward": plain(group.carried.level), "carry_active": sorted(group.carried.active)}
    return {"carry_forward": plain(group.carried.level)}
