"""Alerts: a customer's usage of a meter has reached a threshold in the current turn of a cycle.

They are raised in the transaction that stores the event which reaches the threshold, once a turn. One that is a limit
is raised alike, and no usage is authorised beyond it; what happened is counted all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, delete, insert, select

from billing.metering import locks
from billing.metering.counters import counter_of
from billing.metering.history import StoredEvent
from billing.metering.live_usage import usage_of
from billing.metering.sets import AskedOften, OneOf
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import usage_alert
from billing.webhooks.events import announce
from models.tables.base import table_of
from models.tables.usage import UsageAlertRaisedRow, UsageAlertRow
from models.values.errors import ConflictError, InvalidValueError, NotFoundError, RuleBrokenError
from models.values.forms import build_form
from models.values.ids import check_external_id
from models.values.period import BillingCycle, Interval, Period, parse_zone
from models.values.quantity import plain
from pricing_engine.catalog import Meter

_ALERT = table_of(UsageAlertRow)
_RAISED = table_of(UsageAlertRaisedRow)


def _of_customers(tenant: ColumnElement[str], one_of: OneOf) -> Select[Any]:
    return select(_ALERT).where(_ALERT.c.tenant == tenant, one_of(_ALERT.c.customer)).order_by(_ALERT.c.key)


_OF_CUSTOMERS = AskedOften(_of_customers)
_LOCKED = AskedOften(lambda tenant, one_of: _of_customers(tenant, one_of).with_for_update())


class LimitReachedError(RuleBrokenError):
    """Usage would go beyond a hard limit."""

    code = "limit_reached"


@dataclass(frozen=True, slots=True)
class Alert:
    """Tell when `meter` reaches `threshold` units for `customer`, anew every calendar `interval` in `zone`.

    `is_limit`: a hard limit; usage beyond it is not authorised.
    """

    key: str
    customer: str
    meter: Meter
    threshold: Decimal
    interval: Interval = Interval.MONTH
    zone: str = "UTC"
    is_limit: bool = False

    def __post_init__(self) -> None:
        check_external_id(self.key, "alert.key")
        parse_zone(self.zone, "alert.zone")
        if self.threshold <= 0:
            raise InvalidValueError("must be > 0", field="alert.threshold", value=self.threshold)

    def period_at(self, instant: datetime) -> Period:
        """Return the turn in which `instant` lies."""
        return BillingCycle.calendar(self.interval, parse_zone(self.zone)).period_containing(instant)


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert as it was raised: with `units` reached at that moment."""

    alert: str
    period: Period
    units: Decimal
    raised_at: datetime


def set_alert(uow: UnitOfWork, alert: Alert, now: datetime) -> list[RaisedAlert]:
    """Set an alert; the same one again changes nothing. It is raised at once where the threshold is reached.

    Raises ConflictError where the key is another alert's.
    """
    locks.alone(uow)  # Whoever stores usage now knows nothing of it, and we know nothing of that usage.
    known = {each.key: each for each in _alerts(uow, [alert.customer])}.get(alert.key)
    if known is None:
        taken = select(_ALERT.c.key).where(_ALERT.c.tenant == uow.tenant, _ALERT.c.key == alert.key)
        if uow.connection.execute(taken).first() is None:
            uow.connection.execute(
                insert(_ALERT).values(
                    tenant=uow.tenant,
                    key=alert.key,
                    customer=alert.customer,
                    counter=counter_of(alert.meter).id,
                    meter=msgspec.to_builtins(alert.meter),
                    threshold=alert.threshold,
                    interval=alert.interval.value,
                    zone=alert.zone,
                    is_limit=alert.is_limit,
                    recorded_at=now,
                )
            )
            return raise_alerts(uow, [alert.customer], now)
    if known != alert:
        raise ConflictError("is another alert", field="alert.key", value=alert.key, code="alert_conflict")
    return []


def alerts_of(uow: UnitOfWork, customer: str) -> list[Alert]:
    """Return a customer's alerts and limits, by key."""
    return _alerts(uow, [customer])


