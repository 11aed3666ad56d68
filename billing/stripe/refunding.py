"""Paying money back on an invoice: through the provider that collected it, or recorded where it went back otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.invoices import Invoice
from billing.ledger_collection import PROCESSOR
from billing.repositories import journals
from billing.repositories import stripe_mirror as mirror
from billing.repositories.invoices import InvoiceRepository
from billing.settlements import Money, pay_back
from billing.stripe.money_back import enqueue_refund
from billing.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class RefundOfInvoice:
    """The invoice after a refund; `is_recorded` is false where the provider has yet to make it."""

    invoice: Invoice
    is_recorded: bool


def refund_invoice(
    uow: UnitOfWork, invoice: str, key: str, amount_minor: int, now: datetime, *, processor: str | None = None
) -> RefundOfInvoice:
    """Refund once by `key`. Through Stripe where it collects the invoice and nobody else is named in `processor`.

    What Stripe is asked for is posted when it has made it. Raises NotFoundError (invoice), InvalidValueError (amount),
    RuleBrokenError for more than was paid and not paid back, ConflictError for a key used otherwise.
    """
    journals.lock(uow)
    found = InvoiceRepository(uow).get(invoice)
    money = Money(key, amount_minor, now, processor or "manual")
    if processor == PROCESSOR or (processor is None and mirror.invoices_of(uow, [found.id])):
        money.check_positive()
        enqueue_refund(uow, found.id, key, amount_minor, now=now)
        return RefundOfInvoice(found, is_recorded=False)
    return RefundOfInvoice(pay_back(uow, found.id, money, now), is_recorded=True)
