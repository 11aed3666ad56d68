"""What is kept beside the events so that nothing about them is lost: unmatched, conflicting and late ones, cutoffs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Table, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from billing.metering import locks
from billing.metering.cloud_event import CloudEvent, EventKey
from billing.metering.history import EVENT
from billing.metering.outcome import UnmatchedReason
from billing.metering.sets import members
from billing.repositories.paging import later_than
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.usage import UsageConflictRow, UsageCutoffRow, UsageLateRow, UsageUnmatchedRow
from models.values.errors import RuleBrokenError
from models.values.period import Period

UNMATCHED = table_of(UsageUnmatchedRow)
_CONFLICT = table_of(UsageConflictRow)
CUTOFF = table_of(UsageCutoffRow)
_LATE = table_of(UsageLateRow)

RESOLVABLE = (
    UnmatchedReason.UNKNOWN_CUSTOMER,
    UnmatchedReason.UNKNOWN_EVENT_TYPE,
    UnmatchedReason.UNKNOWN_CORRECTED_EVENT,
)
"""Reasons that later events or facts resolve."""

Reason = tuple[UnmatchedReason, str]
"""Why an event is unmatched, and what that is about: a customer, an event type, an event id, meters."""


class Unmatched(NamedTuple):
    """An open entry of the list of unmatched events."""

    source: str
    event_id: str
    reason: UnmatchedReason
    subject: str
    recorded_at: datetime


class Cutoff(NamedTuple):
    """Up to where a customer's usage is billed, by which run, and up to when that run knew events."""

    closed_through: datetime
    run: str
    recorded_at: datetime


class Late(NamedTuple):
    """A late event: the time whose billing it changes, and the run that billed that time before it came."""

    source: str
    event_id: str
    customer: str
    occurred_at: datetime
    run: str
    recorded_at: datetime


class Conflict(NamedTuple):
    """A send that was refused because of a stored event."""

    event: CloudEvent
    kept_hash: bytes
    code: str


class RefusedBody(NamedTuple):
    """A body that was refused: what is kept under its source and id, or of what it corrects, has another hash."""

    source: str
    event_id: str
    refused_hash: bytes
    kept_hash: bytes
    code: str
    recorded_at: datetime


def refused_bodies(
    uow: UnitOfWork, *, after: tuple[str, str, bytes] | None = None, limit: int = 1_000
) -> list[RefusedBody]:
    """Return the bodies that were refused, by (source, id, hash); `after` pages on."""
    columns = [_CONFLICT.c[name] for name in RefusedBody._fields]
    query = select(*columns).where(_CONFLICT.c.tenant == uow.tenant)
    if after is not None:
        query = query.where(later_than(columns[:3], after))
    rows = uow.connection.execute(query.order_by(*columns[:3]).limit(limit))
    return [RefusedBody(row[0], row[1], bytes(row[2]), bytes(row[3]), row[4], row[5]) for row in rows]


