"""Holds: credit is kept before use (`hold`), then paid by what was really used (`settle`) or let go (`release`).

A hold counts against a customer's credit at once, keeps parts of particular grants, in burn order, even beyond
their expiry, and ends once. Concurrent holds of one customer wait for each other; the last unit is held once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from billing.burn_down import InsufficientCreditError, Taking, burn_order, plan_burn, take, total
from billing.repositories import journals
from billing.repositories import wallets as rows
from billing.repositories.wallets import GRANT
from billing.unit_of_work import UnitOfWork
from billing.wallets import BurnRequest, write_burn
from models.values.errors import ConflictError, InvalidValueError, NotFoundError, RuleBrokenError

_WANTED = ("key", "customer", "asset", "feature", "units", "created_at", "expires_at")


class HoldState(StrEnum):
    """Where a hold stands; it leaves `pending` once."""

    PENDING = "pending"
    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class HoldEndedError(RuleBrokenError):
    """A hold that has ended can end no other way."""

    code = "hold_ended"


@dataclass(frozen=True, slots=True)
class Hold:
    """Credit kept: `units` of `asset`, for usage of `feature`, until `expires_at`. `key` is unique for ever.

    `units` is what it begins with; `hand_over` moves some to another or from it.
    """

    key: str
    customer: str
    asset: str
    feature: str
    units: int
    created_at: datetime
    expires_at: datetime
    state: HoldState = HoldState.PENDING
    settled_units: int = 0


def hold(uow: UnitOfWork, wanted: Hold) -> Hold:
    """Keep credit, once by key; the same hold again is answered as it stands.

    Frees the customer's holds that have expired by `created_at` first. Raises InsufficientCreditError,
    InvalidValueError (units, dates), ConflictError (key used for another hold).
    """
    if wanted.units <= 0 or wanted.expires_at <= wanted.created_at:
        raise InvalidValueError("keeps more than nothing, for a time", field="hold", value=wanted.key)
    rows.lock_wallets(uow, wanted.customer)
    earlier = rows.hold(uow, wanted.key)
    if earlier is not None:
        found = _hold(earlier)
        if replace(found, state=HoldState.PENDING, settled_units=0) != wanted:
            raise ConflictError("is another hold", field="hold", value=wanted.key, code="hold_conflict")
        return found
    free_expired(uow, wanted.customer, wanted.created_at)
    grants = rows.grants_of(uow, wanted.customer, wanted.asset)
    takings = plan_burn(grants, wanted.units, wanted.feature, wanted.created_at)
    if total(takings) < wanted.units:
        raise InsufficientCreditError.of(wanted.customer, wanted.asset, total(takings), wanted.units)
    begin(uow, wanted)
    rows.change_parts(uow, wanted.key, {taking.grant.id: taking.units for taking in takings})
    return wanted


def free_expired(uow: UnitOfWork, customer: str, at: datetime) -> None:
    """Free the customer's holds that have expired by `at`; the wallets are locked."""
    for key in rows.due_holds(uow, at, customer):
        rows.free_hold(uow, key, HoldState.EXPIRED, at)


def settle(
    uow: UnitOfWork, key: str, units: int, *, at: datetime, recorded_at: datetime, partial: bool = False
) -> Hold:
    """End a hold by paying for `units` from what it keeps; the rest is free again. Once; the same again answers it.

    `units` may be 0. More than was held is taken from free credit; where that is too little, `partial` takes what
    there is. Raises NotFoundError, HoldEndedError (released, expired, or settled for other units),
    InsufficientCreditError (but for `partial`).
    """
    if units < 0:
        raise InvalidValueError("must not be negative", field="units", value=units)
    journals.lock(uow)
    found = _pending(uow, key, at)
    if found.state is HoldState.SETTLED and found.settled_units == units:
        return found
    _require_pending(found)
    takings = _plan(uow, found, units, at, partial=partial)
    units = total(takings)
    rows.free_hold(uow, key, HoldState.SETTLED, at, units)
    request = BurnRequest(f"hold:{key}", found.customer, found.asset, found.feature, units, at)
    write_burn(uow, request, takings, recorded_at)
    return replace(found, state=HoldState.SETTLED, settled_units=units)


