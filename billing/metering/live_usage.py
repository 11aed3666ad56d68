"""Usage so far: exact to the last committed event, in milliseconds, for any period.

Whole hours come from the totals, the broken hours at both ends from their events. What cannot be merged from hours
(unique values, the latest value, percentiles, levels over time, tariffs that price each event) is measured from the
events of the period.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import chain

from billing.measured_usage import Measured, UsageMeasurer, Window
from billing.metering.counters import Counter, Number, counter_of
from billing.metering.history import StoredEvent, effective_events, in_batches
from billing.metering.registry import unbegun
from billing.metering.totals import HOUR, Cell, add, count_events, read_or_none, stored_cells
from billing.unit_of_work import UnitOfWork
from models.values.period import Period
from pricing_engine.aggregation import QUOTIENT_DIGITS, AggregationKind, GroupKey, round_units
from pricing_engine.catalog import Meter

_MERGED = {
    AggregationKind.COUNT,
    AggregationKind.SUM,
    AggregationKind.MAX,
    AggregationKind.MIN,
    AggregationKind.AVERAGE,
}
_HASHED = "sha256:"


def usage_of(
    uow: UnitOfWork,
    customer: str,
    meter: Meter,
    period: Period,
    *,
    known_at: datetime | None = None,
    by_event: bool = False,
    besides: Sequence[StoredEvent] = (),
) -> Measured:
    """Return what `meter` measures of a customer in `period`, events of this moment included.

    `known_at`: as it was known then, read from the events; None for now. `by_event` lists each event as well.
    `besides`: as if these had come as well.
    """
    besides = [each for each in besides if each.event_type == meter.event_type and each.occurred_at in period]
    kind = AggregationKind(meter.aggregation)
    counter = counter_of(meter)
    if known_at is None and not by_event and kind in _MERGED and not unbegun(uow, [counter]):
        groups = _merged(uow, customer, counter, period)
        for event in besides:
            reading = read_or_none(counter, event.data)
            if reading is not None:
                groups.setdefault(reading.group, Cell()).add(reading.number, extremes=counter.extremes)
        if not any(group.startswith(_HASHED) for group in groups):
            return _measured(kind, groups)
    window = Window(meter.key, period.start, period.end, by_event)
    measurer = UsageMeasurer({meter.key: meter}, [window])
    stored = effective_events(uow, customer=customer, event_type=meter.event_type, period=period, known_at=known_at)
    for some in in_batches(chain(stored, besides)):
        measurer.add(some)
    return measurer.measured()[window]


def _merged(uow: UnitOfWork, customer: str, counter: Counter, period: Period) -> dict[str, Cell]:
    """Merge the whole hours of `period` from their totals and the rest from its events, by group."""
    start, end = _next_hour(period.start), _hour(period.end)
    if start >= end:
        edges, whole = [period], None
    else:
        edges, whole = [Period(period.start, start), Period(end, period.end)], Period(start, end)
    merged: dict[str, Cell] = {}
    for (_, _, _, group), cell in _cells(uow, customer, counter, whole, edges):
        merged.setdefault(group, Cell()).merge(cell)
    return merged


def _cells(
    uow: UnitOfWork, customer: str, counter: Counter, whole: Period | None, edges: list[Period]
) -> Iterator[tuple[tuple[str, str, str, str], Cell]]:
    if whole is not None:
        yield from stored_cells(uow, customer=customer, counter=counter.id, period=whole).items()
    for edge in edges:
        if not edge.is_empty:
            yield from count_events(uow, [counter], customer=customer, period=edge).cells.items()


def _measured(kind: AggregationKind, groups: dict[str, Cell]) -> Measured:
    by_key: list[tuple[GroupKey, Decimal]] = [
        (tuple(json.loads(group)) if group else (), Decimal(_units(kind, cell)))
        for group, cell in sorted(groups.items())
        if cell.event_count
    ]
    total: Number = 0
    for _, units in by_key:
        total = add(total, units)
    by_key.sort(key=lambda pair: tuple((value is None, value or "") for value in pair[0]))
    return Measured(Decimal(total), sum(cell.event_count for cell in groups.values()), tuple(by_key))


def _units(kind: AggregationKind, cell: Cell) -> Number:
    match kind:
        case AggregationKind.COUNT:
            return cell.event_count
        case AggregationKind.MAX:
            return cell.highest or 0
        case AggregationKind.MIN:
            return cell.lowest or 0
        case AggregationKind.AVERAGE:
            return round_units(Fraction(cell.total) / cell.event_count, QUOTIENT_DIGITS)
        case _:
            return cell.total


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _next_hour(instant: datetime) -> datetime:
    hour = _hour(instant)
    return hour if hour == instant else hour + HOUR
