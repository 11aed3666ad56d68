"""Invoices and credit notes on the wire: money in major units as decimal strings, with the currency beside it."""

from __future__ import annotations

from typing import Any, TypedDict

from billing.explanation import LineExplanation
from billing.invoices import Invoice, InvoiceLine
from billing.repositories.credit_notes import CreditNote
from billing.stripe.refunding import RefundOfInvoice
from models.values.money import Currency, currency, from_minor
from models.values.quantity import plain


class LineView(TypedDict):
    """One billed row. `exact` and `list_amount` are unrounded; `net` and `tax` are what is owed."""

    line: int
    subscription: str | None
    feature: str
    kind: str
    description: str
    service_start: str
    service_end: str
    quantity: str
    unit_price: str | None
    list_amount: str
    exact: str
    net: str
    tax_code: str
    tax_percent: str
    tax: str
    price_book: str | None
    corrects: str | None


class InvoiceView(TypedDict):
    """An invoice. What rounding left over is carried in from the one before and out to the next."""

    id: str
    number: str | None
    legal_entity: str
    customer: str
    currency: str
    state: str
    period: str
    issued_on: str
    due_on: str
    exact: str
    carried_in: str
    carried_out: str
    net: str
    tax: str
    total: str
    open: str
    lines: list[LineView]


class InvoicePage(TypedDict):
    """Invoices, newest first."""

    items: list[InvoiceView]
    next_cursor: str | None


class CreditLineView(TypedDict):
    """What is credited of one line."""

    line: int
    net: str
    tax: str


class CreditNoteView(TypedDict):
    """A document that reduces an invoice."""

    id: str
    number: str
    invoice: str
    customer: str
    currency: str
    issued_on: str
    reason: str
    net: str
    tax: str
    total: str
    lines: list[CreditLineView]


class RefundView(TypedDict):
    """Money that goes back. `state`: `recorded`, or `asked` of the provider; `open`: what the invoice now asks for."""

    id: str
    invoice: str
    number: str | None
    amount: str
    currency: str
    state: str
    invoice_state: str
    open: str


class RatedUsageView(TypedDict):
    """One rated row behind a line, with the tariff and the meter it came from."""

    charge: str
    position: int
    amount: str
    quantity: str
    service_start: str
    service_end: str
    price_book: str | None
    price_book_version: int | None
    tariff: dict[str, Any]
    meter: str | None
    event_count: int
    detail: dict[str, Any]


class ExplanationView(TypedDict):
    """A line followed down to its events. `adds_up`: the rows sum to the line."""

    invoice: str
    currency: str
    line: LineView
    adds_up: bool
    rated_usage: list[RatedUsageView]


def invoice_document(invoice: Invoice) -> InvoiceView:
    """Return an invoice with its lines."""
    money = currency(invoice.currency)
    return {
        "id": invoice.id,
        "number": invoice.number,
        "legal_entity": invoice.legal_entity,
        "customer": invoice.customer,
        "currency": invoice.currency,
        "state": invoice.state.value,
        "period": invoice.period,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
        "exact": plain(invoice.exact),
        "carried_in": plain(invoice.carried_in),
        "carried_out": plain(invoice.carried_out),
        "net": plain(from_minor(invoice.net_minor, money)),
        "tax": plain(from_minor(invoice.tax_minor, money)),
        "total": plain(from_minor(invoice.total_minor, money)),
        "open": plain(from_minor(invoice.open_minor, money)),
        "lines": [_line(line, money) for line in invoice.lines],
    }


def _line(line: InvoiceLine, money: Currency) -> LineView:
    return {
        "line": line.line,
        "subscription": line.subscription,
        "feature": line.feature,
        "kind": line.kind.value,
        "description": line.description,
        "service_start": line.service.start.isoformat(),
        "service_end": line.service.end.isoformat(),
        "quantity": plain(line.quantity),
        "unit_price": None if line.unit_price is None else plain(line.unit_price),
        "list_amount": plain(line.list_amount),
        "exact": plain(line.exact),
        "net": plain(from_minor(line.net_minor, money)),
        "tax_code": line.tax_code,
        "tax_percent": plain(line.tax_percent),
        "tax": plain(from_minor(line.tax_minor, money)),
        "price_book": line.book_hash,
        "corrects": line.corrects,
    }


class CreditNotePage(TypedDict):
    """Credit notes, newest first."""

    items: list[CreditNoteView]
    next_cursor: str | None


def credit_note_document(note: CreditNote) -> CreditNoteView:
    """Return a credit note with its lines."""
    money = currency(note.currency)
    return {
        "id": note.id,
        "number": note.number,
        "invoice": note.invoice,
        "customer": note.customer,
        "currency": note.currency,
        "issued_on": note.issued_on.isoformat(),
        "reason": note.reason,
        "net": plain(from_minor(note.net_minor, money)),
        "tax": plain(from_minor(note.tax_minor, money)),
        "total": plain(from_minor(note.total_minor, money)),
        "lines": [
            {
                "line": each.line,
                "net": plain(from_minor(each.net_minor, money)),
                "tax": plain(from_minor(each.tax_minor, money)),
            }
            for each in note.lines
        ],
    }


def refund_document(refunded: RefundOfInvoice, key: str, amount_minor: int) -> RefundView:
    """Return a refund and where it leaves its invoice."""
    invoice, money = refunded.invoice, currency(refunded.invoice.currency)
    return {
        "id": key,
        "invoice": invoice.id,
        "number": invoice.number,
        "amount": plain(from_minor(amount_minor, money)),
        "currency": money.code,
        "state": "recorded" if refunded.is_recorded else "asked",
        "invoice_state": invoice.state.value,
        "open": plain(from_minor(invoice.open_minor, money)),
    }


def explanation_document(explained: LineExplanation) -> ExplanationView:
    """Return what is behind a line, down to the meter; its events are counted, not listed."""
    money = currency(explained.invoice.currency)
    return {
        "invoice": explained.invoice.id,
        "currency": explained.invoice.currency,
        "line": _line(explained.line, money),
        "adds_up": explained.adds_up,
        "rated_usage": [
            {
                "charge": usage.charge,
                "position": usage.position,
                "amount": plain(usage.row.amount),
                "quantity": plain(usage.row.quantity),
                "service_start": usage.row.service.start.isoformat(),
                "service_end": usage.row.service.end.isoformat(),
                "price_book": usage.row.book_hash,
                "price_book_version": usage.book_version,
                "tariff": dict(usage.tariff),
                "meter": None if usage.meter is None else usage.meter.key,
                "event_count": usage.event_count,
                "detail": dict(usage.row.detail),
            }
            for usage in explained.usages
        ],
    }
