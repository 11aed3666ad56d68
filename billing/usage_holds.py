"""Usage authorised before it happens: `authorize` keeps what it may cost, `settle` counts the event, `release` lets go.

What the usage costs is the difference it makes to the billing period, priced as the invoice will be: see
`billing.usage_increment`. A prepaid hold keeps that much credit; all holds together keep what their usage costs
together, so tiers that move between two of them are covered: what one keeps too much pays for another. Hard limits
hold for usage and holds together. Holds of one customer wait for each other, so that concurrent ones never keep more
than there is.

Whoever settles counts the event, whatever it comes to: less than was kept leaves the rest free, more is taken from
free credit, and what that does not cover is invoiced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from billing import holds, wallets
from billing.holds import HoldEndedError, HoldState
from billing.metering.alerts import check_limits
from billing.metering.cloud_event import CloudEvent, event_of, time_text
from billing.metering.directory import MeterDirectory
from billing.metering.history import StoredEvent, find_event
from billing.metering.ingest import ingest
from billing.metering.outcome import Status
from billing.repositories import journals
from billing.repositories import usage_holds as rows
from billing.repositories import wallets as wallet_rows
from billing.repositories.customers import CustomerRepository
from billing.unit_of_work import UnitOfWork
from billing.usage_increment import Increment, priced_increment
from models.values.errors import ConflictError, InvalidValueError, NotFoundError, RuleBrokenError
from models.values.ids import check_external_id
from models.values.quantity import plain

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


@dataclass(frozen=True, slots=True)
class FeatureShare:
    """What of a hold is one feature's: the exact amount in major units, and the ledger units kept or taken for it."""

    feature: str
    asset: str
    amount: Decimal
    units: int


@dataclass(frozen=True, slots=True)
class UsageHold:
    """Usage that was authorised, as it stands. `event`: source and id of what settled it."""

    expected: ExpectedUsage
    created_at: datetime
    reserved: tuple[FeatureShare, ...]
    state: HoldState = HoldState.PENDING
    settled: tuple[FeatureShare, ...] = ()
    event: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """The hold's key."""
        return self.expected.key

    def as_event(self) -> StoredEvent:
        """Return the expected usage as if it had come when it was authorised."""
        expected = self.expected
        checked = _checked(expected, self.created_at)
        return StoredEvent(
            _SOURCE, expected.key, expected.event_type, expected.customer, self.created_at, self.created_at,
            checked.data_text,
        )  # fmt: skip

    def credit_key(self, position: int) -> str:
        """Return the key of the hold on credit for a feature."""
        return f"usage:{self.key}:{position}"


def authorize(uow: UnitOfWork, wanted: ExpectedUsage, now: datetime) -> UsageHold:
    """Authorise usage, once by key; the same again is answered as it stands.

    Raises NotFoundError (customer), NotMeteredError, LimitReachedError, InsufficientCreditError, ConflictError (key
    used for other usage), InvalidValueError (expiry, data).
    """
    check_external_id(wanted.key, "id")
    if wanted.expires_at <= now:
        raise InvalidValueError("must lie ahead", field="expires_at", value=wanted.expires_at.isoformat())
    CustomerRepository(uow).get(wanted.customer)
    rows.lock_usage_of(uow, wanted.customer)
    earlier = rows.find(uow, wanted.key)
    if earlier is not None:
        found = _hold(earlier)
        if _asked(found.expected) != _asked(wanted):
            raise ConflictError("is another hold", field="id", value=wanted.key, code="hold_conflict")
        return found
    _expire_of(uow, wanted.customer, now)
    pending = [_hold(row) for row in rows.pending(uow, wanted.customer)]
    new = UsageHold(wanted, now, ())
    event, besides = new.as_event(), [each.as_event() for each in pending]
    increments = priced_increment(uow, event, besides=besides)
    check_limits(uow, event, besides)
    new = UsageHold(wanted, now, _to_reserve(increments, pending) if wanted.prepaid else _priced(increments))
    for position, share in enumerate(new.reserved):
        if share.units:
            _keep_credit(uow, new, position, share)
    rows.add(uow, _columns(new))
    return new


def settle(uow: UnitOfWork, key: str, event: CloudEvent, directory: MeterDirectory, now: datetime) -> UsageHold:
    """Count the event that happened and pay for it; once, the same event again is answered as it stands.

    Raises NotFoundError, HoldEndedError (released, expired, settled by another event), InvalidValueError (an event of
    another customer or type, or a correction), ConflictError (its id was sent with another body), RuleBrokenError for
    an event that was counted before, or cannot be. Then nothing is written.
    """
    journals.lock(uow)
    found = _locked(uow, key, now)
    if found.state is HoldState.SETTLED and found.event == event.key:
        stored = find_event(uow, event.key)
        if stored is not None and stored.body_hash != event.body_hash:
            raise ConflictError("was settled by this event with another body", field="hold", value=key)
        return found
    _require_pending(found)
    _check_event(found, event)
    increments = priced_increment(uow, _stored(event, now))
    _count(uow, event, directory, now)
    taken = _pay(uow, found, increments, now)
    ended = {"settled": _document(taken), "source": event.source, "event_id": event.event_id}
    rows.end(uow, key, HoldState.SETTLED, now, **ended)
    return UsageHold(found.expected, found.created_at, found.reserved, HoldState.SETTLED, taken, event.key)


