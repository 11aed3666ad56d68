"""Holds on usage as they are asked for and shown; amounts are decimal strings in major units, exact."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import msgspec

from billing import usage_holds
from billing.expected_usage import event_for
from billing.holds import HoldState
from billing.metering.alerts import LimitReachedError
from billing.repositories.usage_holds import ExpectedUsage, FeatureShare, UsageHold
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import check_external_id
from models.values.money import currency, from_ledger_units
from models.values.quantity import parse_decimal, plain

_Seconds = Annotated[int, msgspec.Meta(ge=1, le=604_800)]
DEFAULT_SECONDS = 900


class ExpectedEvent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The event that is expected, as far as its price depends on it. Numbers in `data` may be decimal strings."""

    type: str
    data: dict[str, Any] = {}


class UsageHoldBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Usage to authorise, once by `id`: an `event`, or `units` of a `feature` with the `properties` its price needs.

    `prepaid`: only if credit covers it, which is kept; else only hard limits count. It expires after
    `expires_in_seconds`.
    """

    id: str
    customer: str
    event: ExpectedEvent | None = None
    feature: str | None = None
    units: str | None = None
    properties: dict[str, str] = {}
    prepaid: bool = True
    expires_in_seconds: _Seconds = DEFAULT_SECONDS


class ReservedView(TypedDict):
    """What the usage of one feature adds to the invoice, net, and how much credit is kept for it."""

    feature: str
    currency: str
    amount: str
    held: str


class PaidView(TypedDict):
    """What the usage of one feature added, net, and how much of it credit paid; the rest is invoiced."""

    feature: str
    currency: str
    amount: str
    paid: str


class SettledView(TypedDict):
    """What settled a hold."""

    source: str
    id: str
    features: list[PaidView]


class UsageHoldView(TypedDict):
    """A hold as it stands: pending, settled, released or expired."""

    id: str
    customer: str
    type: str
    data: dict[str, Any]
    prepaid: bool
    state: str
    created_at: str
    expires_at: str
    reserved: list[ReservedView]
    settled: SettledView | None


def authorize_for(uow: UnitOfWork, body: UsageHoldBody, now: datetime) -> UsageHoldView:
    """Authorise usage and show the hold. Raises InvalidValueError, what `billing.usage_holds.authorize` raises."""
    check_external_id(body.id, "id")
    if (body.event is None) == (body.feature is None) or (body.feature is None) != (body.units is None):
        raise InvalidValueError("needs an event, or a feature with units", field="event", value=body.feature)
    if body.event is not None:
        if body.properties:
            raise InvalidValueError("go with a feature; an event has data", field="properties")
        event_type, data = body.event.type, body.event.data
    else:
        units = parse_decimal(body.units or "", "units", minimum=Decimal(0))
        event_type, properties = event_for(uow, body.customer, body.feature or "", units, body.properties, now)
        data = dict(properties)
    expires_at = now + timedelta(seconds=body.expires_in_seconds)
    wanted = ExpectedUsage(body.id, body.customer, event_type, data, expires_at, body.prepaid)
    try:
        return usage_hold_document(usage_holds.authorize(uow, wanted, now))
    except LimitReachedError as error:
        # The domain knows of an event alone; units were sent, and units are refused.
        raise LimitReachedError(
            error.rule, field="event" if body.feature is None else "units", value=error.value
        ) from error


def usage_hold_document(hold: UsageHold) -> UsageHoldView:
    """Show a hold."""
    expected = hold.expected
    settled: SettledView | None = None
    if hold.state is HoldState.SETTLED and hold.event is not None:
        source, event_id = hold.event
        paid: list[PaidView] = [
            {"feature": share.feature, "currency": share.asset, "amount": plain(share.amount), "paid": _major(share)}
            for share in hold.settled
        ]
        settled = {"source": source, "id": event_id, "features": paid}
    return {
        "id": expected.key,
        "customer": expected.customer,
        "type": expected.event_type,
        "data": dict(expected.data),
        "prepaid": expected.prepaid,
        "state": hold.state.value,
        "created_at": hold.created_at.isoformat(),
        "expires_at": expected.expires_at.isoformat(),
        "reserved": [*_reserved(hold.reserved)],
        "settled": settled,
    }


def _reserved(shares: Iterable[FeatureShare]) -> Iterable[ReservedView]:
    for share in shares:
        yield {
            "feature": share.feature,
            "currency": share.asset,
            "amount": plain(share.amount),
            "held": _major(share),
        }


def _major(share: FeatureShare) -> str:
    return plain(from_ledger_units(share.units, currency(share.asset)))
