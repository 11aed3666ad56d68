"""What receivers are told about each kind of event: ids, states and amounts, never secrets and never costs.

Amounts are decimal strings with their currency beside them, as everywhere on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.invoices import Invoice, InvoiceState
from billing.webhooks.events import Event, EventType
from models.values.money import currency, from_minor
from models.values.quantity import plain

if TYPE_CHECKING:  # What they describe announces through this module.
    from billing.metering.alerts import Alert, RaisedAlert
    from billing.phases import Phase, Subscription
    from billing.repositories.credit_notes import CreditNote
    from billing.repositories.price_books import Release
    from billing.repositories.quotes import StoredQuote
    from billing.wallets import WalletBalance


def quote_accepted(quote: StoredQuote) -> Event:
    """Tell that a quote was accepted."""
    data = {"quote": quote.id, "customer": quote.customer, "total": plain(quote.total), "currency": quote.currency}
    return Event(EventType.QUOTE_ACCEPTED, quote.id, data)


def subscription_changed(subscription: Subscription, phase: Phase) -> Event:
    """Tell that a subscription started, or has a phase more."""
    data = {
        "subscription": subscription.id,
        "customer": subscription.customer,
        "action": phase.action,
        "state": phase.state.value,
        "starts_at": phase.starts_at.isoformat(),
        "phase": phase.sequence,
        "selection": {feature: plain(quantity) for feature, quantity in phase.agreement.selection.items()},
    }
    return Event(EventType.SUBSCRIPTION_CHANGED, f"{subscription.id}:{phase.sequence}", data)


_REACHED = {
    InvoiceState.FINALISED: EventType.INVOICE_FINALISED,
    InvoiceState.PAID: EventType.INVOICE_PAID,
    InvoiceState.VOID: EventType.INVOICE_VOIDED,
}


def invoice_events(invoice: Invoice, *, before: InvoiceState, by: str = "") -> list[Event]:
    """Return what its move from one state to another tells; `by` names what settled it, as it may be paid twice.

    A draft that credit pays at once has been finalised and paid; a refund that reopens an invoice finalises nothing.
    """
    if invoice.state is before:
        return []
    reached = [InvoiceState.FINALISED] if before is InvoiceState.DRAFT else []
    if invoice.state in {InvoiceState.PAID, InvoiceState.VOID}:
        reached.append(invoice.state)
    money = currency(invoice.currency)
    data = {
        "invoice": invoice.id,
        "number": invoice.number,
        "customer": invoice.customer,
        "period": invoice.period,
        "total": plain(from_minor(invoice.total_minor, money)),
        "open": plain(from_minor(invoice.open_minor, money)),
        "currency": invoice.currency,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
    }
    return [
        Event(_REACHED[state], f"{invoice.id}:{by if state is InvoiceState.PAID else ''}", data) for state in reached
    ]


def credit_note_issued(note: CreditNote) -> Event:
    """Tell that a credit note was issued."""
    money = currency(note.currency)
    data = {
        "credit_note": note.id,
        "number": note.number,
        "invoice": note.invoice,
        "customer": note.customer,
        "total": plain(from_minor(note.total_minor, money)),
        "currency": note.currency,
        "issued_on": note.issued_on.isoformat(),
    }
    return Event(EventType.CREDIT_NOTE_ISSUED, note.id, data)


def usage_alert(alert: Alert, raised: RaisedAlert) -> Event:
    """Tell that usage has reached a threshold, in this turn for the first time."""
    data = {
        "alert": alert.key,
        "customer": alert.customer,
        "meter": alert.meter.key,
        "threshold": plain(alert.threshold),
        "units": plain(raised.units),
        "period_start": raised.period.start.isoformat(),
        "period_end": raised.period.end.isoformat(),
    }
    return Event(EventType.USAGE_ALERT, f"{alert.key}:{raised.period.start.isoformat()}", data)


def wallet_low(balance: WalletBalance, by: str) -> Event:
    """Tell that a wallet fell below its top-up threshold; `by` names what was taken last. In ledger units."""
    wallet = balance.wallet
    data = {
        "wallet": wallet.id,
        "customer": wallet.customer,
        "asset": wallet.asset,
        "free_units": str(balance.free),
        "top_up_below_units": str(wallet.top_up_below),
        "top_up_units": str(wallet.top_up_units),
    }
    return Event(EventType.WALLET_LOW, f"{wallet.id}:{by}", data)


def price_book_published(release: Release, version: int) -> Event:
    """Tell that a version of a price book was brought into force."""
    data = {
        "price_book": release.book_key,
        "version": version,
        "content_hash": release.content_hash,
        "effective_from": release.effective_from.isoformat(),
    }
    return Event(EventType.PRICE_BOOK_PUBLISHED, f"{release.book_key}:{release.sequence}", data)
