"""Measured usage: events of one meter over stretches of time become what a tariff prices, in one pass.

A window is a stretch from the start of a billing period (or of a price) on; windows of one meter may overlap, as
what a later part of a period costs is the difference of two cumulative amounts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, NamedTuple

from billing.metering.counters import Counter, Number, counter_of, operation_of, text_of
from billing.metering.history import StoredEvent
from billing.metering.readings import Column, by_group, read_column
from billing.metering.totals import add
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.aggregation import QUOTIENT_DIGITS, Aggregation, AggregationKind, GroupKey, aggregate, round_units
from pricing_engine.catalog import Meter
from pricing_engine.rating import Usage, UsageGroup
from pricing_engine.tariffs.bucketed import Bucketed
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.tariff import Tariff
from pricing_engine.tariffs.usage import EventUsage
from pricing_engine.usage_event import Operation
from pricing_engine.usage_event import UsageEvent as MeteredEvent

_ADDED = {AggregationKind.SUM, AggregationKind.COUNT}
_BY_EVENT = {"percentage", "dynamic"}
_HOUR = timedelta(hours=1)
_ZERO = Decimal(0)


class Window(NamedTuple):
    """Which usage: of one meter, over one period, and whether its tariff asks for each event."""

    meter: str
    start: datetime
    end: datetime
    by_event: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What one window held.

    Where the tariff asks for events, `listed` has those that add up, in order, `moves` the changes of a level, and
    `hours` what a meter that does not add up read in each UTC hour.
    """

    units: Decimal
    event_count: int
    groups: tuple[tuple[GroupKey, Decimal], ...]
    listed: tuple[tuple[datetime, Decimal], ...] = ()
    moves: tuple[tuple[datetime, Decimal], ...] = ()
    hours: tuple[Decimal, ...] = ()

    def usage(self, tariff: Tariff, group_by: tuple[str, ...]) -> Usage:
        """Return it in the form `tariff` prices."""
        if isinstance(tariff.shape, Matrix):
            return Usage(groups=self.by_group(group_by), event_count=self.event_count)
        if isinstance(tariff.shape, Bucketed):
            return Usage(buckets=self._buckets(), event_count=self.event_count)
        if asks_for_events(tariff) and (self.listed or not self.event_count):
            events = tuple(EventUsage(value=value, time=at) for at, value in self.listed)
            return Usage(units=self.units, event_count=self.event_count, events=events)
        return Usage(units=self.units, event_count=self.event_count)

    def changes(self, lasted: Period, full: Period) -> Usage:
        """Return the changes of a level, each with the part of a full period that is left of `lasted` from it on."""
        changes = []
        for at, value in self.moves:
            part = Fraction(Period(at, lasted.end).microseconds, full.microseconds)
            changes.append(
                EventUsage(full=value, prorated=round_units(Fraction(value) * part, QUOTIENT_DIGITS), time=at)
            )
        level = max(_total(value for _, value in self.moves), _ZERO)
        return Usage(units=self.units, full_units=level, event_count=self.event_count, events=tuple(changes))

    def from_nothing_on(self, tariff: Tariff) -> Measured:
        """Return what counts where nothing is less than nothing: of each group, where `tariff` prices groups."""
        if self.units >= 0 and all(units >= 0 for _, units in self.groups) and all(units >= 0 for units in self.hours):
            return self
        groups = tuple((key, max(units, _ZERO)) for key, units in self.groups)
        by_group = isinstance(tariff.shape, Matrix)
        units = _total(units for _, units in groups) if by_group else max(self.units, _ZERO)
        return replace(self, units=units, groups=groups, hours=tuple(max(units, _ZERO) for units in self.hours))

    def averaged_over(self, part: Fraction) -> Measured:
        """Return the mean over a longer time, of which this is the mean over a part and the rest is nothing."""
        groups = tuple((key, round_units(Fraction(units) * part, QUOTIENT_DIGITS)) for key, units in self.groups)
        return replace(self, units=_total(units for _, units in groups), groups=groups)

    def by_group(self, group_by: tuple[str, ...]) -> tuple[UsageGroup, ...]:
        """Return the units of each group, under the names of the properties it is kept apart by."""
        return tuple(UsageGroup(_properties(group_by, key), units) for key, units in self.groups if units)

    def _buckets(self) -> tuple[Decimal, ...]:
        """Return what each UTC hour came to, in order."""
        if self.hours:
            return self.hours
        sums: dict[datetime, Decimal] = {}
        for at, value in self.listed:
            hour = _hour_of(at)
            sums[hour] = EXACT.add(sums.get(hour, _ZERO), value)
        return tuple(sums[hour] for hour in sorted(sums))


