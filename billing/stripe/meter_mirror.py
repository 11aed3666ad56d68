"""A one-way mirror of usage into Stripe Billing Meters: a view of it there, never what is billed.

Each customer's usage of a day is sent once the day is over; what arrives late is sent as the difference. Stripe takes
events of the last 35 days.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from billing.collection import CustomerToBill
from billing.metering.live_usage import usage_of
from billing.repositories import stripe_outbox as outbox
from billing.stripe.enqueue import enqueue_customer
from billing.stripe.operations import Aggregate, Kind, fitting
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import MAX_KEY_CHARS
from models.values.period import Period
from models.values.quantity import EXACT, plain
from pricing_engine.aggregation import AggregationKind
from pricing_engine.catalog import Meter

MIRRORED_DAYS = 34
"""Stripe takes 35; one is left for the way there."""

_ADDED = {AggregationKind.SUM, AggregationKind.COUNT}
_IDENTIFIER_CHARS = 100
_DAY = timedelta(days=1)


@dataclass(slots=True)
class Mirrored:
    """What one run did: `sent` differences, and how many days stand `too_high` there, which nothing can lower."""

    sent: int = 0
    too_high: int = 0


def mirror_usage(
    uow: UnitOfWork, meter: Meter, event_name: str, customers: Iterable[CustomerToBill], *, now: datetime
) -> Mirrored:
    """Queue what Stripe's meter `event_name` does not have of `meter` yet, over the days it takes. Days are UTC's.

    Raises InvalidValueError for a meter whose days do not add up to its periods (a maximum, unique values).
    """
    if AggregationKind(meter.aggregation) not in _ADDED:
        raise InvalidValueError("only a sum or a count can be mirrored", field="meter", value=meter.key)
    mirrored = Mirrored()
    days = [now.astimezone(UTC).date() - number * _DAY for number in range(MIRRORED_DAYS, 0, -1)]
    for customer in customers:
        for day in days:
            units = usage_of(uow, customer.key, meter, _whole(day)).units
            missing = EXACT.subtract(units, _sent(uow, event_name, customer.key, day))
            if missing > 0:
                _enqueue(uow, event_name, customer, day, missing, now)
                mirrored.sent += 1
            mirrored.too_high += missing < 0
    return mirrored


def _enqueue(
    uow: UnitOfWork, event_name: str, customer: CustomerToBill, day: date, units: Decimal, now: datetime
) -> None:
    enqueue_customer(uow, customer, now=now)
    aggregate_id = _usage_of_day(event_name, customer.key, day)
    number = outbox.next_seq(uow, Aggregate.USAGE, aggregate_id)
    params = {
        "ref": fitting(f"{uow.tenant}/{aggregate_id}/{number}", _IDENTIFIER_CHARS),
        "customer": customer.key,
        "meter": event_name,
        "value": plain(units),
        "at": int(_whole(day).end.timestamp()) - 1,
    }
    operations = [(Kind.RECORD_USAGE, params)]
    outbox.append(uow, Aggregate.USAGE, aggregate_id, operations, now=now, waits_for=customer.key)


def _sent(uow: UnitOfWork, event_name: str, customer: str, day: date) -> Decimal:
    """Sum what was sent, or waits to be."""
    total = Decimal(0)
    for operation in outbox.every(uow, Aggregate.USAGE, _usage_of_day(event_name, customer, day)):
        total = EXACT.add(total, Decimal(operation.params["value"]))
    return total


def _whole(day: date) -> Period:
    start = datetime.combine(day, time.min, tzinfo=UTC)
    return Period(start, start + _DAY)


def _usage_of_day(event_name: str, customer: str, day: date) -> str:
    return fitting(f"{day.isoformat()}/{event_name}/{customer}", MAX_KEY_CHARS)
