"""Collecting what is owed: the invoice handed to a payment provider, and what is heard back of it.

This is the boundary between invoicing and the provider. Invoicing hands over an `InvoiceToCollect` in the
transaction that finalised it; whatever happens to the money comes back as a `CollectionEvent`, each with a
`reference` that never comes twice, recorded in the transaction that learned of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import check_external_id
from models.values.money import currency
from models.values.period import Period


class CollectionMethod(StrEnum):
    """Charge the customer's stored payment method, or send the invoice and wait."""

    CHARGE = "charge"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class CustomerToBill:
    """Whom the provider bills: our key and what it prints."""

    key: str
    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class LineTax:
    """A tax on top of one line, in minor units; `percent` 19 is 19 %."""

    name: str
    percent: Decimal
    amount_minor: int


@dataclass(frozen=True, slots=True)
class LineToCollect:
    """One invoice line in minor units without its taxes. `quantity` is text for people, e.g. `1,204 requests`."""

    line_id: str
    feature: str
    description: str
    amount_minor: int
    period: Period
    quantity: str = ""
    taxes: tuple[LineTax, ...] = ()


@dataclass(frozen=True, slots=True)
class InvoiceToCollect:
    """A finalised invoice: lines + their taxes = `total_minor`, of which `settled_minor` is settled by other means.

    Raises InvalidValueError where there are no lines or they do not sum to the total, a line id comes twice, the
    total is negative or less is owed than is settled.
    """

    invoice_id: str
    number: str
    customer: CustomerToBill
    currency: str
    lines: tuple[LineToCollect, ...]
    total_minor: int
    method: CollectionMethod = CollectionMethod.CHARGE
    days_until_due: int = 30
    settled_minor: int = 0

    def __post_init__(self) -> None:
        check_external_id(self.invoice_id, "invoice_id")
        currency(self.currency)
        if not self.lines:
            raise InvalidValueError("must not be empty", field="lines", value=self.invoice_id)
        summed = sum(line.amount_minor for line in self.lines) + self.tax_minor
        if summed != self.total_minor:
            raise InvalidValueError(
                f"lines and taxes must sum to the total {self.total_minor}", field="lines", value=summed
            )
        if len({line.line_id for line in self.lines}) != len(self.lines):
            raise InvalidValueError("each line needs an id of its own", field="lines", value=self.invoice_id)
        if not 0 <= self.settled_minor <= self.total_minor:
            raise InvalidValueError(
                f"must lie between 0 and the total {self.total_minor}", field="settled_minor", value=self.settled_minor
            )

    @property
    def tax_minor(self) -> int:
        """Taxes of all lines, in minor units."""
        return sum(tax.amount_minor for line in self.lines for tax in line.taxes)


@dataclass(frozen=True, slots=True)
class PaymentReceived:
    """Money came in for an invoice: all of what is open, a part, or more than that."""

    reference: str
    invoice_id: str
    amount_minor: int
    currency: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class FeeCharged:
    """The provider keeps a fee of a payment or dispute, in the currency it settles in; below zero it gives one back."""

    reference: str
    invoice_id: str
    amount_minor: int
    currency: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentFailed:
    """An attempt to charge failed; `next_attempt_at` is None when dunning has come to its end."""

    reference: str
    invoice_id: str
    attempt: int
    code: str
    next_attempt_at: datetime | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Refunded:
    """Money went back to the customer."""

    reference: str
    invoice_id: str
    amount_minor: int
    currency: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class RefundFailed:
    """Money that had gone back did not arrive: the provider has it again."""

    reference: str
    invoice_id: str
    amount_minor: int
    currency: str
    occurred_at: datetime


class DisputePhase(StrEnum):
    """A dispute is opened once and then won or lost."""

    OPENED = "opened"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Disputed:
    """The customer's bank holds money back, returns it or keeps it."""

    reference: str
    invoice_id: str
    phase: DisputePhase
    amount_minor: int
    currency: str
    occurred_at: datetime


class Closing(StrEnum):
    """How collecting ends without all the money."""

    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


@dataclass(frozen=True, slots=True)
class CollectionEnded:
    """The provider's invoice is void or given up."""

    reference: str
    invoice_id: str
    closing: Closing
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewNeeded:
    """Something a person has to look at; nothing more is sent for this invoice until then."""

    reference: str
    invoice_id: str
    reason: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class PartnerPaid:
    """A partner's share was paid out of what lies at the provider."""

    reference: str
    partner: str
    amount_minor: int
    currency: str
    occurred_at: datetime


CollectionEvent = (
    PaymentReceived
    | FeeCharged
    | PaymentFailed
    | Refunded
    | RefundFailed
    | Disputed
    | CollectionEnded
    | ReviewNeeded
    | PartnerPaid
)


class CollectionEvents(Protocol):
    """Who listens: the ledger side."""

    def begin(self, uow: UnitOfWork) -> None:
        """Take whatever lock recording needs; called before the bridge locks any row."""

    def record(self, uow: UnitOfWork, event: CollectionEvent) -> None:
        """Record `event` inside the open transaction. Called once for each reference."""
