"""Reading stored events: those that count, now or as they were known at an earlier time.

An event counts unless it is a cancellation, or another event of the same customer and type corrects or cancels it,
or it corrects one that has not come. Whoever cancels a correction cancels what it corrected as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import Select, Text, bindparam, exists, func, or_, select, type_coerce

from billing.metering.cloud_event import CloudEvent, EventKey
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.tables.base import table_of
from models.tables.usage import UsageEventRow
from models.values.period import Period

EVENT = table_of(UsageEventRow)
_BATCH = 2_000
_DATA = msgspec.json.Decoder(dict[str, Any])


class StoredEvent(NamedTuple):
    """An event as stored; `data_text` is the canonical JSON of its data."""

    source: str
    event_id: str
    event_type: str
    customer: str
    occurred_at: datetime
    recorded_at: datetime
    data_text: str

    @property
    def data(self) -> dict[str, Any]:
        """The event's data."""
        return _DATA.decode(self.data_text)


class EventReader(Protocol):
    """Reads the events of one customer, type and period that count, as known at an instant, in no promised order."""

    def __call__(
        self, uow: UnitOfWork, /, *, customer: str, event_type: str, period: Period, known_at: datetime
    ) -> Iterable[StoredEvent]:
        """Yield them."""
        ...


def effective_events(
    uow: UnitOfWork,
    *,
    customer: str | None = None,
    event_type: str | None = None,
    period: Period | None = None,
    known_at: datetime | None = None,
) -> Iterator[StoredEvent]:
    """Yield the events that count, of one customer, type and period where given, in no promised order.

    `known_at`: as they were known then, so events and corrections recorded later are left out.
    """
    asked = {"customer": customer, "event_type": event_type, "known_at": known_at}
    if period is not None:
        asked |= {"start": period.start, "end": period.end}
    given = {name: value for name, value in asked.items() if value is not None}
    statement = _effective(frozenset(given), as_text=uow.is_sqlite)
    rows = uow.connection.execute(statement, {"tenant": uow.tenant, **given}, execution_options={"yield_per": _BATCH})
    instant = datetime.fromisoformat if uow.is_sqlite else _as_it_is
    for some in rows.partitions():
        for source, event_id, of_type, by, occurred_at, recorded_at, data in some:
            yield StoredEvent(source, event_id, of_type, by, instant(occurred_at), instant(recorded_at), data)


def in_batches(events: Iterable[StoredEvent]) -> Iterator[list[StoredEvent]]:
    """Yield events some at a time: as many as are held at once anyway."""
    left = iter(events)
    while some := list(islice(left, _BATCH)):
        yield some


def find_event(uow: UnitOfWork, key: EventKey) -> CloudEvent | None:
    """Return one stored event, whether it counts or not."""
    query = select(EVENT).where(EVENT.c.tenant == uow.tenant, EVENT.c.source == key[0], EVENT.c.event_id == key[1])
    row = uow.connection.execute(query).one_or_none()
    return None if row is None else _cloud_event(row)


def events_named(uow: UnitOfWork, event_id: str) -> list[CloudEvent]:
    """Return the stored events with that id, of whatever source, in the order of the sources."""
    found = []
    source = None
    while (source := _next_source(uow, source)) is not None:
        event = find_event(uow, (source, event_id))
        if event is not None:
            found.append(event)
    return found


def _next_source(uow: UnitOfWork, after: str | None) -> str | None:
    """Step from source to source along the primary key; a search by id alone would read every event."""
    query = select(func.min(EVENT.c.source)).where(EVENT.c.tenant == uow.tenant)
    if after is not None:
        query = query.where(EVENT.c.source > after)
    return uow.connection.execute(query).scalar_one()  # type: ignore[no-any-return]


def correction_of(uow: UnitOfWork, event: CloudEvent) -> CloudEvent | None:
    """Return the stored event that corrects or cancels this one."""
    query = select(EVENT).where(
        EVENT.c.tenant == uow.tenant,
        EVENT.c.corrects_source == event.source,
        EVENT.c.corrects_id == event.event_id,
        EVENT.c.customer == event.customer,
        EVENT.c.event_type == event.event_type,
    )
    row = uow.connection.execute(query).one_or_none()
    return None if row is None else _cloud_event(row)


@cache
def _effective(given: frozenset[str], *, as_text: bool) -> Select[Any]:
    """Return the query for what of customer, type, period and time of knowing is given.

    `as_text`: times as they are stored: SQLAlchemy takes as long over two of them as over all else of a row.
    """
    known_at = bindparam("known_at", type_=EVENT.c.recorded_at.type) if "known_at" in given else None
    target, correction = EVENT.alias("target"), EVENT.alias("correction")
    same = [EVENT.c.tenant, EVENT.c.customer, EVENT.c.event_type]
    has_target = exists().where(
        *(target.c[column.name] == column for column in same),
        target.c.source == EVENT.c.corrects_source,
        target.c.event_id == EVENT.c.corrects_id,
    )
    is_corrected = exists().where(
        *(correction.c[column.name] == column for column in same),
        correction.c.corrects_source == EVENT.c.source,
        correction.c.corrects_id == EVENT.c.event_id,
    )
    conditions = [EVENT.c.tenant == bindparam("tenant")]
    if known_at is not None:
        has_target = has_target.where(target.c.recorded_at <= known_at)
        is_corrected = is_corrected.where(correction.c.recorded_at <= known_at)
        conditions.append(EVENT.c.recorded_at <= known_at)
    conditions += [EVENT.c[name] == bindparam(name) for name in ("customer", "event_type") if name in given]
    if "start" in given:
        conditions += [EVENT.c.occurred_at >= bindparam("start"), EVENT.c.occurred_at < bindparam("end")]
    times = [type_coerce(time, Text) if as_text else time for time in (EVENT.c.occurred_at, EVENT.c.recorded_at)]
    return select(
        EVENT.c.source,
        EVENT.c.event_id,
        EVENT.c.event_type,
        EVENT.c.customer,
        *times,
        type_coerce(EVENT.c.data, Text),
    ).where(
        *conditions,
        EVENT.c.cancels.is_(False),
        or_(EVENT.c.corrects_id.is_(None), has_target),
        ~is_corrected,
    )


def _as_it_is(instant: datetime) -> datetime:
    return instant


def _cloud_event(row: Any) -> CloudEvent:  # noqa: ANN401 - a row of usage_event
    return CloudEvent(
        row.source,
        row.event_id,
        row.event_type,
        row.customer,
        row.occurred_at,
        utc_text(row.occurred_at),
        row.data,
        json.dumps(row.data, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        bytes(row.body_hash),
        None if row.corrects_id is None else (row.corrects_source, row.corrects_id),
        row.cancels,
    )
