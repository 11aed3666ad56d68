"""The calls of the API, each a value: what is sent, and the type of the answer. Either client sends them.

Every call may be sent twice without a second effect: it reads, replaces, carries ids of its own, or an
`Idempotency-Key`, which is made with the call and stays with it: sending a call again is asking the same again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote as escaped
from uuid import uuid4

import msgspec

from api.client.documents import (
    Accepted,
    Balances,
    Customer,
    Entitlement,
    Entitlements,
    Event,
    HeldCoupon,
    HeldCoupons,
    Invoice,
    LiveCost,
    Outcomes,
    Page,
    Preview,
    Quote,
    Released,
)

Answer = TypeVar("Answer")
Item = TypeVar("Item")
Selection = Mapping[str, Any]
"""Feature to quantity: a decimal string, an integer or Decimal; true for a switch."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and the type of its answer."""

    method: str
    path: str
    answer: Any
    body: object = None
    params: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


def next_page(call: Call[Page[Item]], page: Page[Item]) -> Call[Page[Item]] | None:
    """Return the call of the page after `page`, None after the last."""
    if page.next_cursor is None:
        return None
    return replace(call, params={**call.params, "cursor": page.next_cursor})


def list_customers(limit: int = 100) -> Call[Page[Customer]]:
    """List customers by key."""
    return Call("GET", "/v1/customers", Page[Customer], params={"limit": str(limit)})


def read_customer(key: str) -> Call[Customer]:
    """Read one customer."""
    return Call("GET", f"/v1/customers/{_part(key)}", Customer)


def save_customer(customer: Customer) -> Call[Customer]:
    """Add a customer, or change the one under its key."""
    body = msgspec.to_builtins(customer)
    key = body.pop("key")
    return Call("PUT", f"/v1/customers/{_part(key)}", Customer, body)


def read_balances(customer: str) -> Call[Balances]:
    """Read what is open of a customer's invoices, and their credit."""
    return Call("GET", f"/v1/customers/{_part(customer)}/balances", Balances)


def live_cost(customer: str) -> Call[LiveCost]:
    """Read the customer's next invoices as they would be now."""
    return Call("GET", f"/v1/customers/{_part(customer)}/cost", LiveCost)


def preview_quote(customer: str, selection: Selection) -> Call[Preview]:
    """Price and explain a selection; nothing is stored."""
    return Call("POST", "/v1/quotes/preview", Preview, _wanted(customer, selection))


def create_quote(
    customer: str, selection: Selection, *, hold_days: int | None = None, key: str | None = None
) -> Call[Quote]:
    """Price, seal, hold and store a quote."""
    body = _wanted(customer, selection) | ({} if hold_days is None else {"hold_days": hold_days})
    return Call("POST", "/v1/quotes", Quote, body, key=key or _new_key())


def read_quote(quote: str) -> Call[Quote]:
    """Read a quote as its buyer sees it."""
    return Call("GET", f"/v1/quotes/{_part(quote)}", Quote)


def accept_quote(
    quote: str,
    *,
    anchor_day: int | None = None,
    trial_days: int = 0,
    interval: str = "month",
    minimum_spend: str = "0",
    thresholds: Sequence[str] = (),
    threshold_every: str | None = None,
    key: str | None = None,
) -> Call[Accepted]:
    """Accept a quote exactly once; its subscription starts now.

    `minimum_spend`: of a full period. `thresholds`: amounts of usage at which an invoice comes early, then again every
    `threshold_every`. All are decimal strings in major units.
    """
    given = {"anchor_day": anchor_day, "threshold_every": threshold_every}
    body = {
        "trial_days": trial_days,
        "interval": interval,
        "minimum_spend": minimum_spend,
        "thresholds": [*thresholds],
        **{name: value for name, value in given.items() if value is not None},
    }
    return Call("POST", f"/v1/quotes/{_part(quote)}/accept", Accepted, body, key=key or f"accept-{quote}")


def release_quote(quote: str, *, key: str | None = None) -> Call[Released]:
    """Give a quote up; what it held is free again."""
    return Call("POST", f"/v1/quotes/{_part(quote)}/release", Released, key=key or f"release-{quote}")


def send_events(events: Sequence[Event]) -> Call[Outcomes]:
    """Store up to ten thousand usage events; the answer has an outcome for each, in order."""
    return Call("POST", "/v1/events/batch", Outcomes, list(events))


def check_entitlement(customer: str, feature: str) -> Call[Entitlement]:
    """Ask whether a customer may use a feature now, and what is left."""
    return Call("GET", f"/v1/customers/{_part(customer)}/entitlements/{_part(feature)}", Entitlement)


def list_entitlements(customer: str) -> Call[Entitlements]:
    """Ask the same of every feature."""
    return Call("GET", f"/v1/customers/{_part(customer)}/entitlements", Entitlements)


def give_coupon(customer: str, coupon: Mapping[str, Any], *, key: str | None = None) -> Call[HeldCoupon]:
    """Give a customer a coupon: `{"key": "half", "percent_off": "50"}`."""
    return Call("POST", f"/v1/customers/{_part(customer)}/coupons", HeldCoupon, dict(coupon), key=key or _new_key())


def list_coupons(customer: str) -> Call[HeldCoupons]:
    """List what coupons a customer was given, and what is used of each."""
    return Call("GET", f"/v1/customers/{_part(customer)}/coupons", HeldCoupons)


def list_invoices(customer: str | None = None, limit: int = 100) -> Call[Page[Invoice]]:
    """List invoices with their lines, newest first."""
    params = {"limit": str(limit)} | ({} if customer is None else {"customer": customer})
    return Call("GET", "/v1/invoices", Page[Invoice], params=params)


def read_invoice(invoice: str) -> Call[Invoice]:
    """Read one invoice, by id or number."""
    return Call("GET", f"/v1/invoices/{_part(invoice)}", Invoice)


def _wanted(customer: str, selection: Selection) -> dict[str, object]:
    return {"customer": customer, "selection": dict(selection)}


def _part(text: str) -> str:
    return escaped(text, safe="")


def _new_key() -> str:
    return str(uuid4())
