"""The port to a payment provider: what Alacarte asks of it, in our own types.

Amounts are integers of the provider's smallest unit of the currency, as they travel. `key` is the idempotency key
of the call: the same key with the same content is the same call, however often it is made. `ref` is our own
reference, kept in the provider's metadata for ever, by which an object is found again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from models.values.errors import DomainError


class ProviderError(DomainError):
    """The provider did not do what was asked; the subclass says what that means for us."""

    code = "provider_error"

    def __init__(self, rule: str, *, status: int | None = None, reason: str = "", request_id: str = "") -> None:
        super().__init__(rule, field="provider", value=reason or status)
        self.status = status
        self.reason = reason
        self.request_id = request_id


class NoAnswerError(ProviderError):
    """No answer came (timeout, reset) or a 5xx: it may have been done all the same."""

    code = "provider_no_answer"


class StoredFailureError(NoAnswerError):
    """A 5xx that the provider replays for this key: asking again with the key is pointless."""

    code = "provider_stored_failure"


class BusyError(ProviderError):
    """The same key is being worked on; ask again."""

    code = "provider_busy"


class RateLimitedError(ProviderError):
    """Too many requests."""

    code = "provider_rate_limited"


class DeclinedError(ProviderError):
    """The customer's payment method was refused: a business result, not a fault."""

    code = "provider_declined"


class RefusedError(ProviderError):
    """The provider will never do this as asked."""

    code = "provider_refused"


class AlreadyThereError(RefusedError):
    """It was done before, under the same reference."""

    code = "provider_already_there"


class MissingError(RefusedError):
    """What was asked for is not there."""

    code = "provider_missing"


class NotAuthorisedError(ProviderError):
    """The key is wrong or may not do this: nothing else will work either."""

    code = "provider_not_authorised"


class RemoteStatus(StrEnum):
    """States of an invoice at the provider."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class DraftInvoice:
    """What a draft is made of. `days_until_due` None: charge the stored payment method."""

    ref: str
    customer: str
    currency: str
    number: str
    days_until_due: int | None


@dataclass(frozen=True, slots=True)
class RemoteTax:
    """A tax of a line as it travels; `percent` is a plain decimal string."""

    name: str
    percent: str
    amount: int


@dataclass(frozen=True, slots=True)
class RemoteLine:
    """A line as it travels; `ref` is ours. `period` in seconds since 1970."""

    ref: str
    description: str
    amount: int
    period: tuple[int, int]
    taxes: tuple[RemoteTax, ...] = ()
    detail: tuple[tuple[str, str], ...] = ()

    @property
    def tax(self) -> int:
        """Taxes of this line."""
        return sum(tax.amount for tax in self.taxes)


@dataclass(frozen=True, slots=True)
class RemotePayment:
    """Money that came in for an invoice; `intent` names the charge it came by."""

    id: str
    intent: str
    amount: int
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class RemoteInvoice:
    """An invoice as the provider shows it now. `ref` is empty when it is not ours."""

    id: str
    ref: str
    customer: str
    status: RemoteStatus
    currency: str
    total: int
    tax: int
    amount_paid: int
    amount_remaining: int
    credited: int
    created_at: datetime
    payments: tuple[RemotePayment, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteRefund:
    """Money that went back. `ref` is ours; empty where somebody else asked for it.

    `is_failed`: it did not arrive, days later perhaps, and the provider has it again.
    """

    id: str
    ref: str
    intent: str
    amount: int
    currency: str
    created_at: datetime
    is_failed: bool = False


@dataclass(frozen=True, slots=True)
class RemoteFee:
    """What the provider kept of a payment or dispute, in the currency it settles in; below zero it was given back."""

    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class RemoteTransfer:
    """A partner's share that was paid out."""

    id: str
    amount: int
    currency: str


class RemoteDisputeStatus(StrEnum):
    """Where a dispute stands. An inquiry asks, and holds no money back; it may become a dispute."""

    INQUIRY = "inquiry"
    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RemoteDispute:
    """A dispute as the provider shows it now, with the fees it caused, by the movement each is part of."""

    id: str
    intent: str
    status: RemoteDisputeStatus
    amount: int
    currency: str
    created_at: datetime
    fees: Mapping[str, RemoteFee] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """A notification: its id, type, age, and the whole body as text."""

    id: str
    type: str
    created_at: datetime
    body: str


