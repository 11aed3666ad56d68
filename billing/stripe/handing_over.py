"""Finalised invoices become work for the outbox, in the transaction that finalised them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.collection import CollectionMethod, CustomerToBill, InvoiceToCollect, LineTax, LineToCollect
from billing.customers import Customer
from billing.invoices import Invoice, InvoiceLine, InvoiceState
from billing.rated_usage import Kind
from billing.repositories import stripe_mirror as mirror
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.settlements import SettlementRepository
from billing.stripe.enqueue import enqueue_invoice
from billing.stripe.following import note_settlements
from billing.stripe.settings import KEY, choice_of
from billing.unit_of_work import UnitOfWork
from models.values.quantity import plain


@dataclass(frozen=True, slots=True)
class HandOver:
    """Hands finalised invoices over; called by whatever finalises them, inside its transaction."""

    method: CollectionMethod = CollectionMethod.CHARGE

    def __call__(self, uow: UnitOfWork, invoices: Sequence[Invoice], now: datetime) -> None:
        """Enqueue those of which something is open. What was handed over before is left as it is."""
        customers: dict[str, Customer] = {}
        known = {row.invoice_id for row in mirror.invoices_of(uow, [invoice.id for invoice in invoices])}
        fresh = [
            invoice
            for invoice in invoices
            if invoice.state is InvoiceState.FINALISED and invoice.open_minor > 0 and invoice.id not in known
        ]
        for invoice in fresh:
            if invoice.customer not in customers:
                customers[invoice.customer] = CustomerRepository(uow).get(invoice.customer)
            enqueue_invoice(uow, to_collect(invoice, customers[invoice.customer], self.method), now=now)
        settled = [invoice.id for invoice in fresh if invoice.settled_minor]
        note_settlements(uow, SettlementRepository(uow).of_invoices(settled), now)


def configured_hand_over(environment: Mapping[str, str]) -> HandOver | None:
    """Return what takes finalised invoices over where a Stripe key is set; else None, and nobody collects.

    ALACARTE_STRIPE_COLLECTION says whether they are charged (the default) or sent.
    """
    if not environment.get(KEY):
        return None
    return HandOver(choice_of(CollectionMethod, "ALACARTE_STRIPE_COLLECTION", environment, CollectionMethod.CHARGE))


def hand_over_missed(uow: UnitOfWork, hand_over: HandOver, now: datetime) -> int:
    """Hand over invoices that were finalised before Stripe was set up; return how many are open of them."""
    missed = mirror.not_handed_over(uow)
    hand_over(uow, InvoiceRepository(uow).many(missed), now)
    return len(missed)


def to_collect(invoice: Invoice, customer: Customer, method: CollectionMethod) -> InvoiceToCollect:
    """Return what is to be collected of an invoice."""
    return InvoiceToCollect(
        invoice_id=invoice.id,
        number=invoice.number or invoice.id,
        customer=CustomerToBill(customer.key, customer.legal_name, customer.email),
        currency=invoice.currency,
        lines=tuple(each for line in invoice.lines for each in _lines(line)),
        total_minor=invoice.total_minor,
        method=method,
        days_until_due=max((invoice.due_on - invoice.issued_on).days, 1),
        settled_minor=invoice.settled_minor,
    )


def _lines(line: InvoiceLine) -> Iterator[LineToCollect]:
    """Yield the line with its tax; a tax that is an amount is a line beside it: no percent comes to it."""
    if line.kind is not Kind.TAX:
        taxes = (
            (LineTax(line.tax_code, line.tax_percent, line.tax_minor),) if line.tax_percent and line.tax_minor else ()
        )
        yield _line(line, taxes)
    if line.has_tax_amount:
        yield LineToCollect(f"{line.line}.tax", line.tax_code, f"Tax: {line.tax_code}", line.tax_minor, line.service)


def _line(line: InvoiceLine, taxes: tuple[LineTax, ...]) -> LineToCollect:
    return LineToCollect(
        line_id=str(line.line),
        feature=line.feature,
        description=line.description,
        amount_minor=line.net_minor,
        period=line.service,
        quantity=plain(line.quantity),
        taxes=taxes,
    )
