"""Time-of-day windows: a unit used in a window counts `factor` units, e.g. 0.5 at night, 2 at the peak.

The weighing comes before everything else, so it works with every model and with splits. Windows are wall-clock
times of one zone; daylight saving moves them with the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from models.values.errors import InvalidValueError
from models.values.period import parse_zone
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of_all, exact_sum
from pricing_engine.tariffs.usage import EventUsage, Usage

MAX_WINDOWS = 100
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZERO = Decimal(0)
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start`, inclusive, to `end`, exclusive; past midnight where `end` is not later. `days` it starts on."""

    name: str
    start: time
    end: time
    factor: Decimal
    days: tuple[str, ...] = DAYS

    def contains(self, local: datetime) -> bool:
        """Return whether a local time lies in the window."""
        clock = local.time()
        today, yesterday = DAYS[local.weekday()], DAYS[local.weekday() - 1]
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        return (today in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a tariff. The first that contains an instant weighs it; outside all, a unit counts once."""

    zone: str
    ranges: tuple[Window, ...]

    @staticmethod
    def read(fields: Fields) -> Windows:
        """Read `zone` and `ranges`."""
        zone = parse_zone(fields.require("zone", "windows_without_zone"), fields.path("zone"))
        rows = fields.array("ranges", MAX_WINDOWS, "too_many_windows") or []
        fields.finish("unknown_window_field")
        if not rows:
            raise InvalidValueError("needs at least one window", field=fields.path("ranges"), code="no_windows")
        ranges = tuple(_read_window(Fields(row, f"{fields.path('ranges')}[{i}]")) for i, row in enumerate(rows))
        names = [window.name for window in ranges]
        if len(set(names)) < len(names):
            raise InvalidValueError(
                "two windows have the same name", field=fields.path("ranges"), code="duplicate_window"
            )
        return Windows(zone.key, ranges)

    def document(self) -> dict[str, Any]:
        """Write the windows in wire form."""
        return {"zone": self.zone, "ranges": [_window_document(window) for window in self.ranges]}

    def decimals(self) -> int:
        """Digits that weighing adds behind the point."""
        return decimals_of_all(window.factor for window in self.ranges)

    def window_at(self, instant: datetime) -> Window | None:
        """Return the window that weighs an aware instant, None outside all."""
        local = instant.astimezone(ZoneInfo(self.zone))
        return next((window for window in self.ranges if window.contains(local)), None)

    def weigh(self, usage: Usage) -> Usage:
        """Return usage with every unit weighed.

        Needs the time of each event, or `window_units`: how many of `units` fall into which window. Raises
        InvalidValueError where usage has neither, or names a window the tariff does not have.
        """
        if usage.events is None:
            return replace(usage, units=self._weighed_units(usage))
        events = tuple(map(self._weigh_event, usage.events))
        return replace(usage, events=events, units=exact_sum(event.value or _ZERO for event in events))

    def _weighed_units(self, usage: Usage) -> Decimal:
        if usage.window_units is None or usage.units is None:
            raise InvalidValueError(
                "time-of-day windows need events with a time, or units and window_units",
                field="usage.window_units",
                code="window_units_required",
            )
        factors = {window.name: window.factor for window in self.ranges}
        if exact_sum(within for _, within in usage.window_units) > usage.units:
            raise InvalidValueError(
                "more units in windows than there are", field="usage.window_units", code="window_units_exceed_units"
            )
        units = usage.units
        for name, within in usage.window_units:
            if name not in factors:
                raise InvalidValueError(
                    "is no window of the tariff", field="usage.window_units", value=name, code="unknown_window"
                )
            units = EXACT.add(units, EXACT.multiply(within, EXACT.subtract(factors[name], _ONE)))
        return units

    def _weigh_event(self, event: EventUsage) -> EventUsage:
        if event.time is None or event.value is None:
            raise InvalidValueError(
                "time-of-day windows need each event's time and value", field="usage.events", code="event_time_required"
            )
        window = self.window_at(event.time)
        return event if window is None else replace(event, value=EXACT.multiply(event.value, window.factor))


def _read_window(fields: Fields) -> Window:
    name = fields.text("name", "window_without_name")
    factor = fields.amount("factor", "negative_window_factor")
    start, end = _read_clock(fields, "from"), _read_clock(fields, "to")
    days = fields.array("days", len(DAYS), "unknown_day")
    fields.finish("unknown_window_field")
    if name is None or factor is None:
        missing = "name" if name is None else "factor"
        raise InvalidValueError("is required", field=fields.path(missing), code="incomplete_window")
    if days is not None and (not days or any(day not in DAYS for day in days)):
        raise InvalidValueError(
            f"must be some of {', '.join(DAYS)}", field=fields.path("days"), value=repr(days), code="unknown_day"
        )
    return Window(name, start, end, factor, DAYS if days is None else tuple(day for day in DAYS if day in days))


def _read_clock(fields: Fields, name: str) -> time:
    text = fields.take(name)
    try:
        clock = time.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        clock = None
    if clock is None or clock.tzinfo is not None:
        raise InvalidValueError(
            "must be a time of day such as 22:00", field=fields.path(name), value=repr(text), code="not_a_time_of_day"
        )
    return clock


def _window_document(window: Window) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": window.name,
        "from": window.start.isoformat(),
        "to": window.end.isoformat(),
        "factor": plain(window.factor),
    }
    return document if window.days == DAYS else document | {"days": list(window.days)}
