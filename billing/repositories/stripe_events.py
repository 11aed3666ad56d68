"""Rows of notifications: kept once by id, waiting until they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from billing.metering.sets import members
from billing.repositories.inserting import insert_new
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.outbox import StripeEventRow

EVENT = table_of(StripeEventRow)
_ERROR_CHARS = 500


def add(
    uow: UnitOfWork, *, event_id: str, type: str, body: str, source: str, created_at: datetime, now: datetime
) -> bool:
    """Keep a notification; False when it is kept already."""
    row = {
        "tenant": uow.tenant,
        "event_id": event_id,
        "type": type,
        "body": body,
        "source": source,
        "state": "waiting",
        "attempts": 0,
        "next_at": now,
        "created_at": created_at,
        "received_at": now,
    }
    return insert_new(uow, EVENT, row)


def waiting(uow: UnitOfWork, now: datetime, limit: int) -> list[Row[Any]]:
    """Return notifications to read, oldest first."""
    query = select(EVENT).where(EVENT.c.tenant == uow.tenant, EVENT.c.state == "waiting", EVENT.c.next_at <= now)
    return list(uow.connection.execute(query.order_by(EVENT.c.received_at, EVENT.c.event_id).limit(limit)))


def next_due(uow: UnitOfWork, now: datetime) -> datetime | None:
    """Return when, after now, the next notification is to be read again."""
    query = select(func.min(EVENT.c.next_at)).where(
        EVENT.c.tenant == uow.tenant, EVENT.c.state == "waiting", EVENT.c.next_at > now
    )
    due: datetime | None = uow.connection.execute(query).scalar_one()
    return due


def settle(uow: UnitOfWork, event_ids: Sequence[str], state: str) -> None:
    """Mark as done or ignored."""
    uow.connection.execute(
        update(EVENT)
        .where(EVENT.c.tenant == uow.tenant, EVENT.c.event_id.in_(event_ids))
        .values(state=state, last_error=None)
    )


def postpone(uow: UnitOfWork, event_ids: Sequence[str], until: datetime, error: str) -> None:
    """Read them again later."""
    uow.connection.execute(
        update(EVENT)
        .where(EVENT.c.tenant == uow.tenant, EVENT.c.event_id.in_(event_ids))
        .values(next_at=until, attempts=EVENT.c.attempts + 1, last_error=error[:_ERROR_CHARS])
    )


def unknown(uow: UnitOfWork, event_ids: Collection[str]) -> set[str]:
    """Return which of these were never received."""
    query = select(EVENT.c.event_id).where(EVENT.c.tenant == uow.tenant, members(uow, EVENT.c.event_id, event_ids))
    return set(event_ids) - set(uow.connection.execute(query).scalars())


def counts(uow: UnitOfWork) -> Counter[str]:
    """Return how many notifications stand in each state."""
    query = select(EVENT.c.state, func.count()).where(EVENT.c.tenant == uow.tenant).group_by(EVENT.c.state)
    return Counter({state: int(number) for state, number in uow.connection.execute(query)})
