"""Usage authorised before it happens: `authorize` keeps what it may cost, `settle` counts the event, `release` lets go.

What the usage costs is the difference it makes to its billing period, priced as the invoice will be: see
`billing.usage_increment`. A prepaid hold keeps that much credit, together with the customer's others: see
`billing.hold_pool`. Hard limits hold for usage and holds together. Holds of one customer wait for each other, so that
concurrent ones never keep more than there is.

Whoever settles counts the event, whatever it comes to: less than was kept leaves the rest free, more is taken from
free credit, and what that does not cover is invoiced.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

from billing.hold_pool import HoldPool, Slot
from billing.holds import HoldEndedError, HoldState
from billing.metering.alerts import check_limits
from billing.metering.cloud_event import CloudEvent
from billing.metering.directory import MeterDirectory
from billing.metering.history import StoredEvent, find_event
from billing.metering.ingest import ingest
from billing.metering.outcome import Status
from billing.repositories import journals
from billing.repositories import usage_holds as rows
from billing.repositories.customers import CustomerRepository
from billing.repositories.usage_holds import ExpectedUsage, FeatureShare, UsageHold
from billing.unit_of_work import UnitOfWork
from billing.usage_increment import UsagePricer
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import check_external_id


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
        if _asked(earlier.expected) != _asked(wanted):
            raise ConflictError("is another hold", field="id", value=wanted.key, code="hold_conflict")
        return earlier
    _expire_of(uow, wanted.customer, now)
    event, pending = wanted.event_at(now), rows.pending(uow, wanted.customer)
    pricer = UsagePricer(uow, wanted.customer)
    pricer.check_counted(event)
    check_limits(uow, event, [each.as_event() for each in pending])
    pooled = [each for each in pending if each.expected.prepaid]
    besides = [each.as_event() for each in pooled]
    added = [each for each in pricer.added_by([event], besides) if each.amount]
    pool = HoldPool(uow, wanted.customer)
    lacking: Counter[Slot] = Counter()
    if wanted.prepaid:
        together = {each.slot: each.units_to_keep for each in pricer.added_by([*besides, event])}
        lacking = Counter({each.slot: together[each.slot] for each in added}) - pool.kept(pooled)
    shares = (FeatureShare(each.feature, each.asset, each.amount, lacking[each.slot]) for each in added)
    new = UsageHold(wanted, now, tuple(shares))
    for slot, units in sorted(lacking.items()):
        pool.reserve(new, slot, units)
    rows.add(uow, new)
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
    pricer, stored = UsagePricer(uow, event.customer), _stored(event, now)
    pricer.check_counted(stored)
    costs = [each for each in pricer.added_by([stored]) if each.amount]
    _count(uow, event, directory, now)
    paid: dict[Slot, int] = {}
    if found.expected.prepaid:
        paid = HoldPool(uow, event.customer).end(found, {each.slot: each.units for each in costs}, now)
    shares = (FeatureShare(each.feature, each.asset, each.amount, paid.get(each.slot, 0)) for each in costs)
    return rows.end(uow, replace(found, state=HoldState.SETTLED, settled=tuple(shares), event=event.key), now)


def release(uow: UnitOfWork, key: str, now: datetime) -> UsageHold:
    """End a hold without use. Releasing again changes nothing. Raises NotFoundError, HoldEndedError (settled)."""
    found = _locked(uow, key, now)
    if found.state in {HoldState.RELEASED, HoldState.EXPIRED}:
        return found
    _require_pending(found)
    return _let_go(uow, found, HoldState.RELEASED, now)


def expire_usage_holds(uow: UnitOfWork, at: datetime) -> int:
    """End every hold that has expired by `at`; return how many."""
    ended = 0
    for customer in rows.customers_with_expired(uow, at):
        rows.lock_usage_of(uow, customer)
        ended += _expire_of(uow, customer, at)
    return ended


def _locked(uow: UnitOfWork, key: str, now: datetime) -> UsageHold:
    """Return a hold under its customer's lock, after those whose time has come have ended."""
    customer = rows.find_usage_hold(uow, key).expected.customer
    rows.lock_usage_of(uow, customer)
    _expire_of(uow, customer, now)
    return rows.find_usage_hold(uow, key)


def _require_pending(found: UsageHold) -> None:
    if found.state is not HoldState.PENDING:
        raise HoldEndedError(f"was {found.state}", field="hold", value=found.key)


def _expire_of(uow: UnitOfWork, customer: str, at: datetime) -> int:
    due = [each for each in rows.pending(uow, customer) if each.expected.expires_at <= at]
    for each in due:
        _let_go(uow, each, HoldState.EXPIRED, at)
    return len(due)


def _let_go(uow: UnitOfWork, found: UsageHold, state: HoldState, at: datetime) -> UsageHold:
    if found.expected.prepaid:
        HoldPool(uow, found.expected.customer).end(found, {}, at)
    return rows.end(uow, replace(found, state=state), at)


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
    if outcome.status is Status.INVALID:
        raise InvalidValueError(outcome.message, field=outcome.field, value=event.event_id, code=outcome.code)
    if outcome.status is not Status.ACCEPTED:
        reason, subject = outcome.reasons[0]
        raise RuleBrokenError(f"cannot be counted: {reason}", field="event", value=subject, code="event_unmatched")


def _stored(event: CloudEvent, now: datetime) -> StoredEvent:
    return StoredEvent(
        event.source, event.event_id, event.event_type, event.customer, event.occurred_at, now, event.data_text
    )


def _asked(expected: ExpectedUsage) -> tuple[object, ...]:
    return expected.customer, expected.event_type, dict(expected.data), expected.prepaid
