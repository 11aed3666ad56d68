"""Alerts and hard limits on usage, as they are set and shown."""

from __future__ import annotations

from typing import TypedDict

import msgspec

from billing import audit
from billing.audit import Actor
from billing.metering import alerts, locks
from billing.metering.alerts import Alert
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.unit_of_work import UnitOfWork
from models.values.ids import check_external_id
from models.values.period import Interval
from models.values.quantity import parse_decimal, plain


class UsageAlertBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Tell when a meter of the customer's price book reaches `threshold`, anew every `interval` in `zone`.

    `is_limit`: authorise no usage beyond it.
    """

    id: str
    meter: str
    threshold: str
    interval: Interval = Interval.MONTH
    zone: str = "UTC"
    is_limit: bool = False


class RaisedView(TypedDict):
    """When an alert was raised in which turn, with the units reached."""

    period_start: str
    period_end: str
    units: str
    raised_at: str


class UsageAlertView(TypedDict):
    """An alert, and when it was raised, latest first."""

    id: str
    customer: str
    meter: str
    threshold: str
    interval: str
    zone: str
    is_limit: bool
    raised: list[RaisedView]


class UsageAlertList(TypedDict):
    """A customer's alerts and limits."""

    items: list[UsageAlertView]


def set_for(uow: UnitOfWork, customer: str, body: UsageAlertBody, by: Actor) -> UsageAlertView:
    """Set an alert, once by id, and show it. Raises NotFoundError (customer, meter), what `set_alert` raises."""
    buyer = CustomerRepository(uow).get(customer)
    book = PriceBookRepository(uow).for_customer(buyer.currency, buyer.channel, by.at).book
    threshold = parse_decimal(body.threshold, "threshold")
    alert = Alert(
        check_external_id(body.id, "id"),
        customer,
        book.meter(body.meter),
        threshold,
        body.interval,
        body.zone,
        body.is_limit,
    )
    locks.alone(uow)
    is_new = alert not in alerts.alerts_of(uow, customer)
    alerts.set_alert(uow, alert, by.at)
    [shown] = [each for each in alerts_document(uow, customer) if each["id"] == alert.key]
    if is_new:
        audit.record(uow, by, "usage_alert.set", ("usage_alert", alert.key), after=shown)
    return shown


def alerts_document(uow: UnitOfWork, customer: str) -> list[UsageAlertView]:
    """Show a customer's alerts. Raises NotFoundError (customer)."""
    CustomerRepository(uow).get(customer)
    raised = alerts.raised_alerts(uow, customer)
    return [
        {
            "id": alert.key,
            "customer": customer,
            "meter": alert.meter.key,
            "threshold": plain(alert.threshold),
            "interval": alert.interval.value,
            "zone": alert.zone,
            "is_limit": alert.is_limit,
            "raised": [
                {
                    "period_start": each.period.start.isoformat(),
                    "period_end": each.period.end.isoformat(),
                    "units": plain(each.units),
                    "raised_at": each.raised_at.isoformat(),
                }
                for each in raised
                if each.alert == alert.key
            ],
        }
        for alert in alerts.alerts_of(uow, customer)
    ]