def release(uow: UnitOfWork, key: str, now: datetime) -> UsageHold:
    """End a hold without use. Releasing again changes nothing. Raises NotFoundError, HoldEndedError (settled)."""
    found = _locked(uow, key, now)
    if found.state in {HoldState.RELEASED, HoldState.EXPIRED}:
        return found
    _require_pending(found)
    for position, share in enumerate(found.reserved):
        if _keeps_credit(found, share):
            holds.release(uow, found.credit_key(position), at=now)
    rows.end(uow, key, HoldState.RELEASED, now)
    return UsageHold(found.expected, found.created_at, found.reserved, HoldState.RELEASED)


def expire_usage_holds(uow: UnitOfWork, at: datetime) -> int:
    """End every hold that has expired by `at`; return how many."""
    ended = 0
    for customer in rows.customers_with_expired(uow, at):
        rows.lock_usage_of(uow, customer)
        ended += _expire_of(uow, customer, at)
    return ended


def find_usage_hold(uow: UnitOfWork, key: str) -> UsageHold:
    """Return a hold as it stands. Raises NotFoundError."""
    row = rows.find(uow, key)
    if row is None:
        raise NotFoundError("no such hold", field="hold", value=key)
    return _hold(row)


def _locked(uow: UnitOfWork, key: str, now: datetime) -> UsageHold:
    """Return a hold under its customer's lock; one found pending beyond its expiry expires here."""
    customer = find_usage_hold(uow, key).expected.customer
    rows.lock_usage_of(uow, customer)
    found = find_usage_hold(uow, key)
    if found.state is HoldState.PENDING and found.expected.expires_at <= now:
        _expire_of(uow, customer, now)
        return find_usage_hold(uow, key)
    return found


def _require_pending(found: UsageHold) -> None:
    if found.state is not HoldState.PENDING:
        raise HoldEndedError(f"was {found.state}", field="hold", value=found.key)


def _expire_of(uow: UnitOfWork, customer: str, at: datetime) -> int:
    due = [each for row in rows.pending(uow, customer) if (each := _hold(row)).expected.expires_at <= at]
    if due:
        wallet_rows.lock_wallets(uow, customer)
        holds.free_expired(uow, customer, at)
    for each in due:
        rows.end(uow, each.key, HoldState.EXPIRED, at)
    return len(due)


def _to_reserve(increments: Sequence[Increment], pending: Iterable[UsageHold]) -> tuple[FeatureShare, ...]:
    """Return what is to be kept so that all holds together keep what their usage costs together."""
    kept: dict[tuple[str, str], tuple[Decimal, int]] = {}
    for hold in pending:
        for share in hold.reserved if hold.expected.prepaid else ():
            amount, units = kept.get((share.asset, share.feature), (Decimal(0), 0))
            kept[share.asset, share.feature] = amount + share.amount, units + share.units
    shares = []
    for each in increments:
        amount, units = kept.get((each.asset, each.feature), (Decimal(0), 0))
        needed = FeatureShare(
            each.feature, each.asset, max(each.amount - amount, Decimal(0)), max(each.units_to_keep - units, 0)
        )
        if needed.amount or needed.units:
            shares.append(needed)
    return tuple(shares)


def _priced(increments: Iterable[Increment]) -> tuple[FeatureShare, ...]:
    return tuple(FeatureShare(each.feature, each.asset, each.amount, 0) for each in increments if each.amount)


def _keeps_credit(hold: UsageHold, share: FeatureShare) -> bool:
    return hold.expected.prepaid and share.units > 0


def _keep_credit(uow: UnitOfWork, new: UsageHold, position: int, share: FeatureShare) -> None:
    expected = new.expected
    holds.hold(
        uow,
        holds.Hold(
            new.credit_key(position),
            expected.customer,
            share.asset,
            share.feature,
            share.units,
            new.created_at,
            expected.expires_at,
        ),
    )


def _check_event(found: UsageHold, event: CloudEvent) -> None:
    expected = found.expected
    if event.customer != expected.customer:
        raise InvalidValueError("must be the customer of the hold", field="subject", value=event.customer)
    if event.event_type != expected.event_type:
        raise InvalidValueError("must be of the type that was authorised", field="type", value=event.event_type)
    if event.corrects is not None:
        raise InvalidValueError("a correction settles no hold", field="correctsid", value=event.corrects[1])


