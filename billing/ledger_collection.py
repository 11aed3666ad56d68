"""The ledger's ear: what is heard of money posts to the ledger and settles invoices, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from billing import ledger
from billing.collection import (
    Closing,
    CollectionEnded,
    CollectionEvent,
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
from billing.invoices import InvoiceState
from billing.invoicing import give_up, void
from billing.posting_rules import (
    DisputeLost,
    DisputeOpened,
    DisputeWon,
    Fact,
    PartnerPayout,
    Payout,
    ProcessorFee,
    ProcessorFeeReturned,
    journal,
)
from billing.repositories import journals
from billing.repositories.invoices import InvoiceRepository
from billing.settlements import Money, pay, pay_back
from billing.unit_of_work import UnitOfWork
from models.values.money import currency

PROCESSOR = "stripe"


class LedgerCollection:
    """A CollectionEvents that posts. Raises what the ledger raises: then nothing of the transaction stands."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def begin(self, uow: UnitOfWork) -> None:
        """Take the ledger's lock before any row is locked, as every other writer does."""
        journals.lock(uow)

    def record(self, uow: UnitOfWork, event: CollectionEvent) -> None:
        """Post what the event means for the books. A failed attempt or a call for review moves no money."""
        match event:
            case PaymentReceived() | RefundFailed():  # Either way we have it: it pays what is open, the rest is credit.
                money = Money(event.reference, event.amount_minor, event.occurred_at, PROCESSOR)
                pay(uow, event.invoice_id, money, self._now())
            case Refunded():
                money = Money(event.reference, event.amount_minor, event.occurred_at, PROCESSOR)
                pay_back(uow, event.invoice_id, money, self._now(), beyond_paid=True)
            case FeeCharged():
                self._post(uow, event.reference, event.occurred_at, _fee(event))
            case Disputed():
                self._post(uow, event.reference, event.occurred_at, self._dispute_fact(uow, event))
            case CollectionEnded():
                self._ended(uow, event)
            case PartnerPaid():
                self._post(uow, event.reference, event.occurred_at, *_payout(event))
            case PaymentFailed() | ReviewNeeded():
                return

    def _dispute_fact(self, uow: UnitOfWork, event: Disputed) -> Fact:
        customer = InvoiceRepository(uow).get(event.invoice_id).customer
        units = event.amount_minor * currency(event.currency).units_per_minor
        if event.phase is DisputePhase.LOST:
            return DisputeLost(customer, event.currency, units)
        rule = DisputeOpened if event.phase is DisputePhase.OPENED else DisputeWon
        return rule(customer, event.currency, PROCESSOR, units)

    def _ended(self, uow: UnitOfWork, event: CollectionEnded) -> None:
        """Follow the provider's end where our side has not reached it by itself."""
        invoice = InvoiceRepository(uow).get(event.invoice_id)
        if invoice.state is not InvoiceState.FINALISED:
            return
        if event.closing is Closing.VOID:
            void(uow, invoice.id, "voided at the payment provider", self._now())
        elif invoice.open_minor > 0:
            give_up(uow, invoice.id, self._now())

    def _post(self, uow: UnitOfWork, reference: str, at: datetime, *facts: Fact) -> None:
        ledger.post(uow, [journal(f"{PROCESSOR}:{reference}", at, *facts)], recorded_at=self._now())


def _fee(event: FeeCharged) -> Fact:
    units = event.amount_minor * currency(event.currency).units_per_minor
    if units < 0:
        return ProcessorFeeReturned(event.currency, PROCESSOR, -units)
    return ProcessorFee(event.currency, PROCESSOR, units)


def _payout(event: PartnerPaid) -> tuple[Fact, Fact]:
    """Return that the processor pays us out and we the partner: the bank in between nets to nothing."""
    units = event.amount_minor * currency(event.currency).units_per_minor
    return Payout(event.currency, PROCESSOR, units), PartnerPayout(event.partner, event.currency, units)
