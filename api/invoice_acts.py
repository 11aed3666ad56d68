"""What is done with an invoice, over HTTP as by command: the act, what the collector is told, the audit entry.

Each returns the document afterwards and raises what the act raises; `by` is who asks, and when. The ledger's lock comes
first, so that the entry tells what this act has changed and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime

from api.amounts import minor_of
from api.schemas.invoices import (
    CreditNoteView,
    InvoiceView,
    RefundView,
    credit_note_document,
    invoice_document,
    refund_document,
)
from billing import audit
from billing.audit import Actor
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.invoices import Invoice
from billing.invoicing import Collect, finalise, give_up, void
from billing.repositories import journals
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.settlements import Money, is_paid, is_refunded, pay
from billing.stripe.following import follow
from billing.stripe.money_back import is_asked_for
from billing.stripe.refunding import refund_invoice
from billing.stripe.setting_off import set_off
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import check_external_id, check_key
from models.values.money import Currency, currency

_LINE = re.compile(r"[1-9]\d{0,8}", re.ASCII)


def finalise_drafts(
    uow: UnitOfWork, names: Sequence[str], by: Actor, collect: Collect | None = None
) -> list[InvoiceView]:
    """Give drafts their numbers and post them; what is finalised stays as it is."""
    journals.lock(uow)
    before = [_document(uow, name) for name in names]
    finalise(uow, [each["id"] for each in before], by.at, collect=collect)
    return [_recorded(uow, by, "invoice.finalise", each) for each in before]


def void_invoice(uow: UnitOfWork, name: str, reason: str, by: Actor) -> InvoiceView:
    """Void an invoice of which nothing is paid."""
    journals.lock(uow)
    before = _document(uow, name)
    void(uow, before["id"], reason, by.at)
    follow(uow, before["id"], by.at)
    after = _recorded(uow, by, "invoice.void", before)
    _set_off(uow, before["id"], f"void:{before['id']}", by)
    return after


def write_off_invoice(uow: UnitOfWork, name: str, by: Actor) -> InvoiceView:
    """Give up what is open of an invoice."""
    journals.lock(uow)
    before = _document(uow, name)
    give_up(uow, before["id"], by.at)
    follow(uow, before["id"], by.at)
    return _recorded(uow, by, "invoice.write_off", before)


def pay_invoice(
    uow: UnitOfWork,
    name: str,
    key: str,
    amount: str,
    by: Actor,
    *,
    processor: str = "manual",
    paid_at: datetime | None = None,
) -> InvoiceView:
    """Record a payment, once by its `key`. Raises InvalidValueError for one that is still to come, too."""
    check_external_id(key, "key")
    journals.lock(uow)
    before = _document(uow, name)
    is_known = is_paid(uow, key)
    at = paid_at or by.at
    if at > by.at:
        raise InvalidValueError("must not be later than now", field="paid_at", value=at)
    money = Money(key, minor_of(amount, "amount", currency(before["currency"])), at, check_key(processor, "processor"))
    pay(uow, before["id"], money, by.at)
    follow(uow, before["id"], by.at)
    after = _document(uow, before["id"])
    if not is_known:  # What is paid beyond an invoice leaves that as it is, and is credit.
        audit.record(uow, by, "invoice.pay", ("invoice", before["id"]), before=before, after=after)
        _set_off(uow, before["id"], f"payment:{key}", by)
        after = _document(uow, before["id"])  # Credit that was there may have paid the rest.
    return after


def credit_invoice(
    uow: UnitOfWork,
    name: str,
    key: str,
    reason: str,
    lines: Mapping[str, str] | None,
    by: Actor,
    *,
    issued_on: date | None = None,
) -> CreditNoteView:
    """Issue a credit note, once by its `key`: net amounts by line number, or all that is creditable."""
    check_external_id(key, "key")
    journals.lock(uow)
    invoice = InvoiceRepository(uow).get(name)
    nets = None if lines is None else _nets(lines, currency(invoice.currency))
    is_known = CreditNoteRepository(uow).with_key(key) is not None
    wanted = CreditRequest(key, invoice.id, reason, issued_on or by.at.date(), nets)
    after = credit_note_document(issue_credit_note(uow, wanted, by.at))
    if not is_known:
        follow(uow, invoice.id, by.at)
        audit.record(uow, by, "credit_note.issue", ("credit_note", after["id"]), after=after)
        _set_off(uow, invoice.id, after["id"], by)
    return after


def refund_of_invoice(
    uow: UnitOfWork, name: str, key: str, amount: str, by: Actor, *, processor: str | None = None
) -> RefundView:
    """Pay money back, once by its `key`; what Stripe collected it is asked to, unless a `processor` has done so."""
    check_external_id(key, "key")
    journals.lock(uow)
    invoice = InvoiceRepository(uow).get(name)
    minor = minor_of(amount, "amount", currency(invoice.currency))
    whose = None if processor is None else check_key(processor, "processor")
    is_known = is_refunded(uow, key) or is_asked_for(uow, key)
    made = refund_invoice(uow, invoice.id, key, minor, by.at, processor=whose)
    after = refund_document(made, key, minor)
    if not is_known:
        audit.record(uow, by, "invoice.refund", ("invoice", invoice.id), after=after)
        _record_set_off(uow, made.set_off, by)
    return after


def _set_off(uow: UnitOfWork, name: str, cause: str, by: Actor) -> None:
    """Let credit that an act left pay what else the customer owes."""
    invoice = InvoiceRepository(uow).get(name)
    _record_set_off(uow, set_off(uow, invoice.customer, invoice.currency, cause, by.at), by)


def _record_set_off(uow: UnitOfWork, paid: Sequence[Invoice], by: Actor) -> None:
    for each in paid:
        audit.record(uow, by, "invoice.set_off", ("invoice", each.id), after=_document(uow, each.id))


def _document(uow: UnitOfWork, name: str) -> InvoiceView:
    return invoice_document(InvoiceRepository(uow).get(name))


def _recorded(uow: UnitOfWork, by: Actor, action: str, before: InvoiceView) -> InvoiceView:
    """Return an invoice as it is now; an act that changed it is in the audit trail."""
    after = _document(uow, before["id"])
    if after != before:
        audit.record(uow, by, action, ("invoice", before["id"]), before=before, after=after)
    return after


def _nets(lines: Mapping[str, str], money: Currency) -> dict[int, int]:
    nets = {}
    for number, text in lines.items():
        if not _LINE.fullmatch(number):  # `01` would name a line twice.
            raise InvalidValueError("must be the number of a line", field="lines", value=number)
        nets[int(number)] = minor_of(text, f"lines.{number}", money)
    return nets
