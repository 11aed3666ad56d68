"""Usage events as a meter sees them, before they become units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from models.values.quantity import plain


class Operation(StrEnum):
    """What an event does to a unique count; `add` for every other aggregation."""

    ADD = "add"
    REMOVE = "remove"


class SkipReason(StrEnum):
    """Why an event did not count."""

    OUTSIDE_PERIOD = "outside_period"
    FILTERED_OUT = "filtered_out"
    NO_VALUE = "no_value"
    NOT_A_NUMBER = "not_a_number"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One event as a meter sees it.

    `value` is a number, or text (a name to count, or what should have been a number), or absent. Events of one
    `event_id` are one event; without an id each stands for itself.
    """

    time: datetime
    value: Decimal | str | None = None
    event_id: str | None = None
    operation: Operation = Operation.ADD
    properties: Mapping[str, str] = field(default_factory=dict)


def counted_text(event: UsageEvent) -> str:
    """Return the text by which a unique count tells values apart: 1.0 and 1 are one number and one text."""
    return plain(event.value) if isinstance(event.value, Decimal) else str(event.value)


def event_order(event: UsageEvent) -> tuple[datetime, bool, str, Decimal, str]:
    """Sort by time; at one instant additions first, then by id, then by value: no order is left to chance."""
    value = event.value if isinstance(event.value, Decimal) else Decimal(0)
    return event.time, event.operation is Operation.REMOVE, event.event_id or "", value, str(event.value)
