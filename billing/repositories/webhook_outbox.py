"""Rows of the webhook outbox: events, what is to be delivered to whom, and the log of attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, select, update

from billing.repositories import leasing
from billing.repositories.inserting import insert_new
from billing.repositories.leasing import AT_ONCE
from billing.repositories.paging import earlier_than
from billing.repositories.webhook_endpoints import ACTIVE, ENDPOINT
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.webhook import WebhookAttemptRow, WebhookDeliveryRow, WebhookEventRow
from models.values.errors import NotFoundError

EVENT = table_of(WebhookEventRow)
DELIVERY = table_of(WebhookDeliveryRow)
ATTEMPT = table_of(WebhookAttemptRow)
WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was recorded."""

    id: str
    type: str
    data: Mapping[str, Any]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where one event stands on its way to one endpoint."""

    endpoint: str
    event: str
    type: str
    state: str
    attempts: int
    recorded_at: datetime
    next_at: datetime | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the deliveries to one endpoint stand: when the last one arrived, how many wait, how many were given up."""

    arrived_at: datetime | None = None
    waiting: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that is a worker's to make: the `attempts`-th in all, the `tries`-th since it was queued."""

    endpoint: str
    url: str
    event: StoredEvent
    tries: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went: the status, or why there is none, and the beginning of the answer."""

    number: int
    status: int | None
    error: str | None
    answer: str
    took_ms: int
    attempted_at: datetime


def add_event(uow: UnitOfWork, event_id: str, event_type: str, data: Mapping[str, Any], now: datetime) -> bool:
    """Insert an event; False where it is there already."""
    row = {"tenant": uow.tenant, "id": event_id, "type": event_type, "data": dict(data), "recorded_at": now}
    return insert_new(uow, EVENT, row)


def queue(uow: UnitOfWork, deliveries: Sequence[tuple[str, str]]) -> None:
    """Queue (endpoint, event) pairs, at once. What was delivered or given up is queued anew, its log kept."""
    for endpoint, event in deliveries:
        row = {
            "tenant": uow.tenant,
            "endpoint": endpoint,
            "event": event,
            "state": WAITING,
            "tries": 0,
            "attempts": 0,
            "next_at": AT_ONCE,
        }
        if not insert_new(uow, DELIVERY, row):
            uow.connection.execute(
                update(DELIVERY)
                .where(*_of(uow, endpoint, event), DELIVERY.c.state != leasing.IN_FLIGHT)
                .values(state=WAITING, tries=0, next_at=AT_ONCE, delivered_at=None)
            )


def events_after(uow: UnitOfWork, event: str) -> list[StoredEvent]:
    """Return the events recorded after one of them, in order. Raises NotFoundError."""
    found = uow.connection.execute(select(EVENT).where(EVENT.c.tenant == uow.tenant, EVENT.c.id == event)).first()
    if found is None:
        raise NotFoundError("no such event", field="after", value=event, code="unknown_webhook_event")
    # Several may bear one instant: then they come once more rather than never.
    query = (
        select(EVENT)
        .where(EVENT.c.tenant == uow.tenant, EVENT.c.recorded_at >= found.recorded_at, EVENT.c.id != event)
        .order_by(EVENT.c.recorded_at, EVENT.c.id)
    )
    return [_event(row) for row in uow.connection.execute(query)]


def missed_since(uow: UnitOfWork, endpoint: str, since: datetime) -> list[StoredEvent]:
    """Return the events recorded since then that have not arrived at an endpoint and are not under way, in order."""
    # One look by its key for each event; as a join PostgreSQL may go through all deliveries for each.
    state = select(DELIVERY.c.state).where(_its_event(), DELIVERY.c.endpoint == endpoint).scalar_subquery()
    query = (
        select(EVENT)
        .where(
            EVENT.c.tenant == uow.tenant,
            EVENT.c.recorded_at >= since,
            func.coalesce(state, FAILED).in_((WAITING, FAILED)),
        )
        .order_by(EVENT.c.recorded_at, EVENT.c.id)
    )
    return [_event(row) for row in uow.connection.execute(query)]


def deliveries(uow: UnitOfWork, endpoint: str, before: tuple[datetime, str] | None, limit: int) -> list[Delivery]:
    """Return an endpoint's deliveries, latest event first. `before`: time and id of the last one of the page before."""
    beyond = [] if before is None else [earlier_than([EVENT.c.recorded_at, EVENT.c.id], before)]
    query = (
        select(DELIVERY, EVENT.c.type, EVENT.c.recorded_at)
        .join(EVENT, _its_event())
        .where(DELIVERY.c.tenant == uow.tenant, DELIVERY.c.endpoint == endpoint, *beyond)
        .order_by(EVENT.c.recorded_at.desc(), EVENT.c.id.desc())
        .limit(limit)
    )
    return [_delivery(row) for row in uow.connection.execute(query)]


