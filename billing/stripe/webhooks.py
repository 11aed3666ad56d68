"""Taking webhooks in: check who sent it, keep it once by its id, answer at once. Reading it comes later."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from billing.billing_provider import RemoteEvent
from billing.repositories import stripe_events
from billing.stripe.reading import instant
from billing.stripe.settings import StripeSettings
from billing.stripe.signatures import check_signature
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError


def accept_webhook(uow: UnitOfWork, body: bytes, signature: str, settings: StripeSettings, now: datetime) -> bool:
    """Keep a webhook for reading; False when it was kept before. Answer 200 in both cases once committed.

    `body`: the raw bytes as they came. Raises BadSignatureError or InvalidValueError: answer 400.
    """
    check_signature(body, signature, settings.webhook_secrets, now, settings.webhook_tolerance)
    try:
        event = json.loads(body)
        event_id, kind, created = str(event["id"]), str(event["type"]), instant(event["created"])
        subject_of(event)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidValueError("is not an event", field="body", code="invalid_event") from error
    return stripe_events.add(
        uow, event_id=event_id, type=kind, body=body.decode(), source="webhook", created_at=created, now=now
    )


def subject_of(event: Any) -> tuple[str, str] | None:  # noqa: ANN401
    """Return what an event is about: ("invoice" | "payment" | "dispute", id); None when it is nothing of ours.

    Only ids are taken from it. Amounts and states are read from the provider.
    """
    body = event["data"]["object"]
    match body.get("object"):
        case "invoice":
            return "invoice", body["id"]
        case "invoice_payment" | "credit_note":
            return _named("invoice", body.get("invoice"))
        case "payment_intent":
            return "payment", body["id"]
        case "charge" | "refund":
            return _named("payment", body.get("payment_intent"))
        case "dispute":
            return "dispute", body["id"]
    return None


def is_of_interest(event: RemoteEvent) -> bool:
    """Whether an event is about something that may be ours, so that missing it would matter."""
    return subject_of(json.loads(event.body)) is not None


def _named(kind: str, identity: object) -> tuple[str, str] | None:
    return (kind, identity) if isinstance(identity, str) and identity else None
