"""Taking in what the provider shows of an invoice: states only move forwards, money is told of once.

Called with whatever was read, in whatever order and however often; the outcome is the same.
"""

from __future__ import annotations

from datetime import datetime

from billing.billing_provider import (
    DeclinedError,
    RemoteDispute,
    RemoteDisputeStatus,
    RemoteFee,
    RemoteInvoice,
    RemotePayment,
    RemoteRefund,
    RemoteStatus,
    RemoteTransfer,
)
from billing.collection import (
    Closing,
    CollectionEnded,
    CollectionEvents,
    Disputed,
    DisputePhase,
    FeeCharged,
    PartnerPaid,
    PaymentFailed,
    PaymentReceived,
    Refunded,
    RefundFailed,
    ReviewNeeded,
)
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.repositories.stripe_mirror import Collecting
from billing.stripe.carry_over import Part, owed, split
from billing.stripe.currencies import stripe_currency
from billing.stripe.enqueue import enqueue_mark_uncollectible
from billing.stripe.money_back import note_made
from billing.stripe.operations import Aggregate, Kind
from billing.stripe.settings import LastStep, StripeSettings
from billing.stripe.status import CollectionStatus, merged
from billing.unit_of_work import UnitOfWork
from models.values.money import currency, from_minor
from models.values.quantity import plain

_REASON_CHARS = 500
_PHASES = {RemoteDisputeStatus.WON: DisputePhase.WON, RemoteDisputeStatus.LOST: DisputePhase.LOST}


