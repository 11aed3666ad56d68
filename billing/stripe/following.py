"""What our books decide of an invoice that was handed over is told to the provider.

That is: a void, a credit note, a debt given up, and what was paid or set off by other ways than the provider.

`follow` is called in the transaction of the decision; `follow_missed` catches up on what was decided without it.
Each decision is told once, whoever tells it and however often: it leaves a fact behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from billing.invoices import Invoice, InvoiceState
from billing.ledger_collection import PROCESSOR
from billing.repositories import stripe_mirror as mirror
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.settlements import Settlement, SettlementRepository
from billing.repositories.stripe_mirror import Collecting
from billing.stripe.enqueue import BeingChargedError, enqueue_mark_uncollectible, enqueue_void
from billing.stripe.money_back import enqueue_credit_note
from billing.stripe.status import FINAL, CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError

_TOLD = "told"
_BY_OTHER_WAYS = {"payment", "credit"}
_ENDED = FINAL - {CollectionStatus.SETTLED}
_REASON_CHARS = 500


def follow(uow: UnitOfWork, invoice_id: str, now: datetime) -> None:
    """Tell the provider what has been decided of an invoice; nothing to do for one that it does not collect.

    Raises RuleBrokenError where the provider's side cannot follow, so that our side does not go ahead of it.
    """
    rows = mirror.invoices_of(uow, [invoice_id])
    if not rows:
        return
    settlements = SettlementRepository(uow).of(invoice_id)
    _follow(uow, rows[0], InvoiceRepository(uow).get(invoice_id), settlements, now)


def follow_missed(uow: UnitOfWork, now: datetime) -> None:
    """Catch up on decisions that were not told when they were taken; what cannot be told is left to a person."""
    rows = mirror.behind_our_books(uow)
    ids = [row.invoice_id for row in rows]
    ours = {invoice.id: invoice for invoice in InvoiceRepository(uow).many(ids)}
    settlements = SettlementRepository(uow).of_invoices(ids)
    for row in rows:
        try:
            _follow(uow, row, ours[row.invoice_id], settlements.get(row.invoice_id, []), now)
        except BeingChargedError:
            continue  # The next run knows more.
        except RuleBrokenError as error:
            mirror.change_invoice(uow, row.invoice_id, needs_review=str(error)[:_REASON_CHARS])


def note_settlements(uow: UnitOfWork, settlements: Mapping[str, Iterable[Settlement]], now: datetime) -> None:
    """Note as told what had settled invoices before they were handed over: it lowers what is collected already."""
    for invoice_id, made in settlements.items():
        for settlement in made:
            _note(uow, invoice_id, settlement.key, now)


def _follow(
    uow: UnitOfWork, row: Collecting, invoice: Invoice, settlements: Sequence[Settlement], now: datetime
) -> None:
    for decision, tell in _decisions(uow, row, invoice, settlements):
        if not mirror.has_fact(uow, _reference(decision)):
            tell(now=now)
            _note(uow, row.invoice_id, decision, now)


def _decisions(
    uow: UnitOfWork, row: Collecting, invoice: Invoice, settlements: Sequence[Settlement]
) -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield what was decided of an invoice, each under a name of its own, with what tells the provider of it."""
    of = (uow, row.invoice_id)
    if invoice.state is InvoiceState.VOID:
        if row.status not in _ENDED:
            yield f"void:{row.invoice_id}", partial(enqueue_void, *of)
        return
    for note in CreditNoteRepository(uow).of_invoice(row.invoice_id):
        yield f"credit_note:{note.id}", partial(enqueue_credit_note, *of, note.id, note.total_minor)
    for each in settlements:
        if each.kind in _BY_OTHER_WAYS and each.reference != PROCESSOR and each.amount_minor > 0:
            yield each.key, partial(enqueue_credit_note, *of, each.key, each.amount_minor)
        elif each.kind == "write_off" and row.status not in _ENDED | {CollectionStatus.UNCOLLECTIBLE}:
            yield each.key, partial(enqueue_mark_uncollectible, *of)


def _note(uow: UnitOfWork, invoice_id: str, decision: str, now: datetime) -> None:
    mirror.add_fact(
        uow,
        reference=_reference(decision),
        kind=_TOLD,
        invoice_id=invoice_id,
        amount_minor=None,
        detail="",
        occurred_at=now,
        recorded_at=now,
    )


def _reference(decision: str) -> str:
    return f"{_TOLD}:{decision}"
