"""Credit notes and refunds on their way to the provider, in the transaction that decided on them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.repositories.stripe_mirror import Collecting
from billing.stripe.currencies import stripe_currency, wire_amount
from billing.stripe.operation_params import Operations
from billing.stripe.operations import Aggregate, Kind, fitting
from billing.stripe.status import CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, RuleBrokenError
from models.values.money import shown_minor

_REF_CHARS = 255


def enqueue_credit_note(
    uow: UnitOfWork, invoice_id: str, credit_note_id: str, amount_minor: int, *, now: datetime
) -> None:
    """Reduce what is collected by a credit note of ours: of the invoice itself, or of the one that collects it."""
    *earlier, row = _way(uow, invoice_id)
    if row.status is CollectionStatus.SETTLED:
        _carry_less(uow, [*earlier, row], amount_minor)
        return
    params = {
        "ref": f"{uow.tenant}/{credit_note_id}",
        "amount": wire_amount(row.currency, amount_minor),
    }
    # What is credited before the charge was sent is not charged.
    held_back = outbox.withdraw_unsent(uow, Aggregate.INVOICE, row.invoice_id, {Kind.PAY, Kind.SEND})
    outbox.append(uow, Aggregate.INVOICE, row.invoice_id, [(Kind.CREDIT, params), *held_back], now=now)


def enqueue_refund(uow: UnitOfWork, invoice_id: str, refund_id: str, amount_minor: int, *, now: datetime) -> bool:
    """Pay money back, latest payment first. False where `refund_id` was asked for before: that changes nothing.

    Raises RuleBrokenError where less was paid than is asked back, ConflictError for an id used otherwise.
    """
    row = _collector(uow, invoice_id)
    if _is_asked(uow, row.invoice_id, refund_id, amount_minor, now):
        return False
    left = _paid_and_not_paid_back(uow, row)
    operations: Operations = []
    wanted = amount_minor
    for intent in reversed(list(left)):
        part = min(wanted, left[intent])
        if part > 0:
            ref = f"{uow.tenant}/{refund_id}/{len(operations) + 1}"
            params = {"ref": ref, "intent": intent, "amount": wire_amount(row.currency, part)}
            operations.append((Kind.REFUND, params))
            wanted -= part
    if wanted or not operations:
        shown = shown_minor(amount_minor, row.currency)
        raise RuleBrokenError(
            "is more than was paid and not paid back", field="amount", value=shown, code="refund_above_paid"
        )
    outbox.append(uow, Aggregate.INVOICE, row.invoice_id, operations, now=now)
    return True


def is_asked_for(uow: UnitOfWork, refund_id: str) -> bool:
    """Whether the provider was asked for a refund."""
    return mirror.has_fact(uow, _asked(refund_id))


def awaited_refunds(uow: UnitOfWork, customer: str, currency: str) -> list[tuple[str, int]]:
    """Return what is still on its way back to a customer, oldest first: the invoice it is posted on, minor units.

    What failed for good is not; what a notification told of before its operation was done is posted already.
    """
    collecting = [row.invoice_id for row in mirror.invoices_of_customer(uow, customer, currency)]
    return [
        (operation.aggregate_id, stripe_currency(currency).from_wire(operation.params["amount"]))
        for operation in outbox.awaited(uow, Aggregate.INVOICE, collecting, Kind.REFUND)
        if not _is_made(uow, operation)
    ]


def note_made(
    uow: UnitOfWork, invoice_id: str, ref: str, amount_minor: int, occurred_at: datetime, recorded_at: datetime
) -> None:
    """Note that the refund with this reference of ours was made: its operation may not know yet."""
    mirror.add_fact(
        uow,
        reference=_made(ref),
        kind="refund_made",
        invoice_id=invoice_id,
        amount_minor=amount_minor,
        occurred_at=occurred_at,
        recorded_at=recorded_at,
    )


def _is_made(uow: UnitOfWork, operation: Row[Any]) -> bool:
    return mirror.has_fact(uow, _made(operation.params["ref"]))


def _made(ref: str) -> str:
    return f"refund_made:{fitting(ref, _REF_CHARS)}"


def _asked(refund_id: str) -> str:
    return f"refund_asked:{refund_id}"


def _is_asked(uow: UnitOfWork, invoice_id: str, refund_id: str, amount_minor: int, now: datetime) -> bool:
    """Note that a refund is asked for; whether it was before."""
    reference = _asked(refund_id)
    if mirror.add_fact(
        uow,
        reference=reference,
        kind="refund_asked",
        invoice_id=invoice_id,
        amount_minor=amount_minor,
        occurred_at=now,
        recorded_at=now,
    ):
        return False
    asked = {fact.reference: fact.amount_minor for fact in mirror.facts(uow, invoice_id, "refund_asked")}
    if asked.get(reference) != amount_minor:
        raise ConflictError("is used for another refund", field="key", value=refund_id, code="refund_key_reused")
    return True


def _paid_and_not_paid_back(uow: UnitOfWork, row: Collecting) -> Counter[str]:
    """Return what is left of each payment, oldest first, less what is on its way back."""
    left: Counter[str] = Counter()
    for paid in mirror.facts(uow, row.invoice_id, "payment"):
        left[paid.detail] += paid.amount_minor
    for refunded in mirror.facts(uow, row.invoice_id, "refund"):
        left[refunded.detail] -= refunded.amount_minor
    for failed in mirror.facts(uow, row.invoice_id, "refund_failed"):
        left[failed.detail] += failed.amount_minor
    money = stripe_currency(row.currency)
    for operation in outbox.unfinished(uow, Aggregate.INVOICE, row.invoice_id):
        if operation.kind == Kind.REFUND and not _is_made(uow, operation):
            left[operation.params["intent"]] -= money.from_wire(operation.params["amount"])
    return left


def _carry_less(uow: UnitOfWork, way: list[Collecting], amount_minor: int) -> None:
    """Carry over less of the first invoice of a `way`, down to nothing: the rest was settled, and is credit, by us."""
    first = way[0]
    less = max(min(amount_minor, first.total_minor - first.settled_minor, way[-1].carried_out_minor), 0)
    for row in way:
        out = row.carried_out_minor - less
        mirror.change_invoice(
            uow,
            row.invoice_id,
            settled_minor=row.settled_minor + (less if row is first else 0),
            carried_in_minor=row.carried_in_minor - (0 if row is first else less),
            carried_out_minor=out,
            carried_into=row.carried_into if out else None,
        )


def _collector(uow: UnitOfWork, invoice_id: str) -> Collecting:
    """Return the invoice that collects one, locked."""
    return _way(uow, invoice_id)[-1]


def _way(uow: UnitOfWork, invoice_id: str) -> list[Collecting]:
    """Follow an invoice to the one that collects it, and lock all on the way."""
    way = [mirror.invoice(uow, invoice_id, lock=True)]
    while way[-1].carried_into is not None and way[-1].collect_minor == 0:
        way.append(mirror.invoice(uow, way[-1].carried_into, lock=True))
    return way
