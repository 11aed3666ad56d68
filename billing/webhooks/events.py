"""What happened, told to whoever subscribed: written in the transaction of the change itself.

An event's id follows from what happened, so that a change made once is told once, whoever repeats the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from billing.repositories import webhook_endpoints as endpoints
from billing.repositories import webhook_outbox as outbox
from billing.unit_of_work import UnitOfWork


class EventType(StrEnum):
    """What can be subscribed to."""

    QUOTE_ACCEPTED = "quote.accepted"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    INVOICE_FINALISED = "invoice.finalised"
    INVOICE_PAID = "invoice.paid"
    INVOICE_VOIDED = "invoice.voided"
    CREDIT_NOTE_ISSUED = "credit_note.issued"
    USAGE_ALERT = "usage.alert"
    WALLET_LOW = "wallet.low"
    PRICE_BOOK_PUBLISHED = "price_book.published"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `key` names it among events of its type; `data` is what receivers get."""

    type: EventType
    key: str
    data: Mapping[str, Any]

    def id_for(self, tenant: str) -> str:
        """Return the event's id within a tenant."""
        named = "\x00".join((tenant, self.type, self.key))
        return f"evt_{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def announce(uow: UnitOfWork, events: Sequence[Event], now: datetime) -> None:
    """Queue events for the endpoints that want them. Nothing is kept where no endpoint of the tenant does.

    A disabled endpoint gets nothing now; its events are kept, to be replayed when it is back.
    """
    listening = endpoints.every(uow) if events else []
    for event in events:
        wanting = [each for each in listening if each.wants(event.type)]
        if wanting:
            event_id = event.id_for(uow.tenant)
            if outbox.add_event(uow, event_id, event.type, event.data, now):
                outbox.queue(uow, [(each.id, event_id) for each in wanting if each.is_active])


def event_document(event: outbox.StoredEvent) -> dict[str, Any]:
    """Return the body that is sent: type, time and data, as Standard Webhooks proposes."""
    return {"type": event.type, "timestamp": event.recorded_at.isoformat(), "data": event.data}
