"""Leases on rows of an outbox: several workers share one table, and what a silent worker held is due again.

An outbox table has `state` ('in_flight' while leased), `next_at`, `lease_owner` and `lease_until`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Table, and_, func, or_, select

from billing.unit_of_work import UnitOfWork

IN_FLIGHT = "in_flight"

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""When something new is due. What is queued bears the tenant's time, which may run ahead of a worker's."""


def is_due(table: Table, waiting: Sequence[str], now: datetime) -> ColumnElement[bool]:
    """Return the condition: it waits in one of the states and its time has come, or its lease has run out."""
    return or_(
        and_(table.c.state.in_(waiting), table.c.next_at <= now),
        and_(table.c.state == IN_FLIGHT, table.c.lease_until <= now),
    )


def next_due(uow: UnitOfWork, table: Table, waiting: Sequence[str], now: datetime) -> datetime | None:
    """Return when, after now, the next row falls due or a lease runs out."""
    waits = select(func.min(table.c.next_at)).where(
        table.c.tenant == uow.tenant, table.c.state.in_(waiting), table.c.next_at > now
    )
    leases = select(func.min(table.c.lease_until)).where(
        table.c.tenant == uow.tenant, table.c.state == IN_FLIGHT, table.c.lease_until > now
    )
    found = [uow.connection.execute(query).scalar_one() for query in (waits, leases)]
    return min((instant for instant in found if instant is not None), default=None)
