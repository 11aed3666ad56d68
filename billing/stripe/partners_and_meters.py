"""Optional traffic through the same outbox: partner payouts (Stripe Connect) and usage mirrored into meters."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal

from billing.collection import CustomerToBill
from billing.repositories import stripe_outbox as outbox
from billing.stripe.currencies import wire_amount
from billing.stripe.enqueue import enqueue_customer
from billing.stripe.operations import Aggregate, Kind
from billing.unit_of_work import UnitOfWork
from models.values.quantity import plain

_IDENTIFIER_CHARS = 100


def enqueue_transfer(
    uow: UnitOfWork, transfer_id: str, destination: str, amount_minor: int, currency: str, *, now: datetime
) -> None:
    """Pay a partner's share out to a connected account."""
    params = {
        "ref": f"{uow.tenant}/{transfer_id}",
        "destination": destination,
        "amount": wire_amount(currency, amount_minor),
        "currency": currency,
    }
    outbox.append(uow, Aggregate.TRANSFER, transfer_id, [(Kind.TRANSFER, params)], now=now)


def enqueue_usage(
    uow: UnitOfWork,
    usage_id: str,
    customer: CustomerToBill,
    meter: str,
    quantity: Decimal,
    at: datetime,
    *,
    now: datetime,
) -> None:
    """Mirror a quantity into the provider's meter: a view of usage there, never what is billed."""
    enqueue_customer(uow, customer, now=now)
    params = {
        "ref": _identifier(f"{uow.tenant}/{usage_id}"),
        "customer": customer.key,
        "meter": meter,
        "value": plain(quantity),
        "at": int(at.timestamp()),
    }
    outbox.append(uow, Aggregate.USAGE, usage_id, [(Kind.RECORD_USAGE, params)], now=now, waits_for=customer.key)


def _identifier(text: str) -> str:
    """Return `text`, or where it is too long its SHA-256."""
    return text if len(text) <= _IDENTIFIER_CHARS else hashlib.sha256(text.encode()).hexdigest()
