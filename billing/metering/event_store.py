"""Appending events: the fastest durable way of each database, and what stood in the way of those not appended.

SQLite: inserts of many rows that skip what is there. PostgreSQL: COPY into a temporary table, then one insert from it,
or, of few events, one insert from arrays, which takes one round trip instead of four; in the order of the keys, so that
two writers of the same events wait for each other and never in a ring.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from billing.metering.cloud_event import CloudEvent, EventKey
from billing.metering.many_rows import ManyRows
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.values.ids import bucket_of

COLUMNS = (
    "tenant",
    "source",
    "event_id",
    "event_type",
    "customer",
    "bucket",
    "occurred_at",
    "recorded_at",
    "data",
    "body_hash",
    "corrects_source",
    "corrects_id",
    "cancels",
)
_NOTHING = (None, None)
_NAMES = ", ".join(COLUMNS)
# A row that is refused raises and the transaction goes with it, so there is nothing for SQLite to undo: to be able to
# undo one statement alone it would copy every page aside first, which costs as much as many rows a statement save.
_SQLITE_HEAD = f"insert or fail into usage_event (rowid, {_NAMES})"
_SQLITE_ROW = ("?", "?1", "?", "?", "?", "?", "?", "?", "?2", "?", "?")
_SQLITE_INSERT = ManyRows(_SQLITE_HEAD, (*_SQLITE_ROW, "null", "null", "0"), "on conflict do nothing", shared=2)
_SQLITE_INSERT_CORRECTING = ManyRows(_SQLITE_HEAD, (*_SQLITE_ROW, "?", "?", "?"), "on conflict do nothing", shared=2)
POSTGRESQL_STAGE = """
create temporary table if not exists usage_incoming (
    tenant text, source text, event_id text, event_type text, customer text, bucket smallint, occurred_at timestamptz,
    recorded_at timestamptz, data text, body_hash bytea, corrects_source text, corrects_id text, cancels boolean
) on commit delete rows;
delete from usage_incoming
"""
POSTGRESQL_TYPES = [
    "text",
    "text",
    "text",
    "text",
    "text",
    "int2",
    "timestamptz",
    "timestamptz",
    "text",
    "bytea",
    "text",
    "text",
    "bool",
]
POSTGRESQL_COPY = f"copy usage_incoming ({_NAMES}) from stdin (format binary)"
_POSTGRESQL_INSERT = f"""
with added as (
    insert into usage_event ({_NAMES}) select {_NAMES} from usage_incoming order by source, event_id
    on conflict do nothing returning source, event_id
)
select source, event_id from usage_incoming except all select source, event_id from added
"""  # noqa: S608
_POSTGRESQL_INSERT_FEW = f"""
insert into usage_event ({_NAMES}) select * from unnest({", ".join(f"%b::{kind}[]" for kind in POSTGRESQL_TYPES)})
as incoming ({_NAMES}) order by source, event_id on conflict do nothing returning source, event_id
"""  # noqa: S608
_FEW = 100
"""Up to how many events arrays are the faster way."""


class Place(NamedTuple):
    """Where a stored event belongs."""

    key: EventKey
    customer: str
    event_type: str
    occurred_at: datetime
    body_hash: bytes


def append(uow: UnitOfWork, events: Sequence[CloudEvent], recorded_at: datetime) -> set[EventKey]:
    """Append `events` (keys distinct); return the keys of those that were there already or could not be added."""
    if not events:
        return set()
    if uow.is_sqlite:
        return _append_sqlite(uow, events, recorded_at)
    return _append_postgresql(uow, events, recorded_at)


def stored(uow: UnitOfWork, keys: Collection[EventKey]) -> dict[EventKey, Place]:
    """Return those of `keys` that are stored."""
    return {key: place for key, place in _places(uow, keys, "e.source = k.source and e.event_id = k.id")}


def corrections_of(uow: UnitOfWork, keys: Collection[EventKey]) -> list[tuple[EventKey, Place]]:
    """Return each of `keys` with the stored events that say they correct or cancel it."""
    return _places(uow, keys, "e.corrects_source = k.source and e.corrects_id = k.id")


def rows_of(
    tenant: str,
    events: Sequence[CloudEvent],
    times: Sequence[Any],
    recorded_at: Any,  # noqa: ANN401 - text or datetime
) -> list[tuple[Any, ...]]:
    """Return the rows of events in the order of COLUMNS; times in the form of the database at hand."""
    return [
        (
            tenant,
            event.source,
            event.event_id,
            event.event_type,
            event.customer,
            bucket_of(tenant, event.customer),
            time,
            recorded_at,
            event.data_text,
            event.body_hash,
            (corrects := event.corrects or _NOTHING)[0],
            corrects[1],
            event.cancels,
        )
        for event, time in zip(events, times, strict=True)
    ]


def _append_sqlite(uow: UnitOfWork, events: Sequence[CloudEvent], recorded_at: datetime) -> set[EventKey]:
    tenant, cursor = uow.tenant, _driver(uow).cursor()
    # Rows are never deleted, so those beyond the last rowid are ours: each event is given the next, and those that are
    # not there afterwards were not added.
    last = cursor.execute("select coalesce(max(rowid), 0) from usage_event").fetchone()[0]
    rows = [
        (
            rowid,
            event.source,
            event.event_id,
            event.event_type,
            event.customer,
            bucket_of(tenant, event.customer),
            event.time_text,
            event.data_text,
            event.body_hash,
        )
        for rowid, event in enumerate(events, last + 1)
    ]
    insert = _SQLITE_INSERT
    if any([event.corrects for event in events]):
        insert = _SQLITE_INSERT_CORRECTING
        rows = [(*row, *(event.corrects or _NOTHING), event.cancels) for row, event in zip(rows, events, strict=True)]
    if insert.execute(cursor, (tenant, utc_text(recorded_at)), rows) == len(rows):
        return set()
    added = {rowid for (rowid,) in cursor.execute("select rowid from usage_event where rowid > ?", (last,))}
    return {event.key for rowid, event in enumerate(events, last + 1) if rowid not in added}


def _append_postgresql(uow: UnitOfWork, events: Sequence[CloudEvent], recorded_at: datetime) -> set[EventKey]:
    rows = rows_of(uow.tenant, events, [event.occurred_at for event in events], recorded_at)
    cursor = _driver(uow).cursor()
    if len(rows) <= _FEW:
        cursor.execute(_POSTGRESQL_INSERT_FEW, [list(column) for column in zip(*rows, strict=True)])
        return {event.key for event in events}.difference(cursor.fetchall())
    cursor.execute(POSTGRESQL_STAGE)
    with cursor.copy(POSTGRESQL_COPY) as copy:
        copy.set_types(POSTGRESQL_TYPES)
        write_row = copy.write_row
        for row in rows:
            write_row(row)
    cursor.execute(_POSTGRESQL_INSERT)
    return set(cursor.fetchall())


# One index lookup a key, whatever a planner believes: a cross join keeps its order on SQLite, which would read every
# event for an inner join; PostgreSQL, without statistics, would too, unless told that the lateral stands for itself.
def _places(uow: UnitOfWork, keys: Collection[EventKey], condition: str) -> list[tuple[EventKey, Place]]:
    if not keys:
        return []
    columns = "e.source, e.event_id, e.customer, e.event_type, e.occurred_at, e.body_hash"
    if uow.is_sqlite:
        pairs = "(select json_extract(value, '$[0]') as source, json_extract(value, '$[1]') as id from json_each(?)) k"
        statement = (
            f"select k.source, k.id, {columns} from {pairs} cross join usage_event e where e.tenant = ? and {condition}"  # noqa: S608
        )
        sent: tuple[Any, ...] = (msgspec.json.encode(sorted(keys)).decode(), uow.tenant)
    else:
        found = f"select {columns} from usage_event e where e.tenant = %s and {condition} offset 0"  # noqa: S608
        statement = (
            f"select k.*, e.* from unnest(%b::text[], %b::text[]) as k (source, id) cross join lateral ({found}) e"  # noqa: S608
        )
        sent = ([source for source, _ in keys], [event_id for _, event_id in keys], uow.tenant)
    return [
        ((source, event_id), Place((by, by_id), customer, event_type, as_instant(occurred_at), bytes(body_hash)))
        for source, event_id, by, by_id, customer, event_type, occurred_at, body_hash in _driver(uow).execute(
            statement, sent
        )
    ]


def as_instant(stored_time: str | datetime) -> datetime:
    """Return the instant of a time column read without its type: text on SQLite."""
    return datetime.fromisoformat(stored_time) if isinstance(stored_time, str) else stored_time.astimezone(UTC)


def _driver(uow: UnitOfWork) -> Any:  # noqa: ANN401 - sqlite3 or psycopg
    return uow.connection.connection.driver_connection