def delivery(uow: UnitOfWork, endpoint: str, event: str) -> tuple[Delivery, StoredEvent]:
    """Return where an event stands on its way to an endpoint, and the event. Raises NotFoundError."""
    query = select(DELIVERY, EVENT).join(EVENT, _its_event()).where(*_of(uow, endpoint, event))
    found = uow.connection.execute(query).first()
    if found is None:
        raise _no_delivery(event)
    return _delivery(found), _event(found)


def check_delivery(uow: UnitOfWork, endpoint: str, event: str) -> None:
    """Raise NotFoundError unless the event was ever queued for the endpoint."""
    if uow.connection.execute(select(DELIVERY.c.event).where(*_of(uow, endpoint, event))).first() is None:
        raise _no_delivery(event)


def oldest_missing(uow: UnitOfWork, endpoint: str) -> datetime | None:
    """Return when the oldest event was recorded that waits for an endpoint or was given up; None where none does."""
    query = (
        select(func.min(EVENT.c.recorded_at))
        .select_from(DELIVERY)
        .join(EVENT, _its_event())
        .where(
            DELIVERY.c.tenant == uow.tenant, DELIVERY.c.endpoint == endpoint, DELIVERY.c.state.in_((WAITING, FAILED))
        )
    )
    return uow.connection.execute(query).scalar_one()


def standings(uow: UnitOfWork) -> dict[str, Standing]:
    """Return how deliveries stand, by endpoint; one to which nothing was ever queued is not among them."""

    def number(state: str) -> ColumnElement[int]:
        return func.count().filter(DELIVERY.c.state == state)

    query = (
        select(DELIVERY.c.endpoint, func.max(DELIVERY.c.delivered_at), number(WAITING), number(FAILED))
        .where(DELIVERY.c.tenant == uow.tenant)
        .group_by(DELIVERY.c.endpoint)
    )
    return {endpoint: Standing(*standing) for endpoint, *standing in uow.connection.execute(query)}


def latest_attempts(uow: UnitOfWork, endpoint: str, events: Sequence[str]) -> dict[str, Attempt]:
    """Return the last attempt of each of an endpoint's deliveries, by event."""
    query = (
        select(ATTEMPT)
        .where(ATTEMPT.c.tenant == uow.tenant, ATTEMPT.c.endpoint == endpoint, ATTEMPT.c.event.in_(events))
        .order_by(ATTEMPT.c.number)
    )
    return {row.event: _attempt(row) for row in uow.connection.execute(query)}


