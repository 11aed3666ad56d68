"""Counters: what a meter reads from an event, whatever it then does with the values.

Meters of several price books that read the same things share one counter, and with it the totals kept as events
arrive. A value is taken from an event's data in one place, here: at ingest, in a recount and at the close.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec

from models.values.canonical_json import Json, content_hash
from models.values.errors import InvalidValueError
from models.values.quantity import parse_decimal
from pricing_engine.aggregation import AggregationKind
from pricing_engine.catalog import Meter
from pricing_engine.usage_event import Operation

OPERATION_PROPERTY = "operation"
"""The property by which an event of a unique count says `add` (as when absent) or `remove`."""

_UNVALUED = {AggregationKind.COUNT, AggregationKind.UNIQUE_COUNT}
_EXTREMES = {AggregationKind.MAX, AggregationKind.MIN}
_SIGNED = {AggregationKind.WEIGHTED_SUM, AggregationKind.LATEST}
_ID_CHARS = 32
_FAST_DIGITS = 26
_MAX_GROUP_CHARS = 400
_NESTED = (dict, list)

Number = int | Decimal
"""An exact number; whole ones stay integers, which add up several times faster."""


class Absent(Enum):
    """Why an event has nothing for a counter."""

    FILTERED_OUT = "filtered_out"
    NO_VALUE = "no_value"


@dataclass(frozen=True, slots=True)
class Counter:
    """Reads `value_property` of events of one type, kept apart by `group_by`, where `filters` let them pass.

    `numeric`: the value is calculated with; otherwise it is only told apart, or absent. `extremes`: the highest and
    the lowest are kept as well. `signed`: it may be below zero. `meters` are the keys of the meters that read so.
    """

    id: str
    event_type: str
    value_property: str | None
    numeric: bool
    extremes: bool
    group_by: tuple[str, ...]
    filters: Mapping[str, frozenset[str]]
    signed: bool
    meters: tuple[str, ...]

    def definition(self) -> dict[str, Any]:
        """Return what the id is the hash of."""
        return {
            "event_type": self.event_type,
            "value_property": self.value_property,
            "numeric": self.numeric,
            "extremes": self.extremes,
            "group_by": list(self.group_by),
            "filters": {name: sorted(values) for name, values in self.filters.items()},
        }


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one counter read from one event: the number where it is numeric, and the group it belongs to."""

    number: Number
    group: str


def counter_of(meter: Meter) -> Counter:
    """Return the counter a meter needs. Raises InvalidValueError for an unknown aggregation."""
    try:
        kind = AggregationKind(meter.aggregation)
    except ValueError as error:
        raise InvalidValueError(
            "is not an aggregation", field=f"meters.{meter.key}.aggregation", value=meter.aggregation
        ) from error
    unnamed = Counter(
        id="",
        event_type=meter.event_type,
        value_property=None if kind is AggregationKind.COUNT else meter.value_property,
        numeric=kind not in _UNVALUED,
        extremes=kind in _EXTREMES,
        group_by=meter.group_by,
        filters={name: frozenset(values) for name, values in meter.filters.items()},
        signed=kind in _SIGNED,
        meters=(meter.key,),
    )
    return replace(unnamed, id=content_hash(unnamed.definition())[:_ID_CHARS])


def counters_of(meters: Iterable[Meter]) -> dict[str, tuple[Counter, ...]]:
    """Return the counters for `meters`, by event type; meters that read the same share one."""
    merged: dict[str, Counter] = {}
    for meter in meters:
        counter = counter_of(meter)
        known = merged.get(counter.id)
        if known is not None:
            keys = tuple(sorted({*known.meters, *counter.meters}))
            counter = replace(counter, signed=known.signed and counter.signed, meters=keys)
        merged[counter.id] = counter
    by_type: dict[str, list[Counter]] = {}
    for counter in sorted(merged.values(), key=lambda each: each.id):
        by_type.setdefault(counter.event_type, []).append(counter)
    return {event_type: tuple(counters) for event_type, counters in by_type.items()}


def read_value(counter: Counter, data: Mapping[str, Any]) -> Reading | Absent:
    """Return what `counter` reads from an event's `data`, or why it reads nothing.

    Raises InvalidValueError or LimitExceededError for a value that is there and is no number, or a negative one
    where the counter is not signed.
    """
    if counter.filters:
        for tested, allowed in counter.filters.items():
            if text_of(data.get(tested)) not in allowed:
                return Absent.FILTERED_OUT
    number: Number = 0
    name = counter.value_property
    if name is not None:
        value = data.get(name)
        if value is None:
            return Absent.NO_VALUE
        if counter.numeric:
            number = value if type(value) is int else number_of(value, f"data.{name}")
            if number < 0 and not counter.signed:
                raise InvalidValueError("must be >= 0", field=f"data.{name}", value=value, code="negative_quantity")
        elif OPERATION_PROPERTY in data:
            operation_of(data)
    return Reading(number, group_text(counter.group_by, data) if counter.group_by else "")


def number_of(value: object, field: str) -> Number:
    """Return a metered value as an exact number. Raises InvalidValueError or LimitExceededError."""
    if isinstance(value, bool):
        raise InvalidValueError("is not a number", field=field, value=value, code="boolean_as_number")
    if isinstance(value, int):
        return value
    if isinstance(value, str) and is_plain_digits(value):
        return int(value)
    return parse_decimal(value, field)


def is_plain_digits(text: str) -> bool:
    """Whether a text is a whole number in digits alone, short enough to be taken without a second look."""
    return text.isdigit() and text.isascii() and len(text) <= _FAST_DIGITS


def operation_of(data: Mapping[str, Any]) -> Operation:
    """Return what an event does to a unique count. Raises InvalidValueError."""
    value = data.get(OPERATION_PROPERTY, Operation.ADD.value)
    try:
        return Operation(value)
    except ValueError as error:
        raise InvalidValueError(
            "must be add or remove", field=f"data.{OPERATION_PROPERTY}", value=value, code="unknown_operation"
        ) from error


def text_of(value: object) -> str | None:
    """Return the text by which a property is filtered and grouped; None where it is absent."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, sort_keys=True, separators=(",", ":")) if isinstance(value, _NESTED) else str(value)


def group_text(group_by: tuple[str, ...], data: Mapping[str, Any]) -> str:
    """Return one text for an event's group, `["eu","gpt"]`; a very long one is named by its hash, `sha256:...`."""
    values: list[Json] = [text_of(data.get(name)) for name in group_by]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _MAX_GROUP_CHARS else f"sha256:{content_hash(values)}"