NOTHING = Measured(_ZERO, 0, ())


def asks_for_events(tariff: Tariff) -> bool:
    """Return whether the tariff prices events, or hours, and not only their aggregate."""
    by_event = tariff.model in _BY_EVENT or tariff.windows is not None or tariff.prorated
    return by_event or isinstance(tariff.shape, Bucketed)


def window_of(meter: Meter, tariff: Tariff, period: Period) -> Window:
    """Return the window of a meter's usage that `tariff` needs.

    Readings that do not add up are told apart by the hours of a tariff, or as changes of its level, alone.
    """
    told_apart = meter.aggregation in _ADDED or isinstance(tariff.shape, Bucketed) or tariff.prorated
    return Window(meter.key, period.start, period.end, told_apart and asks_for_events(tariff))


@dataclass(slots=True)
class _Sums:
    """Running totals of one window by group."""

    sums: dict[str, Number] = field(default_factory=dict)
    count: int = 0
    listed: list[tuple[datetime, str, Decimal]] = field(default_factory=list)


class UsageMeasurer:
    """Measures windows of one customer's meters while that customer's events pass by, once each."""

    def __init__(self, meters: Mapping[str, Meter], windows: Iterable[Window]) -> None:
        self._readers: dict[str, list[_Reader]] = {}
        by_meter: dict[str, list[Window]] = {}
        for window in sorted(set(windows)):
            by_meter.setdefault(window.meter, []).append(window)
        for key, wanted in by_meter.items():
            reader = _Reader(meters[key], wanted)
            self._readers.setdefault(meters[key].event_type, []).append(reader)

    def spans(self) -> dict[str, Period]:
        """Return, by event type, the stretch of time whose events have to pass by."""
        return {
            event_type: Period(
                min(window.start for reader in readers for window in reader.windows),
                max(window.end for reader in readers for window in reader.windows),
            )
            for event_type, readers in sorted(self._readers.items())
        }

    def add(self, events: Sequence[StoredEvent]) -> None:
        """Count some events. Many at once cost a fraction of as many alone: see `history.in_batches`."""
        for event_type, readers in self._readers.items():
            of_type = [event for event in events if event.event_type == event_type]
            if of_type:
                datas = [event.data for event in of_type]
                for reader in readers:
                    reader.add(of_type, datas)

    def measured(self) -> dict[Window, Measured]:
        """Return what each window held."""
        return {
            window: measured
            for readers in self._readers.values()
            for reader in readers
            for window, measured in reader.measured()
        }