def _count(uow: UnitOfWork, event: CloudEvent, directory: MeterDirectory, now: datetime) -> None:
    """Store the event. Raises unless it is new and counts."""
    [outcome] = ingest(uow, [event], directory, now)
    if outcome.status is Status.CONFLICT:
        raise ConflictError(outcome.message, field="id", value=event.event_id, code=outcome.code)
    if outcome.status is Status.DUPLICATE:
        raise RuleBrokenError("was counted before", field="id", value=event.event_id, code="event_already_counted")
    if outcome.status is not Status.ACCEPTED:
        reason, subject = outcome.reasons[0]
        raise RuleBrokenError(f"cannot be counted: {reason}", field="event", value=subject, code="event_unmatched")


def _pay(uow: UnitOfWork, found: UsageHold, increments: Sequence[Increment], now: datetime) -> tuple[FeatureShare, ...]:
    """Take what the event costs, feature by feature; return what each costs and how much of it credit paid."""
    costs = {(each.asset, each.feature): each for each in increments}
    taken: dict[tuple[str, str], int] = {}
    for position, share in enumerate(found.reserved):
        if _keeps_credit(found, share):
            cost = costs.get((share.asset, share.feature))
            units = 0 if cost is None else cost.units
            _borrow(uow, found, share, units, now)
            settled = holds.settle(uow, found.credit_key(position), units, at=now, recorded_at=now, partial=True)
            taken[share.asset, share.feature] = settled.settled_units
    if found.expected.prepaid:
        beyond = [each for key, each in costs.items() if key not in taken and each.units]
        for position, each in enumerate(beyond, start=len(found.reserved)):
            request = wallets.BurnRequest(
                found.credit_key(position), found.expected.customer, each.asset, each.feature, each.units, now
            )
            taken[each.asset, each.feature] = wallets.burn(uow, request, recorded_at=now, partial=True)
    return tuple(
        FeatureShare(each.feature, each.asset, each.amount, taken.get(key, 0))
        for key, each in costs.items()
        if each.amount or taken.get(key)
    )


def _borrow(uow: UnitOfWork, found: UsageHold, share: FeatureShare, units: int, now: datetime) -> None:
    """Free, for a cost of `units`, what the customer's other holds keep and do not need together."""
    expected = found.expected
    wallet_rows.lock_wallets(uow, expected.customer)
    missing = units - share.units
    missing -= wallets.free_credit(uow, expected.customer, share.asset, share.feature, now) if missing > 0 else 0
    if missing <= 0:
        return
    others = [each for row in rows.pending(uow, expected.customer) if (each := _hold(row)).key != found.key]
    lenders = [(each, place) for each in others if (place := _place_of(each, share)) is not None]
    if not lenders:
        return
    *besides, last = [each.as_event() for each in others]
    needed = sum(
        each.units_to_keep
        for each in priced_increment(uow, last, besides=besides)
        if (each.asset, each.feature) == (share.asset, share.feature)
    )
    lendable = min(missing, sum(each.reserved[place].units for each, place in lenders) - needed)
    for lender, place in reversed(lenders):
        given = min(lendable, lender.reserved[place].units)
        if given > 0:
            lendable -= given
            left = replace(lender.reserved[place], units=lender.reserved[place].units - given)
            holds.shrink(uow, lender.credit_key(place), left.units, at=now)
            reserved = (*lender.reserved[:place], left, *lender.reserved[place + 1 :])
            rows.change_reserved(uow, lender.key, _document(reserved))


def _place_of(hold: UsageHold, share: FeatureShare) -> int | None:
    """Return where in a hold the credit for the same feature stands, None where it keeps none."""
    for place, each in enumerate(hold.reserved):
        if (each.asset, each.feature) == (share.asset, share.feature) and _keeps_credit(hold, each):
            return place
    return None


def _stored(event: CloudEvent, now: datetime) -> StoredEvent:
    return StoredEvent(
        event.source, event.event_id, event.event_type, event.customer, event.occurred_at, now, event.data_text
    )


def _checked(expected: ExpectedUsage, at: datetime) -> CloudEvent:
    return event_of(
        source=_SOURCE,
        event_id=expected.key,
        event_type=expected.event_type,
        customer=expected.customer,
        time=time_text(at),
        data=expected.data,
        now=at,
    )


def _asked(expected: ExpectedUsage) -> tuple[object, ...]:
    return expected.customer, expected.event_type, dict(expected.data), expected.prepaid


def _columns(hold: UsageHold) -> dict[str, Any]:
    expected = hold.expected
    return {
        "key": expected.key,
        "customer": expected.customer,
        "event_type": expected.event_type,
        "data": dict(expected.data),
        "prepaid": expected.prepaid,
        "reserved": _document(hold.reserved),
        "created_at": hold.created_at,
        "expires_at": expected.expires_at,
    }


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
