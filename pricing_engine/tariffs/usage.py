"""Usage: what was used in a period, as much of it as the tariff's model asks for.

Quantities are of the metered unit, before any conversion. `prior_units` present, even 0, means that an earlier
split of the period was rated: the amount is then cumulative(prior + now) less what earlier splits billed, which
is `prior_billed`, or else cumulative(prior) not final.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from models.values.errors import InvalidValueError
from models.values.period import parse_instant
from models.values.quantity import EXACT, parse_decimal
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import exact_sum

MAX_EVENTS = 1_000_000
MAX_BUCKETS = 1_000_000
MAX_GROUPS = 100_000
_ZERO = Decimal(0)
_RATED_AMOUNT = re.compile(r"-?\d{1,120}\.\d{25,240}", re.ASCII)
"""An exact amount as `rate` prints it: a product has more digits than the numbers it is made of."""


@dataclass(frozen=True, slots=True)
class EventUsage:
    """One event. `value`: its units; `amount`: the price it carries (dynamic).

    `full` and `prorated`: a change of a level and the part of it that the rest of the period makes.
    """

    value: Decimal | None = None
    amount: Decimal | None = None
    full: Decimal | None = None
    prorated: Decimal | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Units whose events share `properties`, sorted by name."""

    properties: tuple[tuple[str, str], ...]
    units: Decimal


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage of one split of a period; by default the split is the whole period.

    running_total: where events are not listed, the cumulative units after each of those that may be free.
    full_units: the unprorated level that picks the tier, where `units` are prorated.
    window_units: how many of `units` fall into each time-of-day window, by its name.
    service_days, full_days: the part of the period in service, for a prorated flat price.
    prior: events, buckets or groups of earlier splits, for models that one number does not describe.
    """

    units: Decimal | None = None
    prior_units: Decimal | None = None
    prior_billed: Decimal | None = None
    final: bool = True
    event_count: int | None = None
    events: tuple[EventUsage, ...] | None = None
    running_total: tuple[Decimal, ...] | None = None
    buckets: tuple[Decimal, ...] | None = None
    groups: tuple[UsageGroup, ...] | None = None
    full_units: Decimal | None = None
    window_units: tuple[tuple[str, Decimal], ...] | None = None
    service_days: Decimal | None = None
    full_days: Decimal | None = None
    prior: Usage | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was used."""
        return not (self.units or self.events or self.buckets or self.groups)

    @property
    def earlier(self) -> Usage | None:
        """What earlier splits measured, None where there was none.

        Raises InvalidValueError where this split lists events, buckets or groups and the earlier ones do not.
        """
        if self.prior is not None:
            return self.prior
        if self.prior_units is None:
            return None
        if self.prior_units != _ZERO:
            for name in ("events", "buckets", "groups", "window_units"):
                if getattr(self, name) is not None:
                    raise InvalidValueError(
                        f"earlier splits must list their {name} too", field=f"usage.prior.{name}", code="prior_required"
                    )
            return Usage(units=self.prior_units)
        return Usage(
            units=_ZERO,
            event_count=0,
            events=None if self.events is None else (),
            buckets=None if self.buckets is None else (),
            groups=None if self.groups is None else (),
            window_units=None if self.window_units is None else (),
        )

    def after(self, earlier: Usage) -> Usage:
        """Return the usage from the start of the period to the end of this split."""
        return Usage(
            units=_sum(earlier.units, self.units),
            event_count=_count_sum(earlier.event_count, self.event_count),
            events=_join(earlier.events, self.events),
            running_total=self.running_total,
            buckets=_join(earlier.buckets, self.buckets),
            groups=_join(earlier.groups, self.groups),
            full_units=self.full_units,
            window_units=_join(earlier.window_units, self.window_units),
            service_days=self.service_days,
            full_days=self.full_days,
        )


def _sum(earlier: Decimal | None, now: Decimal | None) -> Decimal | None:
    return EXACT.add(earlier or _ZERO, now) if now is not None else earlier


def _count_sum(earlier: int | None, now: int | None) -> int | None:
    return None if earlier is None or now is None else earlier + now


