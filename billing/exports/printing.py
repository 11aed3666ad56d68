"""What is printed of an invoice or credit note as stored, with both sides as the invoice fixed them."""

from __future__ import annotations

from typing import Any

from billing.exports.invoice_view import credit_note_view, invoice_view
from billing.invoices import Invoice
from billing.invoicing import party_document
from billing.repositories.credit_notes import CreditNote
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork


def printed_invoice(uow: UnitOfWork, invoice: Invoice) -> dict[str, Any]:
    """Return the view of an invoice."""
    return invoice_view(invoice, _party(uow, invoice))


def printed_credit_note(uow: UnitOfWork, note: CreditNote) -> dict[str, Any]:
    """Return the view of a credit note."""
    invoice = InvoiceRepository(uow).get(note.invoice)
    return credit_note_view(note, invoice, _party(uow, invoice))


def _party(uow: UnitOfWork, invoice: Invoice) -> dict[str, Any]:
    """Return buyer and seller as the invoice fixed them; as they are now of a draft, or where they were erased."""
    customers = CustomerRepository(uow)
    return InvoiceRepository(uow).party(invoice.id) or party_document(
        customers.get(invoice.customer), customers.legal_entity(invoice.legal_entity)
    )
