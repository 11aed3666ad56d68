"""What one customer sees of their own account: what runs, what it comes to so far, what dropping a feature saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.customers import Customer
from billing.invoices import Invoice, InvoiceState
from billing.phases import Agreement, PhaseState
from billing.previews import month_end, preview_invoices
from billing.quotes import Priced, QuoteRequest, price_request
from billing.rated_usage import Kind
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError
from models.values.quantity import plain
from pricing_engine.sealing import Signer


@dataclass(frozen=True, slots=True)
class CustomerAccount:
    """A customer's account at a moment.

    `so_far`: the next invoices as they would be now. `priced`: a month like the last one at today's prices, with what
    dropping each feature saves; None without a subscription, or where the selection is no longer sold.
    """

    customer: Customer
    so_far: tuple[Invoice, ...]
    priced: Priced | None
    invoices: tuple[Invoice, ...]


def customer_account(uow: UnitOfWork, key: str, signer: Signer, at: datetime) -> CustomerAccount:
    """Return one customer's account; every event of this moment counts, nothing is written. Raises NotFoundError."""
    customer = CustomerRepository(uow).get(key)
    invoices = [each for each in InvoiceRepository(uow).of_customer(key) if each.state is not InvoiceState.DRAFT]
    until = month_end(at)
    selection = _like_last_month(_agreement(uow, key, at), invoices)
    return CustomerAccount(
        customer=customer,
        so_far=preview_invoices(uow, key, until, at),
        priced=_priced(uow, key, selection, signer, at),
        invoices=tuple(reversed(invoices)),
    )


def _agreement(uow: UnitOfWork, key: str, at: datetime) -> Agreement | None:
    for subscription in SubscriptionRepository(uow).of_customers([key]):
        phase = subscription.phase_at(at)
        if phase is not None and phase.state is PhaseState.ACTIVE:
            return phase.agreement
    return None


def _like_last_month(agreement: Agreement | None, invoices: list[Invoice]) -> Mapping[str, Any]:
    """Return what was agreed, with the usage of the last invoice in place of what was expected of metered features."""
    if agreement is None:
        return {}
    used: dict[str, Decimal] = {}
    for line in invoices[-1].lines if invoices else ():
        if line.kind is Kind.USAGE and line.corrects is None:
            used[line.feature] = used.get(line.feature, Decimal(0)) + line.quantity
    return {key: plain(used.get(key, quantity)) for key, quantity in agreement.selection.items()}


def _priced(uow: UnitOfWork, key: str, selection: Mapping[str, Any], signer: Signer, at: datetime) -> Priced | None:
    if not selection:
        return None
    try:
        return price_request(uow, QuoteRequest(key, selection), signer, at)
    except DomainError:  # A feature that is no longer sold has no price today: the page shows the rest.
        return None
