"""What the API answers, typed: amounts and quantities are decimals, times are aware. Unknown members are left out."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item]):
    """One page of a list; without `next_cursor` it is the last one."""

    items: list[Item]
    next_cursor: str | None = None


class Customer(msgspec.Struct, kw_only=True):
    """A customer; `key` is yours."""

    key: str
    legal_entity: str
    legal_name: str
    country: str
    currency: str
    email: str = ""
    address: str = ""
    language: str = "en"
    zone: str = "UTC"
    segment: str = "default"
    channel: str = "direct"
    tax_id: str = ""
    tax_exempt: bool = False


class Adjustment(msgspec.Struct):
    """One step from a line's list amount to its amount."""

    reason: str
    amount: Decimal
    detail: str


class PricedLine(msgspec.Struct):
    """One priced feature, with what dropping it saves."""

    feature: str
    quantity: Decimal
    list_amount: Decimal
    adjustments: list[Adjustment]
    amount: Decimal
    saved_if_dropped: Decimal
    dropped_with: list[str]
    rails: list[str]


class Preview(msgspec.Struct):
    """A priced selection that is neither stored nor signed."""

    currency: str
    total: Decimal
    rounded_total: Decimal
    price_book: str
    price_sheet: str
    discount: str
    lines: list[PricedLine]


class Quote(msgspec.Struct):
    """A stored quote; `document` is what was sealed, as its buyer sees it."""

    id: str
    customer: str
    state: str
    currency: str
    total: Decimal
    created_at: datetime
    expires_at: datetime
    document: dict[str, Any]


class Accepted(msgspec.Struct):
    """The subscription that an accepted quote has started."""

    quote: str
    state: str
    subscription: str


class Released(msgspec.Struct):
    """A quote that was given up."""

    quote: str
    state: str


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A usage event to send: `subject` is the customer, (`source`, `id`) names it for ever."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Any] = {}
    correctsid: str | None = None
    correctssource: str | None = None
    cancels: bool = False


class Outcome(msgspec.Struct):
    """What became of one event: accepted, duplicate, unmatched (stored, waits), conflict or invalid."""

    status: str
    reasons: list[tuple[str, str]] = []
    late_for: str = ""
    kept_hash: str = ""
    sent_hash: str = ""
    code: str = ""
    field: str = ""
    message: str = ""


class Outcomes(msgspec.Struct):
    """An outcome for each event, in order."""

    outcomes: list[Outcome]


class Entitlement(msgspec.Struct):
    """Whether a customer may use a feature now. `left` None: nothing limits it."""

    feature: str
    kind: str
    entitled: bool
    reason: str
    subscriptions: list[str]
    quantity: Decimal | None
    used: Decimal | None
    included: Decimal | None
    left: Decimal | None
    resets_at: datetime | None


class Entitlements(msgspec.Struct):
    """Every feature that a customer has or could have."""

    items: list[Entitlement]


class HeldCoupon(msgspec.Struct):
    """A coupon that a customer was given; `used` is what it took off invoices in all, by currency."""

    key: str
    percent_off: Decimal | None
    amount_off: Decimal | None
    currency: str | None
    duration: str
    periods: int | None
    features: list[str] | None
    priority: int
    carries_rest: bool
    starts_at: datetime
    ends_at: datetime | None
    periods_used: int
    used: dict[str, Decimal]


class HeldCoupons(msgspec.Struct):
    """Every coupon that a customer was given."""

    items: list[HeldCoupon]


class InvoiceLine(msgspec.Struct):
    """One billed row. `exact` and `list_amount` are unrounded; `net` and `tax` are what is owed."""

    line: int
    subscription: str | None
    feature: str
    kind: str
    description: str
    service_start: datetime
    service_end: datetime
    quantity: Decimal
    unit_price: Decimal | None
    list_amount: Decimal
    exact: Decimal
    net: Decimal
    tax_code: str
    tax_percent: Decimal
    tax: Decimal
    price_book: str | None
    corrects: str | None


class Invoice(msgspec.Struct):
    """An invoice, or what the next one would be."""

    id: str
    number: str | None
    legal_entity: str
    customer: str
    currency: str
    state: str
    period: str
    issued_on: date
    due_on: date
    exact: Decimal
    carried_in: Decimal
    carried_out: Decimal
    net: Decimal
    tax: Decimal
    total: Decimal
    open: Decimal
    lines: list[InvoiceLine]


class Balance(msgspec.Struct):
    """What is open of a customer's invoices in one currency, and what stands to their credit."""

    currency: str
    open: Decimal
    credit: Decimal


class Balances(msgspec.Struct):
    """A customer's balances, by currency."""

    items: list[Balance]


class LiveCost(msgspec.Struct):
    """The next invoices as they would be now."""

    as_of: datetime
    until: date
    invoices: list[Invoice]
