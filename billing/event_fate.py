"""The fate of an event: for each meter that could read it, the charge and invoice that bill it, or why none does.

fates_of(uow, "req-17")         # one answer for each source that has an event of that id
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import select

from billing.charging import price_source
from billing.measured_usage import UsageMeasurer, window_of
from billing.metered_features import Stretch, stretches
from billing.metering.cloud_event import CloudEvent
from billing.metering.counters import Absent, counter_of, read_value
from billing.metering.directory import PriceBookDirectory
from billing.metering.history import EVENT, correction_of, effective_events, events_named, find_event, in_batches
from billing.phases import CyclePeriod, PhaseState, Segment, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import Kind
from billing.repositories.customers import CustomerRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, InvoiceRow, RatedUsageRow
from models.tables.usage import UsageConflictRow, UsageLateRow
from models.values.errors import DomainError, NotFoundError
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.catalog import Feature, FeatureKind, Meter

_CHARGE = table_of(ChargeRow)
_CONFLICT = table_of(UsageConflictRow)
_INVOICE = table_of(InvoiceRow)
_LATE = table_of(UsageLateRow)
_RATED = table_of(RatedUsageRow)
_MOMENT = timedelta(microseconds=1)


class Fate(StrEnum):
    """What became of an event for one meter."""

    BILLED = "billed"
    INSIDE_FREE_UNITS = "inside_free_units"
    NOT_BILLED_YET = "not_billed_yet"
    LATE = "late"
    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_METER = "unknown_meter"
    NO_SUBSCRIPTION = "no_subscription"
    FEATURE_NOT_CHOSEN = "feature_not_chosen"
    FILTERED_OUT = "filtered_out"
    NO_VALUE = "no_value"
    INVALID_VALUE = "invalid_value"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    IS_CANCELLATION = "is_cancellation"
    WAITS_FOR_CORRECTED_EVENT = "waits_for_corrected_event"


@dataclass(frozen=True, slots=True)
class MeterFate:
    """The fate of an event for one meter of one feature; without names where it is the same for all.

    `amount`: what the event adds, at the feature's tariff, to the events before it; before bundle discounts and
    coupons, which go by whole amounts. `charges` pairs each charge that counts it with its invoice's number.
    """

    fate: Fate
    detail: str = ""
    subscription: str = ""
    feature: str = ""
    meter: str = ""
    amount: Decimal | None = None
    charges: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class EventFate:
    """An event with its fates. `refused`: hashes of other bodies that were sent under its source and id."""

    event: CloudEvent
    recorded_at: datetime
    fates: tuple[MeterFate, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sold:
    """A feature of a subscription whose meter reads the event, in the segment of the billing period it lies in."""

    subscription: Subscription
    cycle: CyclePeriod
    segment: Segment
    feature: Feature
    meter: Meter


def fates_of(uow: UnitOfWork, event_id: str, source: str | None = None) -> list[EventFate]:
    """Return the fate of every event with that id, of one source where given. Raises NotFoundError for none."""
    found = [event for event in events_named(uow, event_id) if source in {None, event.source}]
    if not found:
        raise NotFoundError("no such event was stored", field="event", value=event_id, code="unknown_event")
    return [_fate(uow, event) for event in found]


def _fate(uow: UnitOfWork, event: CloudEvent) -> EventFate:
    is_it = (EVENT.c.tenant == uow.tenant, EVENT.c.source == event.source, EVENT.c.event_id == event.event_id)
    recorded_at = uow.connection.execute(select(EVENT.c.recorded_at).where(*is_it)).scalar_one()
    conflicts = select(_CONFLICT.c.refused_hash).where(
        _CONFLICT.c.tenant == uow.tenant, _CONFLICT.c.source == event.source, _CONFLICT.c.event_id == event.event_id
    )
    refused = tuple(sorted(bytes(each).hex() for each in uow.connection.execute(conflicts).scalars()))
    whole = _fate_for_all(uow, event)
    fates = (whole,) if whole is not None else tuple(_fates_by_meter(uow, event, recorded_at))
    return EventFate(event, recorded_at, fates, refused)


def _fate_for_all(uow: UnitOfWork, event: CloudEvent) -> MeterFate | None:
    """Return what keeps the event from every meter."""
    if event.cancels:
        return MeterFate(Fate.IS_CANCELLATION, f"of {' '.join(event.corrects or ())}")
    correction = correction_of(uow, event)
    if correction is not None:
        fate = Fate.CANCELLED if correction.cancels else Fate.CORRECTED
        return MeterFate(fate, f"by {correction.source} {correction.event_id}")
    if event.corrects is not None:
        target = find_event(uow, event.corrects)
        if target is None or (target.customer, target.event_type) != (event.customer, event.event_type):
            return MeterFate(Fate.WAITS_FOR_CORRECTED_EVENT, f"{event.corrects[0]} {event.corrects[1]}")
    if CustomerRepository(uow).find(event.customer) is None:
        return MeterFate(Fate.UNKNOWN_CUSTOMER, event.customer)
    if event.event_type not in PriceBookDirectory().counters(uow):
        return MeterFate(Fate.UNKNOWN_METER, f"no meter reads {event.event_type}")
    return None


def _fates_by_meter(uow: UnitOfWork, event: CloudEvent, recorded_at: datetime) -> Iterator[MeterFate]:
    subscriptions = SubscriptionRepository(uow).of_customers([event.customer])
    source = price_source(uow, subscriptions)
    in_force = False
    for subscription in subscriptions:
        phase = subscription.phase_at(event.occurred_at)
        if phase is None or phase.state is not PhaseState.ACTIVE:
            continue
        in_force = True
        book = source.books[phase.agreement.book_hash].book
        read_by = [each for each in book.meters if each.event_type == event.event_type]
        if not read_by:
            yield MeterFate(Fate.UNKNOWN_METER, f"none of {book.key} {book.version}", subscription.id)
        for meter in read_by:
            for feature in book.features:
                if feature.kind is FeatureKind.METERED and feature.meter == meter.key:
                    chosen = feature.key in phase.agreement.selection
                    yield _fate_of_feature(uow, event, recorded_at, source, subscription, feature, meter, chosen=chosen)
    if not in_force:
        yield MeterFate(Fate.NO_SUBSCRIPTION, f"of {event.customer} at {event.time_text}")


def _fate_of_feature(
    uow: UnitOfWork,
    event: CloudEvent,
    recorded_at: datetime,
    source: PriceSource,
    subscription: Subscription,
    feature: Feature,
    meter: Meter,
    *,
    chosen: bool,
) -> MeterFate:
    named = MeterFate(Fate.FEATURE_NOT_CHOSEN, "", subscription.id, feature.key, meter.key)
    if not chosen:
        return named
    try:
        reading = read_value(counter_of(meter), event.data)
    except DomainError as error:
        return replace(named, fate=Fate.INVALID_VALUE, detail=str(error))
    if isinstance(reading, Absent):
        fate = Fate.NO_VALUE if reading is Absent.NO_VALUE else Fate.FILTERED_OUT
        return replace(named, fate=fate, detail=meter.value_property or "")
    window = Period(event.occurred_at, event.occurred_at + _MOMENT)
    cycle = next(each for each in subscription.cycle_periods(window) if event.occurred_at in each.span)
    segment = next(each for each in cycle.segments if event.occurred_at in each.period)
    sold = _Sold(subscription, cycle, segment, feature, meter)
    amount = _added_amount(uow, event, source, sold)
    charges = _charges(uow, sold, recorded_at)
    if not charges:
        fate = Fate.LATE if _waits_for_next_close(uow, event) else Fate.NOT_BILLED_YET
    else:
        fate = Fate.BILLED if amount else Fate.INSIDE_FREE_UNITS
    return replace(named, fate=fate, amount=amount, charges=charges)


def _added_amount(uow: UnitOfWork, event: CloudEvent, source: PriceSource, sold: _Sold) -> Decimal:
    """Return what the tariff asks for all events up to this one, less that for those before it."""
    stretch = _stretch(source, sold)
    lasted = Period(stretch.segments[0].period.start, stretch.segments[-1].period.end)
    window = window_of(sold.meter, stretch.price.tariff.tariff, lasted)
    known = Period(lasted.start, event.occurred_at + _MOMENT)
    before, until = (UsageMeasurer({sold.meter.key: sold.meter}, [window]) for _ in range(2))
    order = (event.occurred_at, event.source, event.event_id)
    of_customer = effective_events(uow, customer=event.customer, event_type=event.event_type, period=known)
    for some in in_batches(of_customer):
        places = [(each.occurred_at, each.source, each.event_id) for each in some]
        before.add([each for each, place in zip(some, places, strict=True) if place < order])
        until.add([each for each, place in zip(some, places, strict=True) if place <= order])
    amounts = [stretch.rate(measurer.measured()[window], lasted.end)[1].amount for measurer in (before, until)]
    return EXACT.subtract(amounts[1], amounts[0])


def _stretch(source: PriceSource, sold: _Sold) -> Stretch:
    """Return the stretch of the billing period in which the feature has this tariff: its tiers run on over it."""
    start = sold.segment.period.start
    return next(
        stretch
        for feature, stretch in stretches(sold.cycle, source)
        if feature == sold.feature.key and any(each.period.start == start for each in stretch.segments)
    )


def _charges(uow: UnitOfWork, sold: _Sold, recorded_at: datetime) -> tuple[tuple[str, str | None], ...]:
    """Return the first charge of the segment's usage that knew the event, with the number of its invoice."""
    joined = _RATED.join(_CHARGE, (_CHARGE.c.tenant == _RATED.c.tenant) & (_CHARGE.c.id == _RATED.c.charge)).outerjoin(
        _INVOICE, (_INVOICE.c.tenant == _CHARGE.c.tenant) & (_INVOICE.c.id == _CHARGE.c.invoice)
    )
    query = (
        select(_CHARGE.c.id, _INVOICE.c.number)
        .select_from(joined)
        .where(
            _RATED.c.tenant == uow.tenant,
            _RATED.c.subscription == sold.subscription.id,
            _RATED.c.feature == sold.feature.key,
            _RATED.c.kind == Kind.USAGE.value,
            _RATED.c.segment_start == sold.segment.period.start,
            _CHARGE.c.known_at >= recorded_at,
        )
        .order_by(_CHARGE.c.known_at, _CHARGE.c.id)
        .limit(1)
    )
    return tuple((charge, number) for charge, number in uow.connection.execute(query))


def _waits_for_next_close(uow: UnitOfWork, event: CloudEvent) -> bool:
    query = select(_LATE.c.run).where(
        _LATE.c.tenant == uow.tenant,
        _LATE.c.source == event.source,
        _LATE.c.event_id == event.event_id,
        _LATE.c.settled_by.is_(None),
    )
    return uow.connection.execute(query).first() is not None
