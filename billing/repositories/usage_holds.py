"""Rows of holds on usage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.customer import CustomerRow
from models.tables.usage import UsageHoldRow

_HOLD = table_of(UsageHoldRow)
_CUSTOMER = table_of(CustomerRow)


def lock_usage_of(uow: UnitOfWork, customer: str) -> None:
    """Make this transaction the only one that authorises or settles usage of a customer, until it ends."""
    query = select(_CUSTOMER.c.key).where(_CUSTOMER.c.tenant == uow.tenant, _CUSTOMER.c.key == customer)
    # Not for update of the key: rows that refer to the customer are added all the time.
    uow.connection.execute(query.with_for_update(key_share=True)).all()


def find(uow: UnitOfWork, key: str) -> Row[Any] | None:
    """Return one hold."""
    query = select(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.key == key)
    return uow.connection.execute(query).first()


def pending(uow: UnitOfWork, customer: str) -> list[Row[Any]]:
    """Return a customer's pending holds, oldest first."""
    query = select(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.state == "pending", _HOLD.c.customer == customer)
    return list(uow.connection.execute(query.order_by(_HOLD.c.created_at, _HOLD.c.key)))


def customers_with_expired(uow: UnitOfWork, at: datetime) -> list[str]:
    """Return the customers of pending holds that have expired by `at`."""
    query = select(_HOLD.c.customer).where(
        _HOLD.c.tenant == uow.tenant, _HOLD.c.state == "pending", _HOLD.c.expires_at <= at
    )
    return list(uow.connection.execute(query.distinct().order_by(_HOLD.c.customer)).scalars())


def add(uow: UnitOfWork, columns: Mapping[str, Any]) -> None:
    """Write a hold."""
    uow.connection.execute(insert(_HOLD).values(tenant=uow.tenant, **columns))


def change_reserved(uow: UnitOfWork, key: str, reserved: Any) -> None:  # noqa: ANN401 - a JSON document
    """Write down that a pending hold keeps something else."""
    changed = update(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.key == key)
    uow.connection.execute(changed.values(reserved=reserved))


def end(uow: UnitOfWork, key: str, state: str, at: datetime, **settled: Any) -> None:  # noqa: ANN401
    """End a hold."""
    ended = update(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.key == key)
    uow.connection.execute(ended.values(state=state, resolved_at=at, **settled))
