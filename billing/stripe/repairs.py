"""Putting right what reconciliation found: only by queuing operations, which are performed like any others."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.stripe.operation_params import Operations, invoice_ref
from billing.stripe.operations import Aggregate, Kind, State
from billing.stripe.status import CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError

_CONTENT = {Kind.ADD_LINES, Kind.VERIFY}
_STEPS = {Kind.CREATE_DRAFT, Kind.ADD_LINES, Kind.VERIFY, Kind.FINALISE, Kind.PAY, Kind.SEND}


def remove_remote(uow: UnitOfWork, stripe_id: str, now: datetime) -> None:
    """Delete a draft, or void an open invoice, that should not be at the provider."""
    outbox.append(uow, Aggregate.CLEANUP, stripe_id, [(Kind.VOID, {})], now=now)


def read_again(uow: UnitOfWork, invoice_id: str, now: datetime) -> None:
    """Read an invoice and take in what has happened to it."""
    outbox.append(uow, Aggregate.INVOICE, invoice_id, [(Kind.READ, {})], now=now)


def go_on(uow: UnitOfWork, invoice_id: str, now: datetime) -> None:
    """Go on with an invoice that stands still: revive its dead operation, or start over.

    Starting over is what is left where nothing waits to be done, and where the draft is not what was sent.
    """
    mirror.change_invoice(uow, invoice_id, needs_review=None)
    waiting = outbox.unfinished(uow, Aggregate.INVOICE, invoice_id)
    if waiting and waiting[0].kind not in _CONTENT:
        outbox.revive(uow, Aggregate.INVOICE, invoice_id, now)
        return
    row = mirror.invoice(uow, invoice_id)
    if row.stripe_id is not None:
        remove_remote(uow, row.stripe_id, now)
    create_again(uow, invoice_id, now)


def create_again(uow: UnitOfWork, invoice_id: str, now: datetime) -> None:
    """Make a new invoice at the provider for one of ours, with the lines that were sent before.

    Raises RuleBrokenError where money was received: then a person has to look.
    """
    row = mirror.invoice(uow, invoice_id, lock=True)
    if row.paid_minor:
        raise RuleBrokenError(
            "has received money and is not made anew", field="invoice", value=invoice_id, code="invoice_paid"
        )
    earlier = outbox.every(uow, Aggregate.INVOICE, invoice_id)
    begin = max((op.seq for op in earlier if op.kind == Kind.CREATE_DRAFT), default=0)
    incarnation = row.incarnation + 1
    ref = invoice_ref(uow.tenant, invoice_id, incarnation)
    operations: Operations = []
    for op in earlier:
        kind = Kind(op.kind)
        if op.seq >= begin and kind in _STEPS and not (kind is Kind.PAY and _repeats(operations)):
            operations.append((kind, _renamed(op.params, kind, ref, f"{row.number}-{incarnation}")))
    outbox.cancel_all(uow, Aggregate.INVOICE, invoice_id)
    mirror.change_invoice(
        uow,
        invoice_id,
        incarnation=incarnation,
        stripe_id=None,
        status=CollectionStatus.CLOSED.value,
        failed_attempts=0,
        next_attempt_at=None,
        needs_review=None,
    )
    outbox.append(uow, Aggregate.INVOICE, invoice_id, operations, now=now, waits_for=row.customer)


def is_at_work(uow: UnitOfWork, invoice_id: str) -> bool:
    """Whether operations of an invoice are on their way, none of them dead: what differs may be right in a moment."""
    operations = outbox.unfinished(uow, Aggregate.INVOICE, invoice_id)
    return bool(operations) and all(op.state != State.DEAD for op in operations)


def _repeats(operations: Operations) -> bool:
    return any(kind is Kind.PAY for kind, _ in operations)


def _renamed(params: dict[str, Any], kind: Kind, ref: str, number: str) -> dict[str, Any]:
    """Give a draft that is made anew a reference and a number of its own: the first ones are taken for ever."""
    return {**params, "ref": ref, "number": number} if kind is Kind.CREATE_DRAFT else params
