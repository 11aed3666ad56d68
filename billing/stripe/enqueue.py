"""Handing invoices and customers to the outbox, in the transaction of the fact it follows from. No network here."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from billing.collection import CustomerToBill, InvoiceToCollect
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.repositories.stripe_mirror import Collecting
from billing.stripe.operation_params import collection_operations
from billing.stripe.operations import Aggregate, Kind
from billing.stripe.planning import CarriedOver, plan_collection
from billing.stripe.status import FINAL, CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.values.canonical_json import Json, content_hash
from models.values.errors import RuleBrokenError


class BeingChargedError(RuleBrokenError):
    """A charge is on its way, or its answer was lost: try again once it is known."""

    code = "being_charged"


def enqueue_invoice(uow: UnitOfWork, invoice: InvoiceToCollect, *, now: datetime) -> Collecting:
    """Have a finalised invoice collected. Handing it over again changes nothing.

    What lies below the provider's minimum charge, or between its steps, is carried over to the customer's next
    invoice in this currency. Raises InvalidValueError for a currency the provider cannot collect.
    """
    if mirror.has_invoice(uow, invoice.invoice_id):
        return mirror.invoice(uow, invoice.invoice_id)
    enqueue_customer(uow, invoice.customer, now=now)
    earlier = mirror.carried_for(uow, invoice.customer.key, invoice.currency)
    carried = [CarriedOver(row.invoice_id, row.number, row.carried_out_minor) for row in earlier]
    plan = plan_collection(invoice, carried)
    mirror.add_invoice(
        uow,
        invoice_id=invoice.invoice_id,
        number=invoice.number,
        customer=invoice.customer.key,
        currency=invoice.currency,
        method=invoice.method.value,
        total_minor=invoice.total_minor,
        tax_minor=invoice.tax_minor,
        settled_minor=invoice.settled_minor,
        carried_in_minor=plan.carried_in_minor,
        collect_minor=plan.collect_minor,
        carried_out_minor=plan.carried_out_minor,
        status=(CollectionStatus.CLOSED if plan.collect_minor else CollectionStatus.SETTLED).value,
        created_at=now,
    )
    mirror.take_up(uow, [row.invoice_id for row in earlier], invoice.invoice_id)
    folded = dict(plan.folded)
    mirror.add_lines(
        uow,
        invoice.invoice_id,
        [
            {
                "line_id": line.line_id,
                "remote_ref": folded[line.line_id],
                "amount_minor": line.amount_minor,
                "tax_minor": sum(tax.amount_minor for tax in line.taxes),
            }
            for line in invoice.lines
        ],
    )
    if plan.collect_minor:
        operations = collection_operations(uow.tenant, invoice, plan.lines)
        outbox.append(uow, Aggregate.INVOICE, invoice.invoice_id, operations, now=now, waits_for=invoice.customer.key)
    return mirror.invoice(uow, invoice.invoice_id)


def enqueue_customer(uow: UnitOfWork, customer: CustomerToBill, *, now: datetime) -> None:
    """Have a customer known to the provider, and its name and e-mail kept up to date."""
    details = {"name": customer.name, "email": customer.email}
    digest = content_hash(cast(Json, details))
    if mirror.add_customer(uow, customer.key, digest):
        params = {**details, "ref": f"{uow.tenant}/{customer.key}"}
        outbox.append(uow, Aggregate.CUSTOMER, customer.key, [(Kind.CREATE_CUSTOMER, params)], now=now)
        return
    known = mirror.customer(uow, customer.key)
    if known is not None and known.details_sha256 != digest:
        outbox.append(uow, Aggregate.CUSTOMER, customer.key, [(Kind.UPDATE_CUSTOMER, details)], now=now)
        mirror.change_customer(uow, customer.key, details_sha256=digest)


def enqueue_void(uow: UnitOfWork, invoice_id: str, *, now: datetime) -> None:
    """Void an invoice at the provider; what was not sent of it is not sent any more.

    Raises RuleBrokenError where it is paid, or where a later invoice collects it, BeingChargedError until it is known
    what became of a charge that was sent.
    """
    row = mirror.invoice(uow, invoice_id, lock=True)
    if row.carried_into is not None:
        raise RuleBrokenError(
            f"is collected by the invoice {row.carried_into}",
            field="invoice",
            value=invoice_id,
            code="collected_elsewhere",
        )
    if row.status is CollectionStatus.SETTLED:
        _stop_carrying(uow, row)
        return
    if row.status in FINAL:
        raise RuleBrokenError(
            f"is {row.status} and cannot be voided", field="invoice", value=invoice_id, code="invoice_not_voidable"
        )
    outbox.withdraw_unsent(uow, Aggregate.INVOICE, invoice_id)
    if any(operation.kind == Kind.PAY for operation in outbox.unfinished(uow, Aggregate.INVOICE, invoice_id)):
        raise BeingChargedError("may have been charged just now", field="invoice", value=invoice_id)
    mirror.change_invoice(uow, invoice_id, next_attempt_at=None)
    outbox.append(uow, Aggregate.INVOICE, invoice_id, [(Kind.VOID, {})], now=now)


def enqueue_mark_uncollectible(uow: UnitOfWork, invoice_id: str, *, now: datetime) -> None:
    """Give an invoice up at the provider: it is charged no more. What a later invoice collects of it stays there."""
    row = mirror.invoice(uow, invoice_id, lock=True)
    if row.status is CollectionStatus.SETTLED:
        if row.carried_into is None:
            _stop_carrying(uow, row)
        return
    outbox.withdraw_unsent(uow, Aggregate.INVOICE, invoice_id, {Kind.PAY, Kind.SEND})
    mirror.change_invoice(uow, invoice_id, next_attempt_at=None)
    outbox.append(uow, Aggregate.INVOICE, invoice_id, [(Kind.MARK_UNCOLLECTIBLE, {})], now=now)


def enqueue_charge(uow: UnitOfWork, row: Collecting, *, now: datetime) -> None:
    """Charge an open invoice once more."""
    mirror.change_invoice(uow, row.invoice_id, next_attempt_at=None)
    params = {"attempt": row.failed_attempts + 1}
    outbox.append(uow, Aggregate.INVOICE, row.invoice_id, [(Kind.PAY, params)], now=now)


def _stop_carrying(uow: UnitOfWork, row: Collecting) -> None:
    """Leave out of later invoices what this one owes by itself: nothing of it is at the provider."""
    mirror.change_invoice(uow, row.invoice_id, settled_minor=row.total_minor, carried_out_minor=row.carried_in_minor)