def attempts(uow: UnitOfWork, endpoint: str, event: str) -> list[Attempt]:
    """Return the attempts of a delivery, in order."""
    query = (
        select(ATTEMPT)
        .where(ATTEMPT.c.tenant == uow.tenant, ATTEMPT.c.endpoint == endpoint, ATTEMPT.c.event == event)
        .order_by(ATTEMPT.c.number)
    )
    return [_attempt(row) for row in uow.connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Share:
    """How many deliveries may be under way: in all, to one endpoint, and to one where the last try failed."""

    in_all: int
    to_one: int
    to_failing: int = 1


def lease(
    uow: UnitOfWork,
    owner: str,
    now: datetime,
    lease_for: timedelta,
    share: Share,
    under_way: Mapping[str, int] | None = None,
) -> list[Leased]:
    """Take deliveries that are due to active endpoints, longest due and oldest first.

    `under_way`: how many the owner has taken before and not finished, by endpoint.
    """
    busy = Counter(under_way)
    full = {endpoint for endpoint, number in busy.items() if number >= share.to_one}
    taken: list[Leased] = []
    while room := share.in_all - busy.total():
        skipped = False
        for row in uow.connection.execute(_leasable(uow, now, full, room)).all():
            if busy[row.endpoint] >= (share.to_one if row.failing_since is None else share.to_failing):
                full.add(row.endpoint)
                skipped = True
                continue
            busy[row.endpoint] += 1
            counts = {"tries": row.tries + 1, "attempts": row.attempts + 1}
            uow.connection.execute(
                update(DELIVERY)
                .where(*_of(uow, row.endpoint, row.event))
                .values(state=leasing.IN_FLIGHT, lease_owner=owner, lease_until=now + lease_for, **counts)
            )
            taken.append(Leased(row.endpoint, row.url, _event(row), row.tries + 1, row.attempts + 1))
        if not skipped:
            break
    return taken


def _leasable(uow: UnitOfWork, now: datetime, full: Collection[str], limit: int) -> Select[Any]:
    columns = select(
        DELIVERY,
        ENDPOINT.c.url,
        ENDPOINT.c.failing_since,
        EVENT.c.id,
        EVENT.c.type,
        EVENT.c.data,
        EVENT.c.recorded_at,
    )
    return (
        _due(columns, uow, now, full)
        .join(EVENT, _its_event())
        .order_by(DELIVERY.c.next_at, EVENT.c.recorded_at, EVENT.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=DELIVERY)
    )


def finish(uow: UnitOfWork, leased: Leased, owner: str, attempt: Attempt, **changes: Any) -> bool:  # noqa: ANN401
    """Log an attempt and record what becomes of its delivery; False when the lease was lost meanwhile."""
    done = uow.connection.execute(
        update(DELIVERY)
        .where(
            *_of(uow, leased.endpoint, leased.event.id),
            DELIVERY.c.lease_owner == owner,
            DELIVERY.c.attempts == leased.attempts,
        )
        .values(lease_owner=None, lease_until=None, **changes)
    )
    if done.rowcount != 1:
        return False
    uow.connection.execute(
        insert(ATTEMPT).values(
            tenant=uow.tenant,
            endpoint=leased.endpoint,
            event=leased.event.id,
            number=attempt.number,
            status=attempt.status,
            error=attempt.error,
            answer=attempt.answer,
            took_ms=attempt.took_ms,
            attempted_at=attempt.attempted_at,
        )
    )
    return True


def any_due(uow: UnitOfWork, now: datetime, besides: Collection[str] = ()) -> bool:
    """Tell, without a lock, whether there is something to lease, `besides` some endpoints: mostly there is not."""
    query = _due(select(DELIVERY.c.event), uow, now, besides).limit(1)
    return uow.connection.execute(query).first() is not None


def next_due(uow: UnitOfWork, now: datetime) -> datetime | None:
    """Return when, after now, the next delivery falls due."""
    return leasing.next_due(uow, DELIVERY, (WAITING,), now)


def counts(uow: UnitOfWork) -> dict[str, int]:
    """Return how many deliveries stand in each state."""
    query = select(DELIVERY.c.state, func.count()).where(DELIVERY.c.tenant == uow.tenant).group_by(DELIVERY.c.state)
    return {state: int(number) for state, number in uow.connection.execute(query)}


def _due(columns: Select[Any], uow: UnitOfWork, now: datetime, besides: Collection[str]) -> Select[Any]:
    """Select of the deliveries that are due to active endpoints, `besides` some of them."""
    its_endpoint = and_(ENDPOINT.c.tenant == DELIVERY.c.tenant, ENDPOINT.c.id == DELIVERY.c.endpoint)
    return columns.join_from(DELIVERY, ENDPOINT, its_endpoint).where(
        DELIVERY.c.tenant == uow.tenant,
        ENDPOINT.c.state == ACTIVE,
        ENDPOINT.c.id.not_in(sorted(besides)),
        leasing.is_due(DELIVERY, (WAITING,), now),
    )


def _of(uow: UnitOfWork, endpoint: str, event: str) -> list[ColumnElement[bool]]:
    return [DELIVERY.c.tenant == uow.tenant, DELIVERY.c.endpoint == endpoint, DELIVERY.c.event == event]


def _its_event() -> ColumnElement[bool]:
    return and_(EVENT.c.tenant == DELIVERY.c.tenant, EVENT.c.id == DELIVERY.c.event)


def _event(row: Any) -> StoredEvent:  # noqa: ANN401
    return StoredEvent(row.id, row.type, row.data, row.recorded_at)


def _delivery(row: Any) -> Delivery:  # noqa: ANN401
    return Delivery(
        row.endpoint,
        row.event,
        row.type,
        row.state,
        row.attempts,
        row.recorded_at,
        row.next_at if row.state == WAITING and row.next_at > AT_ONCE else None,
        row.delivered_at,
    )


def _attempt(row: Any) -> Attempt:  # noqa: ANN401
    return Attempt(row.number, row.status, row.error, row.answer, row.took_ms, row.attempted_at)


def _no_delivery(event: str) -> NotFoundError:
    return NotFoundError("no such delivery", field="event", value=event, code="unknown_webhook_delivery")