class Absorber:
    """Writes what was learned and tells `listener`, inside the caller's transaction."""

    def __init__(self, listener: CollectionEvents, settings: StripeSettings) -> None:
        self._listener = listener
        self._settings = settings

    def begin(self, uow: UnitOfWork) -> None:
        """Start a transaction in which something may be told: locks are taken in one order everywhere."""
        self._listener.begin(uow)

    def invoice(self, uow: UnitOfWork, invoice_id: str, remote: RemoteInvoice, now: datetime) -> None:
        """Take in an invoice with its payments."""
        row = mirror.invoice(uow, invoice_id, lock=True)
        for payment in sorted(remote.payments, key=lambda payment: (payment.paid_at, payment.id)):
            row = self._payment(uow, row, payment, now)
        self.status(uow, row, merged(row.status, remote.status), now)
        money = stripe_currency(row.currency)
        explained = row.paid_minor + money.from_wire(remote.credited)
        if remote.status is RemoteStatus.PAID and explained < row.collect_minor:
            reason = f"marked paid, but of {row.collect_minor} only {explained} is paid or credited"
            self.review(uow, invoice_id, reason, now)

    def status(self, uow: UnitOfWork, row: Collecting, status: CollectionStatus, now: datetime) -> None:
        """Move an invoice on, and tell of an end without all the money."""
        news = merged(row.status, status)
        changes: dict[str, object] = {"synced_at": now}
        if news is not row.status:
            changes["status"] = news.value
            if news not in {CollectionStatus.OPEN, CollectionStatus.VERIFIED}:
                changes["next_attempt_at"] = None
        mirror.change_invoice(uow, row.invoice_id, **changes)
        if news is row.status:
            return
        if news is CollectionStatus.VOID:
            mirror.release(uow, row.invoice_id)
            self._ended(uow, row.invoice_id, Closing.VOID, now)
        elif news is CollectionStatus.UNCOLLECTIBLE:
            for invoice_id, _ in self._queue(uow, row):
                self._ended(uow, invoice_id, Closing.UNCOLLECTIBLE, now)

    def declined(self, uow: UnitOfWork, invoice_id: str, error: DeclinedError, now: datetime) -> None:
        """Note a failed attempt at charging and plan the next, or the last step."""
        row = mirror.invoice(uow, invoice_id, lock=True)
        attempt = row.failed_attempts + 1
        waits = self._settings.retry_after
        next_at = now + waits[attempt - 1] if attempt <= len(waits) else None
        mirror.change_invoice(uow, invoice_id, failed_attempts=attempt, next_attempt_at=next_at)
        if next_at is None and self._settings.last_step is LastStep.MARK_UNCOLLECTIBLE:
            enqueue_mark_uncollectible(uow, invoice_id, now=now)
        event = PaymentFailed(f"failed:{invoice_id}:{attempt}", invoice_id, attempt, error.reason, next_at, now)
        if self._is_new(uow, event.reference, "failure", invoice_id, now, detail=error.reason):
            self._listener.record(uow, event)

    def refund(self, uow: UnitOfWork, invoice_id: str, remote: RemoteRefund, now: datetime) -> None:
        """Take in money that went back, whoever sent it, or did not arrive after all."""
        row = mirror.invoice(uow, invoice_id, lock=True)
        amount = stripe_currency(row.currency).from_wire(remote.amount)
        reference = f"refund:{remote.id}"
        if remote.is_failed:
            if mirror.has_fact(uow, reference):
                self._refund_failed(uow, row, remote, amount, now)
            return
        if self._is_new(uow, reference, "refund", invoice_id, remote.created_at, amount, remote.intent, now=now):
            event = Refunded(reference, invoice_id, amount, row.currency, remote.created_at)
            self._listener.record(uow, event)
            if remote.ref:
                note_made(uow, invoice_id, remote.ref, amount, remote.created_at, now)

    def _refund_failed(
        self, uow: UnitOfWork, row: Collecting, remote: RemoteRefund, amount: int, now: datetime
    ) -> None:
        """Take back what was told of a refund; how the customer gets the money now is for a person to decide."""
        reference = f"refund_failed:{remote.id}"
        if self._is_new(uow, reference, "refund_failed", row.invoice_id, now, amount, remote.intent):
            self._listener.record(uow, RefundFailed(reference, row.invoice_id, amount, row.currency, now))
            shown = plain(from_minor(amount, currency(row.currency)))
            self.review(uow, row.invoice_id, f"refund {remote.id} of {shown} {row.currency} did not arrive", now)

    def dispute(self, uow: UnitOfWork, invoice_id: str, remote: RemoteDispute, now: datetime) -> None:
        """Take in a dispute: that it was opened comes first, also where only its end was seen.

        While it is an inquiry no money is held back, and there is nothing to take in.
        """
        if remote.status is RemoteDisputeStatus.INQUIRY:
            return
        row = mirror.invoice(uow, invoice_id, lock=True)
        amount = stripe_currency(row.currency).from_wire(remote.amount)
        phases = [DisputePhase.OPENED]
        if remote.status in _PHASES:
            phases.append(_PHASES[remote.status])
        for phase in phases:
            reference = f"dispute:{remote.id}:{phase}"
            at = remote.created_at if phase is DisputePhase.OPENED else now
            if self._is_new(uow, reference, "dispute", invoice_id, at, amount, remote.intent, now=now):
                self._listener.record(uow, Disputed(reference, invoice_id, phase, amount, row.currency, at))
        for movement, fee in remote.fees.items():
            self.fee(uow, invoice_id, movement, fee, now)

    def fee(self, uow: UnitOfWork, invoice_id: str, charged_for: str, remote: RemoteFee, now: datetime) -> None:
        """Take in the provider's fee of one payment, or of one movement of a dispute."""
        amount = stripe_currency(remote.currency).from_wire(remote.amount)
        reference = f"fee:{charged_for}"
        if amount and self._is_new(uow, reference, "fee", invoice_id, now, amount, charged_for):
            self._listener.record(uow, FeeCharged(reference, invoice_id, amount, remote.currency, now))

    def partner_paid(self, uow: UnitOfWork, partner: str, transfer: RemoteTransfer, now: datetime) -> None:
        """Take in that a partner's share was paid out; the operation that did it is done once."""
        amount = stripe_currency(transfer.currency).from_wire(transfer.amount)
        self._listener.record(uow, PartnerPaid(f"transfer:{transfer.id}", partner, amount, transfer.currency, now))

    def review(self, uow: UnitOfWork, invoice_id: str, reason: str, now: datetime) -> None:
        """Leave an invoice to a person; the first reason stands until somebody clears it."""
        row = mirror.invoice(uow, invoice_id, lock=True)
        if row.needs_review is not None:
            return
        mirror.change_invoice(uow, invoice_id, needs_review=reason[:_REASON_CHARS], next_attempt_at=None)
        reference = f"review:{invoice_id}:{now.isoformat()}"
        if self._is_new(uow, reference, "review", invoice_id, now, detail=reason[:255]):
            self._listener.record(uow, ReviewNeeded(reference, invoice_id, reason, now))

    def _payment(self, uow: UnitOfWork, row: Collecting, payment: RemotePayment, now: datetime) -> Collecting:
        amount = stripe_currency(row.currency).from_wire(payment.amount)
        reference = f"payment:{payment.id}"
        new = self._is_new(uow, reference, "payment", row.invoice_id, payment.paid_at, amount, payment.intent, now=now)
        if not new:
            return row
        for invoice_id, part in split(self._queue(uow, row), row.invoice_id, row.paid_minor, amount):
            event = PaymentReceived(f"{reference}:{invoice_id}", invoice_id, part, row.currency, payment.paid_at)
            self._listener.record(uow, event)
        mirror.change_invoice(uow, row.invoice_id, paid_minor=row.paid_minor + amount)
        if self._settings.read_fees:
            params = {"invoice_id": row.invoice_id, "payment": payment.id, "intent": payment.intent}
            outbox.append(uow, Aggregate.PAYMENT, payment.id, [(Kind.READ_FEE, params)], now=now)
        return mirror.invoice(uow, row.invoice_id)

    def _queue(self, uow: UnitOfWork, row: Collecting) -> list[Part]:
        """Return which invoices this one collects for, oldest first."""
        invoices = {row.invoice_id: row.obligation}
        taken_over: dict[str, list[str]] = {}
        wave = [row.invoice_id]
        while wave:
            earlier = mirror.carried_into(uow, wave)
            for child in earlier:
                invoices[child.invoice_id] = child.obligation
                taken_over.setdefault(str(child.carried_into), []).append(child.invoice_id)
            wave = [child.invoice_id for child in earlier]
        return owed(row.invoice_id, invoices, taken_over)

    def _ended(self, uow: UnitOfWork, invoice_id: str, closing: Closing, now: datetime) -> None:
        reference = f"{closing}:{invoice_id}"
        if self._is_new(uow, reference, "ended", invoice_id, now):
            self._listener.record(uow, CollectionEnded(reference, invoice_id, closing, now))

    def _is_new(
        self,
        uow: UnitOfWork,
        reference: str,
        kind: str,
        invoice_id: str,
        occurred_at: datetime,
        amount_minor: int | None = None,
        detail: str = "",
        *,
        now: datetime | None = None,
    ) -> bool:
        return mirror.add_fact(
            uow,
            reference=reference,
            kind=kind,
            invoice_id=invoice_id,
            amount_minor=amount_minor,
            detail=detail,
            occurred_at=occurred_at,
            recorded_at=now or occurred_at,
        )
