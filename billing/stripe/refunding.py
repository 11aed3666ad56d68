"""Paying money back on an invoice: through the provider that collected it, or recorded where it went back otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from billing.invoices import Invoice
from billing.ledger_collection import PROCESSOR
from billing.repositories import journals
from billing.repositories import stripe_mirror as mirror
from billing.repositories.invoices import InvoiceRepository
from billing.settlements import Money, cash_left, check_refundable, is_covered, is_refunded, pay_back
from billing.stripe.money_back import awaited_refunds, enqueue_refund, is_asked_for
from billing.stripe.setting_off import set_off, settle_debts
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, RuleBrokenError
from models.values.money import shown_minor


@dataclass(frozen=True, slots=True)
class RefundOfInvoice:
    """The invoice after a refund; `is_recorded` is false where the provider has yet to make it.

    `set_off`: what credit paid beside it.
    """

    invoice: Invoice
    is_recorded: bool
    set_off: tuple[Invoice, ...] = ()


def refund_invoice(
    uow: UnitOfWork, invoice: str, key: str, amount_minor: int, now: datetime, *, processor: str | None = None
) -> RefundOfInvoice:
    """Refund once by `key`. Through Stripe where it collects the invoice and nobody else is named in `processor`.

    What Stripe is asked for is posted when it has made it; until then no other refund may need what it will take.
    Credit that goes back pays first what the customer owes. Raises NotFoundError (invoice), InvalidValueError (amount),
    RuleBrokenError for a draft or a void invoice, for credit that debts need, and for more than was paid and is not
    disputed, paid back or about to be, ConflictError for a key used otherwise.
    """
    journals.lock(uow)
    found = InvoiceRepository(uow).get(invoice)
    money = Money(key, amount_minor, now, processor or "manual")
    is_known = is_refunded(uow, key)
    paid: list[Invoice] = []
    if not is_known and not is_asked_for(uow, key):
        money.check_positive(found.currency)
        check_refundable(found)
        paid = settle_debts(uow, found, key, amount_minor, now)
    if not is_known and _is_stripes(uow, found, processor):
        after = RefundOfInvoice(found, is_recorded=False)
        is_known = not enqueue_refund(uow, found.id, key, amount_minor, now=now)
    elif is_asked_for(uow, key):
        raise ConflictError("is used for another refund", field="key", value=key, code="refund_key_reused")
    else:
        after = RefundOfInvoice(pay_back(uow, found.id, money, now), is_recorded=True)
    if is_known:
        return after
    _check_covered(uow, found, amount_minor)
    paid += set_off(uow, found.customer, found.currency, f"refunded:{key}", now)
    return replace(after, invoice=InvoiceRepository(uow).get(found.id), set_off=tuple(paid))


def goes_through_stripe(uow: UnitOfWork, invoice: Invoice) -> bool:
    """Whether Stripe is asked to pay back what somebody pays back of an invoice."""
    return _is_stripes(uow, invoice, None)


def _is_stripes(uow: UnitOfWork, invoice: Invoice, processor: str | None) -> bool:
    return processor == PROCESSOR or (processor is None and bool(mirror.invoices_of(uow, [invoice.id])))


def _check_covered(uow: UnitOfWork, invoice: Invoice, amount_minor: int) -> None:
    """Refuse a refund, which is written already, that leaves too little for what Stripe is still to pay back.

    So is one of what a cardholder's bank holds back, or has kept: it went back that way, or may.
    """
    awaited = awaited_refunds(uow, invoice.customer, invoice.currency)
    disputed = mirror.disputed_minor(uow, invoice.id)
    going = sum(minor for of, minor in awaited if of == invoice.id)
    if disputed and cash_left(uow, invoice) - going < disputed:
        raise RuleBrokenError(
            "is more than was paid and is not disputed",
            field="amount",
            value=shown_minor(amount_minor, invoice.currency),
            code="payment_disputed",
        )
    if not is_covered(uow, invoice.customer, invoice.currency, awaited):
        raise RuleBrokenError(
            "is more than was paid, less what went back and what is on its way back",
            field="amount",
            value=shown_minor(amount_minor, invoice.currency),
            code="refund_above_paid",
        )