def _join(earlier: tuple[Any, ...] | None, now: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return earlier if now is None else (earlier or ()) + now


def parse_usage(document: Mapping[str, Any], field: str = "usage") -> Usage:
    """Read usage from its wire form. Raises InvalidValueError or LimitExceededError naming the field."""
    fields = Fields(document, field)
    prior = fields.object("prior")
    usage = _read_measured(
        fields,
        prior_units=fields.decimal("prior_units"),
        prior_billed=_read_billed(fields),
        final=fields.flag("final") is not False,
        prior=None if prior is None else _read_measured(prior),
    )
    if prior is not None:
        prior.finish("unknown_usage_field")
        if usage.prior_units is not None:
            raise InvalidValueError(
                "give prior_units or prior, not both", field=f"{field}.prior_units", code="two_priors"
            )
    fields.finish("unknown_usage_field")
    return usage


def _read_billed(fields: Fields) -> Decimal | None:
    value = fields.take("prior_billed")
    if isinstance(value, str) and _RATED_AMOUNT.fullmatch(value):
        return Decimal(value)
    return None if value is None else parse_decimal(value, fields.path("prior_billed"))


def _read_measured(fields: Fields, **split: Any) -> Usage:  # noqa: ANN401 - fields of Usage
    units = fields.decimal("units")
    events = _read_events(fields)
    event_count = fields.count("event_count", "event_count_not_whole")
    _check_events(fields, units, event_count, events)
    buckets = fields.array("buckets", MAX_BUCKETS, "too_many_buckets")
    running = fields.array("running_total", MAX_EVENTS, "too_many_events")
    return Usage(
        units=units,
        event_count=len(events) if event_count is None and events is not None else event_count,
        events=events,
        running_total=None if running is None else _read_running(running, fields.path("running_total")),
        buckets=None if buckets is None else _numbers(buckets, fields.path("buckets")),
        groups=_read_groups(fields, units),
        full_units=fields.decimal("full_units"),
        window_units=_read_window_units(fields),
        service_days=fields.amount("service_days", "negative_days"),
        full_days=fields.amount("full_days", "negative_days"),
        **split,
    )


def _numbers(values: Iterable[object], path: str) -> tuple[Decimal, ...]:
    return tuple(parse_decimal(value, f"{path}[{i}]") for i, value in enumerate(values))


def _read_running(values: list[Any], path: str) -> tuple[Decimal, ...]:
    running = _numbers(values, path)
    if any(later < earlier for earlier, later in pairwise(running)):
        raise InvalidValueError("must never fall", field=path, code="running_total_falls")
    return running


def _read_events(fields: Fields) -> tuple[EventUsage, ...] | None:
    rows = fields.array("events", MAX_EVENTS, "too_many_events")
    if rows is None:
        return None
    path = fields.path("events")
    return tuple(_read_event(row, f"{path}[{i}]") for i, row in enumerate(rows))


def _read_event(row: object, path: str) -> EventUsage:
    if not isinstance(row, Mapping):
        return EventUsage(parse_decimal(row, path))
    fields = Fields(row, path)
    value, units = fields.decimal("value"), fields.decimal("units")
    if value is not None and units is not None:
        raise InvalidValueError("give value or units, not both", field=path, code="event_with_two_values")
    event = EventUsage(
        units if value is None else value,
        fields.decimal("amount"),
        fields.decimal("full"),
        fields.decimal("prorated"),
        _read_time(fields),
    )
    fields.finish("unknown_event_field")
    if event.value is None and event.amount is None and event.full is None:
        raise InvalidValueError("needs a value or an amount", field=path, code="empty_event")
    return event


def _read_time(fields: Fields) -> datetime | None:
    text = fields.take("time")
    return None if text is None else parse_instant(text, fields.path("time"))


def _read_window_units(fields: Fields) -> tuple[tuple[str, Decimal], ...] | None:
    rows = fields.take("window_units")
    path = fields.path("window_units")
    if rows is None:
        return None
    if not isinstance(rows, Mapping):
        raise InvalidValueError("must be an object", field=path, value=repr(rows), code="not_an_object")
    return tuple((str(name), parse_decimal(units, f"{path}.{name}")) for name, units in rows.items())


def _check_events(
    fields: Fields, units: Decimal | None, event_count: int | None, events: tuple[EventUsage, ...] | None
) -> None:
    if events is None or any(event.amount is not None for event in events):
        return  # An amount on an event may sum up others.
    if event_count is not None and event_count != len(events):
        raise InvalidValueError(
            f"must equal the {len(events)} events listed",
            field=fields.path("event_count"),
            value=event_count,
            code="event_count_mismatch",
        )
    values = [event.value for event in events if event.value is not None]
    if units is not None and len(values) == len(events) and exact_sum(values) != units:
        raise InvalidValueError(
            "must equal the sum of the events", field=fields.path("units"), value=units, code="units_mismatch"
        )


def _read_groups(fields: Fields, units: Decimal | None) -> tuple[UsageGroup, ...] | None:
    rows = fields.array("groups", MAX_GROUPS, "too_many_groups")
    if rows is None:
        return None
    path = fields.path("groups")
    groups = tuple(_read_group(row, f"{path}[{i}]") for i, row in enumerate(rows))
    if units is not None and exact_sum(group.units for group in groups) != units:
        raise InvalidValueError(
            "must equal the sum of the groups", field=fields.path("units"), value=units, code="groups_mismatch"
        )
    return groups


def _read_group(row: object, path: str) -> UsageGroup:
    fields = Fields(row, path)
    properties = fields.require("properties", "group_without_properties")
    is_text = isinstance(properties, Mapping) and all(
        isinstance(name, str) and isinstance(value, str) for name, value in properties.items()
    )
    if not is_text:
        raise InvalidValueError(
            "must map property names to text",
            field=f"{path}.properties",
            value=repr(properties),
            code="group_properties_not_text",
        )
    units = fields.decimal("units")
    if units is None:
        raise InvalidValueError("is required", field=f"{path}.units", code="group_without_units")
    fields.finish("unknown_group_field")
    return UsageGroup(tuple(sorted(properties.items())), units)