def open_unmatched(
    uow: UnitOfWork,
    *,
    reason: UnmatchedReason | None = None,
    after: Sequence[str] | None = None,
    limit: int = 1_000,
) -> list[Unmatched]:
    """Return open unmatched entries, of one reason where given, by (source, id, reason, subject); `after` pages on."""
    columns = [UNMATCHED.c[name] for name in Unmatched._fields]
    order = columns[:4]
    query = (
        select(*columns)
        .where(
            UNMATCHED.c.tenant == uow.tenant,
            UNMATCHED.c.resolved_at.is_(None),
        )
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        query = query.where(later_than(order, after))
    if reason is not None:
        query = query.where(UNMATCHED.c.reason == reason.value)
    return [
        Unmatched(row.source, row.event_id, UnmatchedReason(row.reason), row.subject, row.recorded_at)
        for row in uow.connection.execute(query)
    ]


def open_subjects(uow: UnitOfWork, reason: UnmatchedReason) -> list[str]:
    """Return, without repetition, what the open entries of one reason are about."""
    query = select(UNMATCHED.c.subject).where(*_open(uow, reason)).distinct()
    return list(uow.connection.execute(query).scalars())


def list_as_unmatched(uow: UnitOfWork, entries: Iterable[tuple[EventKey, Reason]], now: datetime) -> None:
    """Put stored events on the list."""
    _insert(
        uow,
        UNMATCHED,
        [
            {
                "tenant": uow.tenant,
                "source": key[0],
                "event_id": key[1],
                "reason": reason.value,
                "subject": subject,
                "recorded_at": now,
                "resolved_at": None,
            }
            for key, (reason, subject) in entries
        ],
    )


def resolve(uow: UnitOfWork, reason: UnmatchedReason, subjects: Collection[str], now: datetime) -> int:
    """Close the open entries of a reason that are about one of `subjects`; return how many there were."""
    if not subjects:
        return 0
    statement = update(UNMATCHED).where(*_open(uow, reason), members(uow, UNMATCHED.c.subject, subjects))
    return uow.connection.execute(statement.values(resolved_at=now)).rowcount


def resolve_events(uow: UnitOfWork, keys: Collection[EventKey], now: datetime) -> None:
    """Close whatever is open about these events."""
    for source, event_id in sorted(keys):
        uow.connection.execute(
            update(UNMATCHED)
            .where(
                UNMATCHED.c.tenant == uow.tenant,
                UNMATCHED.c.source == source,
                UNMATCHED.c.event_id == event_id,
                UNMATCHED.c.resolved_at.is_(None),
            )
            .values(resolved_at=now)
        )


def log_conflicts(uow: UnitOfWork, conflicts: Sequence[Conflict], now: datetime) -> None:
    """Keep what was refused; the same refusal again is kept once."""
    _insert(
        uow,
        _CONFLICT,
        [
            {
                "tenant": uow.tenant,
                "source": conflict.event.source,
                "event_id": conflict.event.event_id,
                "refused_hash": conflict.event.body_hash,
                "kept_hash": conflict.kept_hash,
                "code": conflict.code,
                "recorded_at": now,
            }
            for conflict in conflicts
        ],
    )


def cutoffs(uow: UnitOfWork, customers: Collection[str]) -> dict[str, Cutoff]:
    """Return the cutoffs of those `customers` that have one."""
    query = select(CUTOFF).where(CUTOFF.c.tenant == uow.tenant, members(uow, CUTOFF.c.customer, customers))
    return {row.customer: Cutoff(row.closed_through, row.run, row.recorded_at) for row in uow.connection.execute(query)}


def last_recorded(uow: UnitOfWork, *, alone: bool = False) -> datetime | None:
    """Return the latest time of recording of any event; `alone`: and let none be stored until the transaction ends.

    It may lie ahead of now, where the clock of the machine that stored it runs ahead. Reads every event.
    """
    if alone:
        locks.alone(uow)
    query = select(func.max(EVENT.c.recorded_at)).where(EVENT.c.tenant == uow.tenant)
    return uow.connection.execute(query).scalar_one()  # type: ignore[no-any-return]


def close_through(uow: UnitOfWork, customers: Collection[str], instant: datetime, run: str, now: datetime) -> None:
    """Say that `run` bills the usage of `customers` before `instant` as it is known at `now`; what comes later is late.

    From this transaction on, every event recorded at or before `now` is stored, and none will ever be recorded at
    or before it again: `known_at=now` is the same set of events for good. Raises RuleBrokenError where a customer
    is closed further already: reopen first.
    """
    locks.alone(uow)
    for customer, cutoff in cutoffs(uow, customers).items():
        if cutoff.closed_through > instant:
            raise RuleBrokenError(
                f"is closed through {cutoff.closed_through.isoformat()}",
                field="customer",
                value=customer,
                code="closed_further",
            )
    _set_cutoffs(uow, customers, instant, run, now)


def reopen_from(uow: UnitOfWork, customers: Collection[str], instant: datetime, run: str, now: datetime) -> None:
    """Take a close back: from now on events from `instant` on are on time again for `customers`."""
    locks.alone(uow)
    _set_cutoffs(uow, customers, instant, run, now)


def record_late(uow: UnitOfWork, late: Iterable[Late]) -> None:
    """Keep late events for the next run."""
    _insert(uow, _LATE, [{"tenant": uow.tenant, **each._asdict(), "settled_by": None} for each in late])


def unsettled_late(
    uow: UnitOfWork,
    *,
    customers: Collection[str] | None = None,
    period: Period | None = None,
    settled_from: str | None = None,
) -> list[Late]:
    """Return late events whose difference no run has billed, by customer and time.

    `settled_from`: also those that a close of this month or a later one has billed.
    """
    unsettled = _LATE.c.settled_by.is_(None)
    if settled_from is not None:
        unsettled = or_(unsettled, _LATE.c.settled_by >= settled_from)
    query = (
        select(*(_LATE.c[name] for name in Late._fields))
        .where(_LATE.c.tenant == uow.tenant, unsettled)
        .order_by(_LATE.c.customer, _LATE.c.occurred_at, _LATE.c.source, _LATE.c.event_id)
    )
    if customers is not None:
        query = query.where(members(uow, _LATE.c.customer, customers))
    if period is not None:
        query = query.where(_LATE.c.occurred_at >= period.start, _LATE.c.occurred_at < period.end)
    return [Late(*row) for row in uow.connection.execute(query)]


def settle_late(uow: UnitOfWork, late: Iterable[Late], run: str) -> None:
    """Say that `run` has billed the difference these events made."""
    for each in late:
        uow.connection.execute(
            update(_LATE)
            .where(
                _LATE.c.tenant == uow.tenant,
                _LATE.c.source == each.source,
                _LATE.c.event_id == each.event_id,
                _LATE.c.occurred_at == each.occurred_at,
            )
            .values(settled_by=run)
        )


def _open(uow: UnitOfWork, reason: UnmatchedReason) -> tuple[Any, ...]:
    return UNMATCHED.c.tenant == uow.tenant, UNMATCHED.c.resolved_at.is_(None), UNMATCHED.c.reason == reason.value


def _set_cutoffs(uow: UnitOfWork, customers: Collection[str], instant: datetime, run: str, now: datetime) -> None:
    if not customers:
        return
    statement = (sqlite if uow.is_sqlite else postgresql).insert(CUTOFF)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "customer"],
        set_={name: statement.excluded[name] for name in ("closed_through", "run", "recorded_at")},
    )
    uow.connection.execute(
        statement,
        [
            {"tenant": uow.tenant, "customer": customer, "closed_through": instant, "run": run, "recorded_at": now}
            for customer in sorted(customers)
        ],
    )


def _insert(uow: UnitOfWork, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; those that are there already stay as they are."""
    if rows:
        uow.connection.execute(_insert_if_new(table, is_sqlite=uow.is_sqlite), rows)


@cache
def _insert_if_new(table: Table, *, is_sqlite: bool) -> Executable:
    return (sqlite if is_sqlite else postgresql).insert(table).on_conflict_do_nothing()
