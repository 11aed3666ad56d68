"""Rows of the outbox: insert, lease, and record what became of each operation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update

from billing.billing_provider import ProviderError
from billing.metering.sets import members
from billing.repositories import leasing
from billing.repositories.leasing import AT_ONCE, is_due
from billing.stripe.operations import (
    FINISHED,
    Aggregate,
    Kind,
    Move,
    Operation,
    State,
    idempotency_key,
    key_is_trusted,
)
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.outbox import StripeOpRow
from models.values.canonical_json import Json, content_hash

OP = table_of(StripeOpRow)
_WAITING = (State.PENDING.value, State.RETRY_WAIT.value, State.AMBIGUOUS.value)


def append(
    uow: UnitOfWork,
    aggregate: Aggregate,
    aggregate_id: str,
    operations: Sequence[tuple[Kind, Mapping[str, Any]]],
    *,
    now: datetime,
    waits_for: str | None = None,
) -> None:
    """Add operations behind those that the aggregate has."""
    first = next_seq(uow, aggregate, aggregate_id)
    rows = [
        {
            "tenant": uow.tenant,
            "aggregate": aggregate.value,
            "aggregate_id": aggregate_id,
            "seq": seq,
            "kind": kind.value,
            "params": params,
            "params_sha256": content_hash(cast(Json, params)),
            "idem_key": idempotency_key(uow.tenant, aggregate, aggregate_id, seq, kind, 1),
            "waits_for": waits_for,
            "state": State.PENDING.value,
            "next_at": AT_ONCE,
            "created_at": now,
        }
        for seq, (kind, params) in enumerate(operations, first)
    ]
    if rows:
        uow.connection.execute(insert(OP), rows)


def next_seq(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str) -> int:
    """Return the place of the aggregate's next operation."""
    query = select(func.coalesce(func.max(OP.c.seq), 0)).where(*_of(uow, aggregate, aggregate_id))
    return int(uow.connection.execute(query).scalar_one()) + 1


def lease(uow: UnitOfWork, owner: str, now: datetime, lease_for: timedelta, limit: int) -> list[Operation]:
    """Take operations that are due and whose turn it is; those of a worker that went silent come back this way."""
    earlier, before = OP.alias("earlier"), OP.alias("before")
    unfinished = [state.value for state in State if state not in FINISHED]
    due = is_due(OP, _WAITING, now)
    blocked = (
        select(earlier.c.seq)
        .where(
            earlier.c.tenant == OP.c.tenant,
            earlier.c.aggregate == OP.c.aggregate,
            earlier.c.aggregate_id == OP.c.aggregate_id,
            earlier.c.seq < OP.c.seq,
            earlier.c.state.in_(unfinished),
        )
        .exists()
    )
    customer_unknown = (
        select(before.c.seq)
        .where(
            before.c.tenant == OP.c.tenant,
            before.c.aggregate == Aggregate.CUSTOMER.value,
            before.c.aggregate_id == OP.c.waits_for,
            before.c.state.in_(unfinished),
        )
        .exists()
    )
    query = (
        select(OP)
        .where(OP.c.tenant == uow.tenant, due, ~blocked, or_(OP.c.waits_for.is_(None), ~customer_unknown))
        .order_by(OP.c.seq, OP.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=OP)
    )
    return [_take(uow, row, owner, now, lease_for) for row in uow.connection.execute(query).all()]


def lease_next(uow: UnitOfWork, after: Operation, owner: str, now: datetime, lease_for: timedelta) -> Operation | None:
    """Take the operation behind one just done, if its turn has come: saves a transaction for each step."""
    query = (
        select(OP)
        .where(
            *_of(uow, after.aggregate, after.aggregate_id),
            OP.c.seq > after.seq,
            OP.c.state.not_in([state.value for state in FINISHED]),
        )
        .order_by(OP.c.seq)
        .limit(1)
        .with_for_update()
    )
    row = uow.connection.execute(query).first()
    if row is None or row.state not in _WAITING or row.next_at > now:
        return None
    return _take(uow, row, owner, now, lease_for)


def complete(
    uow: UnitOfWork, operation: Operation, owner: str, now: datetime, *, stripe_id: str | None, adopted: bool
) -> bool:
    """Mark as done; False when the lease was lost meanwhile and somebody else is at it."""
    return _update_leased(
        uow, operation, owner, state=State.DONE.value, done_at=now, stripe_id=stripe_id, adopted=adopted
    )


def move(uow: UnitOfWork, operation: Operation, owner: str, to: Move, error: ProviderError | None) -> bool:
    """Record a failure, or a look-up that found nothing; False when the lease was lost meanwhile."""
    changes: dict[str, Any] = {"state": to.state.value, "next_at": to.next_at, "failures": to.failures}
    if error is not None:
        changes["last_error"] = {
            "code": error.code,
            "status": error.status,
            "reason": error.reason[:200],
            "rule": error.rule[:400],
            "request_id": error.request_id,
        }
    if to.new_key:
        generation = operation.key_generation + 1
        changes |= {
            "key_generation": generation,
            "first_sent_at": None,
            "idem_key": idempotency_key(
                uow.tenant, operation.aggregate, operation.aggregate_id, operation.seq, operation.kind, generation
            ),
        }
    return _update_leased(uow, operation, owner, **changes)


