"""Beginning a counter: from then on it counts events as they arrive; those stored before are counted at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from billing.metering import locks
from billing.metering.counters import Absent, Counter, Reading, read_value
from billing.metering.directory import MeterDirectory
from billing.metering.history import effective_events
from billing.metering.outcome import UnmatchedReason
from billing.metering.sets import AskedOften
from billing.metering.totals import add_to_totals, count_events
from billing.metering.worklists import UNMATCHED, Reason, list_as_unmatched, open_subjects, resolve
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.usage import UsageCounterRow
from models.values.errors import DomainError

_SUBJECT_CHARS = 250
COUNTER = table_of(UsageCounterRow)
_BEGUN = AskedOften(lambda tenant, _one_of: select(COUNTER.c.id).where(COUNTER.c.tenant == tenant))


def unbegun(uow: UnitOfWork, counters: Collection[Counter]) -> list[Counter]:
    """Return those of `counters` that do not count yet."""
    begun = set(_BEGUN(uow).scalars())
    return [counter for counter in counters if counter.id not in begun]


def begin_counters(uow: UnitOfWork, counters: Collection[Counter], now: datetime) -> None:
    """Begin those of `counters` that do not count yet. The caller is `locks.alone`."""
    for counter in unbegun(uow, counters):
        uow.connection.execute(
            insert(COUNTER).values(
                tenant=uow.tenant,
                id=counter.id,
                event_type=counter.event_type,
                definition=counter.definition(),
                recorded_at=now,
            )
        )
        add_to_totals(uow, count_events(uow, [counter]).cells)


def pick_up(uow: UnitOfWork, directory: MeterDirectory, now: datetime) -> int:
    """Match whatever has become known since it was stored; return how many unmatched entries that resolved.

    Called when a price book is published, a customer is added and before a close. An event waits for nothing else:
    what counts is read from the events themselves.
    """
    locks.alone(uow)
    counters = directory.counters(uow)
    begin_counters(uow, [counter for of_type in counters.values() for counter in of_type], now)
    customers = directory.known_customers(uow, open_subjects(uow, UnmatchedReason.UNKNOWN_CUSTOMER))
    types = [each for each in open_subjects(uow, UnmatchedReason.UNKNOWN_EVENT_TYPE) if each in counters]
    return match_customers(uow, customers, now) + match_types(uow, counters, types, now)


def match_customers(uow: UnitOfWork, customers: Collection[str], now: datetime) -> int:
    """Take events of these customers, known by now, off the list; return how many entries."""
    return resolve(uow, UnmatchedReason.UNKNOWN_CUSTOMER, customers, now)


def match_types(
    uow: UnitOfWork, counters: Mapping[str, Collection[Counter]], event_types: Collection[str], now: datetime
) -> int:
    """Take events of these types, known by now, off the list, but for those whose values cannot be counted.

    They were stored unread. Returns how many entries were resolved.
    """
    for event_type in event_types:
        _list_bad_values(uow, event_type, counters[event_type], now)
    return resolve(uow, UnmatchedReason.UNKNOWN_EVENT_TYPE, event_types, now)


def value_reasons(counters: Iterable[Counter], data: Mapping[str, Any]) -> list[Reason]:
    """Return why an event bills nothing although its type is known: bad values, or none for any counter."""
    missing: list[Reason] = []
    invalid: list[Reason] = []
    counted = False
    for counter in counters:
        try:
            reading = read_value(counter, data)
        except DomainError:
            invalid.append((UnmatchedReason.INVALID_VALUE, subject_of(counter)))
            continue
        counted |= isinstance(reading, Reading)
        if reading is Absent.NO_VALUE:
            missing.append((UnmatchedReason.MISSING_VALUE, subject_of(counter)))
    return invalid or ([] if counted else missing)


def subject_of(counter: Counter) -> str:
    """Return what an unmatched entry about a counter names: its meters."""
    return ",".join(counter.meters)[:_SUBJECT_CHARS]


def _list_bad_values(uow: UnitOfWork, event_type: str, counters: Collection[Counter], now: datetime) -> None:
    query = select(UNMATCHED.c.source, UNMATCHED.c.event_id).where(
        UNMATCHED.c.tenant == uow.tenant,
        UNMATCHED.c.resolved_at.is_(None),
        UNMATCHED.c.reason == UnmatchedReason.UNKNOWN_EVENT_TYPE.value,
        UNMATCHED.c.subject == event_type,
    )
    waiting = {(source, event_id) for source, event_id in uow.connection.execute(query)}
    if not waiting:
        return
    found = [
        ((event.source, event.event_id), reason)
        for event in effective_events(uow, event_type=event_type)
        if (event.source, event.event_id) in waiting
        for reason in value_reasons(counters, event.data)
    ]
    list_as_unmatched(uow, found, now)