class _Reader:
    """One meter with its windows."""

    def __init__(self, meter: Meter, windows: list[Window]) -> None:
        self.windows = windows
        self._counter: Counter = counter_of(meter)
        self._kind = AggregationKind(meter.aggregation)
        self._is_added = self._kind in _ADDED
        self._counts = self._kind is AggregationKind.COUNT
        self._group_by = meter.group_by
        self._groups: dict[str, GroupKey] = {}
        self._sums = [_Sums() for _ in windows]
        self._events: list[list[MeteredEvent]] = [[] for _ in windows]

    def add(self, events: Sequence[StoredEvent], datas: Sequence[Mapping[str, object]]) -> None:
        """Count events of its type in each window that holds them; one that cannot be read counts nowhere."""
        column = read_column(self._counter, datas)
        numbers: Sequence[Any] = column.numbers
        read = [place for place, number in enumerate(numbers) if number is not None]
        for i, window in enumerate(self.windows):
            inside = [place for place in read if window.start <= events[place].occurred_at < window.end]
            if self._is_added:
                self._add_up(i, events, datas, column, inside)
            else:
                self._events[i] += [self._metered(events[place], datas[place], numbers[place]) for place in inside]

    def _add_up(
        self,
        i: int,
        events: Sequence[StoredEvent],
        datas: Sequence[Mapping[str, object]],
        column: Column,
        places: Sequence[int],
    ) -> None:
        sums = self._sums[i]
        sums.count += len(places)
        numbers: Sequence[Any] = [1] * len(events) if self._counts else column.numbers
        for group, of_group in by_group(column, places).items():
            if group not in self._groups:
                self._groups[group] = tuple(text_of(datas[of_group[0]].get(name)) for name in self._group_by)
            chosen = [numbers[place] for place in of_group]
            total = sum(chosen) if self._counts or column.is_plain else reduce(add, chosen)
            sums.sums[group] = add(sums.sums.get(group, 0), total)
        if self.windows[i].by_event:
            sums.listed += [
                (events[place].occurred_at, _key_text(events[place]), Decimal(numbers[place])) for place in places
            ]

    def _metered(self, event: StoredEvent, data: Mapping[str, object], number: Number) -> MeteredEvent:
        is_unique = self._kind is AggregationKind.UNIQUE_COUNT
        value = text_of(data.get(self._counter.value_property or "")) if is_unique else Decimal(number)
        return MeteredEvent(
            event.occurred_at,
            value,
            event_id=_key_text(event),
            operation=operation_of(data) if is_unique else Operation.ADD,
            properties={name: text for name in self._group_by if (text := text_of(data.get(name))) is not None},
        )

    def measured(self) -> Iterable[tuple[Window, Measured]]:
        """Yield each window with what it held."""
        for i, window in enumerate(self.windows):
            yield window, self._added_up(i) if self._is_added else self._aggregated(i, window)

    def _added_up(self, i: int) -> Measured:
        sums = self._sums[i]
        by_key = ((self._groups[group], Decimal(number)) for group, number in sums.sums.items())
        groups = tuple(sorted(by_key, key=lambda pair: _group_order(pair[0])))
        listed = tuple((at, value) for at, _, value in sorted(sums.listed))
        return Measured(_total(units for _, units in groups), sums.count, groups, listed)

    def _aggregated(self, i: int, window: Window) -> Measured:
        aggregation = Aggregation(self._kind, group_by=self._group_by)
        result = aggregate(aggregation, self._events[i], Period(window.start, window.end))
        groups = tuple((group.key, group.units) for group in result.groups)
        measured = Measured(result.units, result.event_count, groups)
        if not window.by_event:
            return measured
        if self._kind is AggregationKind.WEIGHTED_SUM:
            ordered = sorted(self._events[i], key=lambda event: (event.time, event.event_id or ""))
            moves = tuple((event.time, event.value) for event in ordered if isinstance(event.value, Decimal))
            return replace(measured, moves=moves)
        hours: dict[datetime, list[MeteredEvent]] = {}
        for event in self._events[i]:
            hours.setdefault(_hour_of(event.time), []).append(event)
        read = (aggregate(aggregation, hours[hour], Period(hour, hour + _HOUR)).units for hour in sorted(hours))
        return replace(measured, hours=tuple(read))


def _key_text(event: StoredEvent) -> str:
    return f"{event.source}\x00{event.event_id}"


def _hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _total(numbers: Iterable[Decimal]) -> Decimal:
    total = _ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def _properties(group_by: tuple[str, ...], key: GroupKey) -> tuple[tuple[str, str], ...]:
    pairs = zip(group_by, key, strict=True) if key else ()
    return tuple(sorted((name, value) for name, value in pairs if value is not None))


def _group_order(key: GroupKey) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in key)