def remove_alert(uow: UnitOfWork, customer: str, key: str) -> None:
    """Take an alert or limit away, with what is known of when it was raised. Raises NotFoundError."""
    mine = (_ALERT.c.tenant == uow.tenant, _ALERT.c.key == key, _ALERT.c.customer == customer)
    if uow.connection.execute(select(_ALERT.c.key).where(*mine).with_for_update()).first() is None:
        raise NotFoundError("no such alert", field="alert", value=key)
    uow.connection.execute(delete(_RAISED).where(_RAISED.c.tenant == uow.tenant, _RAISED.c.alert == key))
    uow.connection.execute(delete(_ALERT).where(*mine))


def check_limits(uow: UnitOfWork, event: StoredEvent, besides: Sequence[StoredEvent]) -> None:
    """Raise LimitReachedError where `event`, with what is stored and `besides`, goes beyond a limit."""
    for limit in _alerts(uow, [event.customer]):
        if not limit.is_limit or limit.meter.event_type != event.event_type:
            continue
        period = limit.period_at(event.occurred_at)
        units = usage_of(uow, event.customer, limit.meter, period, besides=[*besides, event]).units
        if units <= limit.threshold:
            continue
        before = usage_of(uow, event.customer, limit.meter, period, besides=besides).units
        if units > before:  # What does not add to a meter is no matter of its limit.
            most = f"the limit {limit.key} is {plain(limit.threshold)} in all"
            raise LimitReachedError(most, field="event", value=plain(units))


def raise_alerts(uow: UnitOfWork, customers: Collection[str], now: datetime) -> list[RaisedAlert]:
    """Raise what the usage of `customers` has reached by now and was not raised in this turn; return it."""
    raised, events = [], []
    # Of two who store usage at once the second reads it when the first has ended: what both reach is raised, once.
    for alert in map(_alert, _LOCKED(uow, customers)):
        period = alert.period_at(now)
        before = select(_RAISED.c.alert).where(
            _RAISED.c.tenant == uow.tenant, _RAISED.c.alert == alert.key, _RAISED.c.period_start == period.start
        )
        if uow.connection.execute(before).first() is not None:
            continue
        units = usage_of(uow, alert.customer, alert.meter, period).units
        if units >= alert.threshold:
            raised.append(RaisedAlert(alert.key, period, units, now))
            events.append(usage_alert(alert, raised[-1]))
    if raised:
        uow.connection.execute(insert(_RAISED), [_raised_row(uow, each) for each in raised])
        announce(uow, events, now)
    return raised


def raised_alerts(uow: UnitOfWork, customer: str) -> list[RaisedAlert]:
    """Return what was raised for a customer, latest turn first."""
    query = (
        select(_RAISED)
        .join(_ALERT, (_ALERT.c.tenant == _RAISED.c.tenant) & (_ALERT.c.key == _RAISED.c.alert))
        .where(_RAISED.c.tenant == uow.tenant, _ALERT.c.customer == customer)
        .order_by(_RAISED.c.period_start.desc(), _RAISED.c.alert)
    )
    return [
        RaisedAlert(row.alert, Period(row.period_start, row.period_end), row.units, row.raised_at)
        for row in uow.connection.execute(query)
    ]


def _alerts(uow: UnitOfWork, customers: Collection[str]) -> list[Alert]:
    return [_alert(row) for row in _OF_CUSTOMERS(uow, customers)]


build_form(Meter)


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        row.key,
        row.customer,
        msgspec.convert(row.meter, Meter),
        row.threshold,
        Interval(row.interval),
        row.zone,
        row.is_limit,
    )


def _raised_row(uow: UnitOfWork, raised: RaisedAlert) -> dict[str, object]:
    return {
        "tenant": uow.tenant,
        "alert": raised.alert,
        "period_start": raised.period.start,
        "period_end": raised.period.end,
        "units": raised.units,
        "raised_at": raised.raised_at,
    }