def withdraw_unsent(
    uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str, kinds: Collection[Kind] = tuple(Kind)
) -> list[tuple[Kind, Mapping[str, Any]]]:
    """Cancel what was never sent and return it, in order; what may be under way is left to finish."""
    withdrawn = uow.connection.execute(
        update(OP)
        .where(
            *_of(uow, aggregate, aggregate_id),
            OP.c.state.in_([State.PENDING.value, State.RETRY_WAIT.value]),
            OP.c.first_sent_at.is_(None),
            OP.c.kind.in_([kind.value for kind in kinds]),
        )
        .values(state=State.CANCELLED.value)
        .returning(OP.c.seq, OP.c.kind, OP.c.params)
    ).all()
    return [(Kind(row.kind), row.params) for row in sorted(withdrawn, key=lambda row: row.seq)]


def cancel_all(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str) -> None:
    """Cancel everything unfinished of an aggregate: a repair starts over."""
    uow.connection.execute(
        update(OP)
        .where(*_of(uow, aggregate, aggregate_id), OP.c.state.not_in([state.value for state in FINISHED]))
        .values(state=State.CANCELLED.value, lease_owner=None, lease_until=None)
    )


def unfinished(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str) -> list[Row[Any]]:
    """Return what is neither done nor cancelled, in order."""
    query = select(OP).where(*_of(uow, aggregate, aggregate_id), OP.c.state.not_in([state.value for state in FINISHED]))
    return list(uow.connection.execute(query.order_by(OP.c.seq)))


def awaited(uow: UnitOfWork, aggregate: Aggregate, aggregate_ids: Collection[str], kind: Kind) -> list[Row[Any]]:
    """Return the operations of one kind that are still to be done, in the order in which they were asked for."""
    ended = [state.value for state in (*FINISHED, State.DEAD)]
    query = select(OP).where(
        OP.c.tenant == uow.tenant,
        OP.c.aggregate == aggregate.value,
        members(uow, OP.c.aggregate_id, aggregate_ids),
        OP.c.kind == kind.value,
        OP.c.state.not_in(ended),
    )
    return list(uow.connection.execute(query.order_by(OP.c.created_at, OP.c.aggregate_id, OP.c.seq)))


def every(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str) -> list[Row[Any]]:
    """Return all operations of an aggregate, in order."""
    return list(uow.connection.execute(select(OP).where(*_of(uow, aggregate, aggregate_id)).order_by(OP.c.seq)))


def counts(uow: UnitOfWork) -> Counter[str]:
    """Return how many operations stand in each state."""
    query = select(OP.c.state, func.count()).where(OP.c.tenant == uow.tenant).group_by(OP.c.state)
    return Counter({state: int(number) for state, number in uow.connection.execute(query)})


def dead(uow: UnitOfWork) -> list[Row[Any]]:
    """Return operations that a person has to look at, oldest first."""
    query = select(OP).where(OP.c.tenant == uow.tenant, OP.c.state == State.DEAD.value)
    return list(uow.connection.execute(query.order_by(OP.c.created_at, OP.c.aggregate_id, OP.c.seq)))


def revive(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str, now: datetime) -> None:
    """Try the dead operation of an aggregate again, looking up first what it has done."""
    uow.connection.execute(
        update(OP)
        .where(*_of(uow, aggregate, aggregate_id), OP.c.state == State.DEAD.value)
        .values(state=State.AMBIGUOUS.value, next_at=now, failures=0)
    )


def next_due(uow: UnitOfWork, now: datetime) -> datetime | None:
    """Return when, after now, the next operation falls due or a lease runs out. What is due now but blocked waits."""
    return leasing.next_due(uow, OP, _WAITING, now)


def _of(uow: UnitOfWork, aggregate: Aggregate, aggregate_id: str) -> list[ColumnElement[bool]]:
    return [OP.c.tenant == uow.tenant, OP.c.aggregate == aggregate.value, OP.c.aggregate_id == aggregate_id]


def _take(uow: UnitOfWork, row: Row[Any], owner: str, now: datetime, lease_for: timedelta) -> Operation:
    first_sent_at = row.first_sent_at or now
    uow.connection.execute(
        update(OP)
        .where(*_of(uow, Aggregate(row.aggregate), row.aggregate_id), OP.c.seq == row.seq)
        .values(
            state=State.IN_FLIGHT.value,
            lease_owner=owner,
            lease_until=now + lease_for,
            attempts=row.attempts + 1,
            first_sent_at=first_sent_at,
        )
    )
    return Operation(
        aggregate=Aggregate(row.aggregate),
        aggregate_id=row.aggregate_id,
        seq=row.seq,
        kind=Kind(row.kind),
        params=row.params,
        key=row.idem_key,
        key_generation=row.key_generation,
        attempts=row.attempts + 1,
        failures=row.failures,
        look_up_first=row.state == State.AMBIGUOUS.value or not key_is_trusted(first_sent_at, now),
        first_sent_at=first_sent_at,
        created_at=row.created_at,
    )


def _update_leased(uow: UnitOfWork, operation: Operation, owner: str, **changes: Any) -> bool:  # noqa: ANN401
    done = uow.connection.execute(
        update(OP)
        .where(
            *_of(uow, operation.aggregate, operation.aggregate_id),
            OP.c.seq == operation.seq,
            OP.c.state == State.IN_FLIGHT.value,
            OP.c.lease_owner == owner,
            OP.c.attempts == operation.attempts,
        )
        .values(lease_owner=None, lease_until=None, **changes)
    )
    return done.rowcount == 1
