"""Holds on usage: what was asked for and what became of it, and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update

from billing.holds import HoldState
from billing.metering.cloud_event import event_of
from billing.metering.history import StoredEvent
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.tables.base import table_of
from models.tables.customer import CustomerRow
from models.tables.usage import UsageHoldRow
from models.values.errors import NotFoundError
from models.values.quantity import plain

_HOLD = table_of(UsageHoldRow)
_CUSTOMER = table_of(CustomerRow)
_SOURCE = "alacarte:hold"


@dataclass(frozen=True, slots=True)
class ExpectedUsage:
    """Usage to authorise: an event of `event_type` with `data`, for `customer`. `key` is unique for ever.

    `prepaid`: only if credit covers it, which is kept until then; else only hard limits count.
    """

    key: str
    customer: str
    event_type: str
    data: Mapping[str, Any]
    expires_at: datetime
    prepaid: bool = True

    def event_at(self, at: datetime) -> StoredEvent:
        """Return it as if it had come at `at`. Raises InvalidValueError (data)."""
        checked = event_of(
            source=_SOURCE,
            event_id=self.key,
            event_type=self.event_type,
            customer=self.customer,
            time=utc_text(at),
            data=self.data,
            now=at,
        )
        return StoredEvent(_SOURCE, self.key, self.event_type, self.customer, at, at, checked.data_text)


@dataclass(frozen=True, slots=True)
class FeatureShare:
    """What of a hold is one feature's: the exact amount in major units, and the ledger units kept or taken for it."""

    feature: str
    asset: str
    amount: Decimal
    units: int


@dataclass(frozen=True, slots=True)
class UsageHold:
    """Usage that was authorised. `reserved` is what it kept then; `event`: source and id of what settled it."""

    expected: ExpectedUsage
    created_at: datetime
    reserved: tuple[FeatureShare, ...] = ()
    state: HoldState = HoldState.PENDING
    settled: tuple[FeatureShare, ...] = ()
    event: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """The hold's key."""
        return self.expected.key

    def as_event(self) -> StoredEvent:
        """Return the expected usage as if it had come when it was authorised."""
        return self.expected.event_at(self.created_at)


def lock_usage_of(uow: UnitOfWork, customer: str) -> None:
    """Make this transaction the only one that authorises or settles usage of a customer, until it ends."""
    query = select(_CUSTOMER.c.key).where(_CUSTOMER.c.tenant == uow.tenant, _CUSTOMER.c.key == customer)
    # Not for update of the key: rows that refer to the customer are added all the time.
    uow.connection.execute(query.with_for_update(key_share=True)).all()


def find(uow: UnitOfWork, key: str) -> UsageHold | None:
    """Return one hold."""
    query = select(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.key == key)
    row = uow.connection.execute(query).first()
    return None if row is None else _hold(row)


def find_usage_hold(uow: UnitOfWork, key: str) -> UsageHold:
    """Return one hold. Raises NotFoundError."""
    found = find(uow, key)
    if found is None:
        raise NotFoundError("no such hold", field="hold", value=key)
    return found


def pending(uow: UnitOfWork, customer: str, *conditions: ColumnElement[bool]) -> list[UsageHold]:
    """Return a customer's pending holds, oldest first."""
    query = select(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.state == "pending", _HOLD.c.customer == customer)
    rows = uow.connection.execute(query.where(*conditions).order_by(_HOLD.c.created_at, _HOLD.c.key))
    return [_hold(row) for row in rows]


def pending_prepaid(uow: UnitOfWork, customer: str) -> list[UsageHold]:
    """Return those of them that keep credit."""
    return pending(uow, customer, _HOLD.c.prepaid.is_(True))


def customers_with_expired(uow: UnitOfWork, at: datetime) -> list[str]:
    """Return the customers of pending holds that have expired by `at`."""
    query = select(_HOLD.c.customer).where(
        _HOLD.c.tenant == uow.tenant, _HOLD.c.state == "pending", _HOLD.c.expires_at <= at
    )
    return list(uow.connection.execute(query.distinct().order_by(_HOLD.c.customer)).scalars())


def add(uow: UnitOfWork, hold: UsageHold) -> None:
    """Write a new hold."""
    expected = hold.expected
    columns = {
        "key": expected.key,
        "customer": expected.customer,
        "event_type": expected.event_type,
        "data": dict(expected.data),
        "prepaid": expected.prepaid,
        "reserved": _document(hold.reserved),
        "created_at": hold.created_at,
        "expires_at": expected.expires_at,
    }
    uow.connection.execute(insert(_HOLD).values(tenant=uow.tenant, **columns))


def end(uow: UnitOfWork, hold: UsageHold, at: datetime) -> UsageHold:
    """Write down how a hold ended."""
    values: dict[str, Any] = {"state": hold.state, "resolved_at": at}
    if hold.event is not None:
        source, event_id = hold.event
        values |= {"settled": _document(hold.settled), "source": source, "event_id": event_id}
    ended = update(_HOLD).where(_HOLD.c.tenant == uow.tenant, _HOLD.c.key == hold.key)
    uow.connection.execute(ended.values(values))
    return hold


def _document(shares: Iterable[FeatureShare]) -> list[list[str]]:
    return [[each.feature, each.asset, plain(each.amount), str(each.units)] for each in shares]


def _shares(document: Iterable[Sequence[str]]) -> tuple[FeatureShare, ...]:
    return tuple(
        FeatureShare(feature, asset, Decimal(amount), int(units)) for feature, asset, amount, units in document
    )


def _hold(row: Row[Any]) -> UsageHold:
    expected = ExpectedUsage(row.key, row.customer, row.event_type, row.data, row.expires_at, row.prepaid)
    event = None if row.event_id is None else (row.source, row.event_id)
    settled = _shares(row.settled or ())
    return UsageHold(expected, row.created_at, _shares(row.reserved), HoldState(row.state), settled, event)