def release(uow: UnitOfWork, key: str, *, at: datetime) -> Hold:
    """End a hold without use. Releasing again changes nothing. Raises NotFoundError, HoldEndedError (settled)."""
    found = _pending(uow, key, at)
    if found.state in {HoldState.RELEASED, HoldState.EXPIRED}:
        return found
    _require_pending(found)
    rows.free_hold(uow, key, HoldState.RELEASED, at)
    return replace(found, state=HoldState.RELEASED)


def begin(uow: UnitOfWork, wanted: Hold) -> Hold:
    """Begin a hold that keeps nothing until something is handed over to it. The wallets are locked."""
    rows.add_hold(uow, **{name: getattr(wanted, name) for name in _WANTED})
    return wanted


def hand_over(uow: UnitOfWork, giver: str, taker: str, units: int) -> None:
    """Move up to `units` of what a pending hold keeps to another of the same customer, asset and feature.

    They stay kept, also in grants that have expired since. The wallets are locked.
    """
    given: dict[str, int] = {}
    kept = rows.hold_parts(uow, giver)
    for grant in sorted(rows.grants(uow, GRANT.c.id.in_(kept)), key=burn_order):
        if (part := min(units - sum(given.values()), kept[grant.id])) > 0:
            given[grant.id] = part
    rows.change_parts(uow, giver, {grant: -part for grant, part in given.items()})
    rows.change_parts(uow, taker, given)


def expire_holds(uow: UnitOfWork, *, at: datetime) -> int:
    """Free every hold that has expired by `at`; return how many."""
    journals.lock(uow)
    due = rows.due_holds(uow, at)
    for key in due:
        _pending(uow, key, at)
    return len(due)


def _pending(uow: UnitOfWork, key: str, at: datetime) -> Hold:
    """Return a hold under its locks; one found pending beyond its expiry expires here."""
    unlocked = rows.hold(uow, key)
    if unlocked is None:
        raise NotFoundError("no such hold", field="hold", value=key)
    rows.lock_wallets(uow, unlocked.customer)
    found = _hold(rows.hold(uow, key) or unlocked)
    if found.state is HoldState.PENDING and found.expires_at <= at:
        rows.free_hold(uow, key, HoldState.EXPIRED, at)
        return replace(found, state=HoldState.EXPIRED)
    return found


def _require_pending(found: Hold) -> None:
    if found.state is not HoldState.PENDING:
        raise HoldEndedError(f"was {found.state}", field="hold", value=found.key)


def _plan(uow: UnitOfWork, found: Hold, units: int, at: datetime, *, partial: bool) -> list[Taking]:
    """Take from what the hold keeps, in burn order, then from free credit. A grant pays once, with the sum."""
    kept = rows.hold_parts(uow, found.key)
    wanted: dict[str, int] = {}
    for grant in sorted(rows.grants(uow, GRANT.c.id.in_(kept)), key=burn_order):
        wanted[grant.id] = min(units - sum(wanted.values()), kept[grant.id])
    if (missing := units - sum(wanted.values())) > 0:
        more = plan_burn(rows.grants_of(uow, found.customer, found.asset), missing, found.feature, at)
        if total(more) < missing and not partial:
            raise InsufficientCreditError.of(found.customer, found.asset, units - missing + total(more), units)
        for taking in more:
            wanted[taking.grant.id] = wanted.get(taking.grant.id, 0) + taking.units
    paying = [grant_id for grant_id, taken in wanted.items() if taken]
    return [take(grant, wanted[grant.id]) for grant in rows.grants(uow, GRANT.c.id.in_(paying))]


def _hold(row: Row[Any]) -> Hold:
    return Hold(
        row.key,
        row.customer,
        row.asset,
        row.feature,
        row.units,
        row.created_at,
        row.expires_at,
        HoldState(row.state),
        row.settled_units,
    )
