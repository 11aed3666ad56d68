"""Quotes on the wire. Money and quantities are decimal strings; unknown fields are refused."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from billing.phases import Thresholds
from billing.quotes import DEFAULT_HOLD, Priced, QuoteRequest
from billing.repositories.quotes import ListedQuote, NewQuote, StoredQuote
from billing.subscriptions import SubscriptionTerms
from models.values.money import from_minor
from models.values.period import Interval
from models.values.quantity import parse_decimal, plain
from pricing_engine.quoting import QuoteLine

Selection = dict[str, str | int | bool | dict[str, Any]]
"""What is chosen, as it is sent: feature -> decimal string or integer, true for a switch, or usage where needed."""
IntervalName = Literal["day", "week", "month", "quarter", "half_year", "year"]
AnchorDay = Annotated[int, msgspec.Meta(ge=1, le=31)]


class QuoteBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A selection to price: feature -> quantity (decimal string, true for a switch, or usage where needed)."""

    customer: str
    selection: Selection
    currency: str | None = None
    channel: str | None = None
    hold_days: Annotated[int, msgspec.Meta(ge=1, le=366)] | None = None

    def request(self) -> QuoteRequest:
        """Return the domain's request."""
        hold_for = DEFAULT_HOLD if self.hold_days is None else timedelta(days=self.hold_days)
        return QuoteRequest(self.customer, self.selection, self.currency, self.channel, hold_for)


class AcceptBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Acceptance: calendar months in the customer's zone, unless told otherwise.

    `minimum_spend`: the least a full period costs. `thresholds`: amounts of usage at which an invoice is made before
    the period ends, then again every `threshold_every`. All in major units.
    """

    interval: IntervalName = "month"
    anchor_day: AnchorDay | None = None
    zone: str | None = None
    trial_days: Annotated[int, msgspec.Meta(ge=0, le=3660)] = 0
    minimum_spend: str = "0"
    thresholds: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    threshold_every: str | None = None

    def terms(self) -> SubscriptionTerms:
        """Return the domain's terms. Raises InvalidValueError."""
        every = self.threshold_every
        return SubscriptionTerms(
            Interval(self.interval),
            self.anchor_day,
            self.zone,
            self.trial_days,
            parse_decimal(self.minimum_spend, "minimum_spend", minimum=Decimal(0)),
            Thresholds(
                tuple(parse_decimal(each, "thresholds") for each in self.thresholds),
                None if every is None else parse_decimal(every, "threshold_every"),
            ),
        )


class VerifyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Three sealed documents to check against each other; the key is the tenant's own."""

    quote: dict[str, Any]
    price_book: dict[str, Any]
    price_sheet: dict[str, Any]


class AdjustmentView(msgspec.Struct, gc=False):
    """One step from the list amount to the amount."""

    reason: str
    amount: str
    detail: str


class LineView(msgspec.Struct, gc=False):
    """One priced feature, as its buyer sees it."""

    feature: str
    quantity: str
    list_amount: str
    adjustments: list[AdjustmentView]
    amount: str
    saved_if_dropped: str
    dropped_with: list[str]
    rails: list[str]


class PreviewView(msgspec.Struct):
    """A priced selection that is neither stored nor signed."""

    currency: str
    total: str
    rounded_total: str
    price_book: str
    price_sheet: str
    discount: str
    lines: list[LineView]


class QuoteView(msgspec.Struct):
    """A stored quote: where it stands, and the sealed document at the asked level."""

    id: str
    customer: str
    state: str
    currency: str
    total: str
    created_at: str
    expires_at: str
    document: dict[str, Any]


class ListedQuoteView(TypedDict):
    """Where a quote stands. An open one whose time is over cannot be accepted any more."""

    id: str
    customer: str
    currency: str
    total: str
    state: str
    created_at: str
    expires_at: str
    resolved_at: str | None


class QuotePage(TypedDict):
    """Quotes, made last first."""

    items: list[ListedQuoteView]
    next_cursor: str | None


class AcceptedView(TypedDict):
    """The subscription that an accepted quote has started."""

    quote: str
    state: Literal["accepted"]
    subscription: str


class ReleasedView(TypedDict):
    """A quote that was given up."""

    quote: str
    state: Literal["released"]


class FindingView(TypedDict):
    """One figure of a quote that does not come out."""

    where: str
    stated: str
    recomputed: str


class VerdictView(TypedDict):
    """What came of recomputing a quote. `undisclosed`: what this copy does not show."""

    verified: bool
    quote: str
    lines: list[str]
    undisclosed: list[str]
    findings: list[FindingView]


def preview_view(priced: Priced) -> PreviewView:
    """Shape a preview."""
    money = priced.book.book.money
    return PreviewView(
        currency=money.code,
        total=plain(priced.quote.total),
        rounded_total=plain(from_minor(priced.quote.rounded_total_minor, money)),
        price_book=priced.book.content_hash,
        price_sheet=priced.sheet.sheet_hash,
        discount=f"{priced.quote.discount.value} {priced.quote.discount_key}".strip(),
        lines=[_line_view(line) for line in priced.quote.lines],
    )


def _line_view(line: QuoteLine) -> LineView:
    return LineView(
        line.feature,
        plain(line.chosen.quantity),
        plain(line.list_amount),
        [AdjustmentView(step.reason, plain(step.amount), step.detail) for step in line.adjustments],
        plain(line.amount),
        plain(line.saved_if_dropped),
        [*line.dropped_with],
        [*line.rails],
    )


def quote_view(quote: StoredQuote | NewQuote, document: Any) -> QuoteView:  # noqa: ANN401
    """Shape a quote; `document` is its sealed document, or that document's JSON as `msgspec.Raw`."""
    return QuoteView(
        id=quote.id,
        customer=quote.customer,
        state=quote.state,
        currency=quote.currency,
        total=plain(quote.total),
        created_at=quote.created_at.isoformat(),
        expires_at=quote.expires_at.isoformat(),
        document=document,
    )


def listed_view(quote: ListedQuote) -> ListedQuoteView:
    """Shape a quote in a list."""
    return {
        "id": quote.id,
        "customer": quote.customer,
        "currency": quote.currency,
        "total": plain(quote.total),
        "state": quote.state,
        "created_at": quote.created_at.isoformat(),
        "expires_at": quote.expires_at.isoformat(),
        "resolved_at": None if quote.resolved_at is None else quote.resolved_at.isoformat(),
    }