class BillingProvider(Protocol):
    """A payment provider. Every method raises ProviderError; the `find_*` answer None when there is none."""

    async def create_customer(self, ref: str, name: str, email: str, key: str) -> str:
        """Create a customer; return its id."""

    async def update_customer(self, customer: str, name: str, email: str, key: str) -> str:
        """Change what is printed for a customer."""

    async def find_customer(self, ref: str, since: datetime) -> str | None:
        """Return the customer created since then with our reference."""

    async def has_payment_method(self, customer: str) -> bool:
        """Whether the customer has a payment method that invoices are charged to."""

    async def create_draft(self, draft: DraftInvoice, key: str) -> RemoteInvoice:
        """Create an empty draft that nothing advances by itself."""

    async def find_invoice(self, ref: str, customer: str, since: datetime) -> RemoteInvoice | None:
        """Return the customer's invoice created since then with our reference."""

    async def fetch_invoice(self, invoice: str) -> RemoteInvoice:
        """Return an invoice with all its payments."""

    async def add_lines(self, invoice: str, lines: Sequence[RemoteLine], key: str) -> RemoteInvoice:
        """Add lines to a draft: all or none."""

    async def fetch_lines(self, invoice: str) -> tuple[RemoteLine, ...]:
        """Return every line of an invoice."""

    async def finalise(self, invoice: str, key: str) -> RemoteInvoice:
        """Turn a draft into an open invoice."""

    async def pay(self, invoice: str, key: str) -> RemoteInvoice:
        """Charge the stored payment method. Raises DeclinedError."""

    async def send(self, invoice: str, key: str) -> RemoteInvoice:
        """Send the invoice to the customer."""

    async def void(self, invoice: str, key: str) -> RemoteInvoice:
        """Void an open invoice."""

    async def mark_uncollectible(self, invoice: str, key: str) -> RemoteInvoice:
        """Give an open invoice up."""

    async def delete_draft(self, invoice: str) -> None:
        """Delete a draft; succeeds when it is gone already."""

    async def credit(self, invoice: str, ref: str, amount: int, settled_outside: int, key: str) -> str:
        """Issue a credit note, of which `settled_outside` had been paid and is settled by us; return its id."""

    async def find_credit(self, invoice: str, ref: str) -> str | None:
        """Return the credit note on the invoice with our reference."""

    async def refund(self, intent: str, ref: str, amount: int, key: str) -> RemoteRefund:
        """Pay a part of a payment back."""

    async def find_refund(self, intent: str, ref: str) -> RemoteRefund | None:
        """Return the refund of the payment with our reference."""

    async def fetch_refunds(self, intent: str) -> tuple[RemoteRefund, ...]:
        """Return all refunds of a payment."""

    async def fetch_fee(self, intent: str) -> RemoteFee | None:
        """Return the fee of a payment, None while it is unknown."""

    async def fetch_dispute(self, dispute: str) -> RemoteDispute:
        """Return a dispute."""

    async def invoice_of_payment(self, intent: str) -> str | None:
        """Return the invoice that a payment was made for."""

    async def transfer(self, destination: str, ref: str, amount: int, currency: str, key: str) -> RemoteTransfer:
        """Pay a partner's share out."""

    async def find_transfer(self, destination: str, ref: str, since: datetime) -> RemoteTransfer | None:
        """Return the transfer created since then with our reference."""

    async def record_usage(self, customer: str, meter: str, ref: str, value: str, at: datetime, key: str) -> str:
        """Mirror usage into the provider's meter; `ref` makes it count once. Raises AlreadyThereError when it did."""

    def invoices_since(self, since: datetime) -> AsyncIterator[RemoteInvoice]:
        """Walk all invoices created since then, without their payments."""

    def events_since(self, since: datetime) -> AsyncIterator[RemoteEvent]:
        """Walk all events created since then."""
