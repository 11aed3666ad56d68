"""Webhook endpoints and deliveries as they are asked for and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypedDict

import msgspec

from billing.repositories.webhook_endpoints import Endpoint
from billing.repositories.webhook_outbox import Attempt, Delivery
from models.values.errors import InvalidValueError
from models.values.period import parse_instant


class EndpointBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A receiver to add. Without `event_types` it gets every event."""

    url: str
    event_types: list[str] = []
    description: str = ""


class RotateBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For how long the old secret signs beside the new one, at most seven days."""

    old_secret_hours: Annotated[int, msgspec.Meta(ge=0, le=168)] = 24


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is delivered anew: all after the last event that arrived, or what has not arrived since a time."""

    after: str | None = None
    missed_since: str | None = None


class EndpointView(TypedDict):
    """A receiver. `reason`: why it is disabled; `failing_since`: when nothing arrived there any more."""

    id: str
    url: str
    description: str
    event_types: list[str]
    state: str
    reason: str | None
    failing_since: str | None
    created_at: str


class NewEndpointView(EndpointView):
    """A receiver that was just added; its `secret` is shown this once."""

    secret: str


class EndpointList(TypedDict):
    """All receivers, oldest first."""

    items: list[EndpointView]


class RotatedSecretView(TypedDict):
    """The new secret, shown this once, and until when the old one signs as well."""

    id: str
    secret: str
    old_secret_until: str


class DeliveryView(TypedDict):
    """One event on its way to one receiver."""

    event: str
    type: str
    state: str
    attempts: int
    recorded_at: str
    next_try_at: str | None
    delivered_at: str | None


class DeliveryPage(TypedDict):
    """A page of deliveries, latest event first."""

    items: list[DeliveryView]
    next_cursor: str | None


class AttemptView(TypedDict):
    """One attempt: the HTTP status and the beginning of the answer, or why there was none."""

    number: int
    status: int | None
    error: str | None
    answer: str
    took_ms: int
    attempted_at: str


class AttemptList(TypedDict):
    """Every attempt of one delivery, in order."""

    items: list[AttemptView]


class QueuedView(TypedDict):
    """How many deliveries wait to be made once more."""

    queued: int


def endpoint_document(endpoint: Endpoint) -> EndpointView:
    """Show a receiver."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": sorted(endpoint.event_types),
        "state": endpoint.state,
        "reason": endpoint.reason,
        "failing_since": _when(endpoint.failing_since),
        "created_at": endpoint.created_at.isoformat(),
    }


def delivery_document(delivery: Delivery) -> DeliveryView:
    """Show a delivery."""
    return {
        "event": delivery.event,
        "type": delivery.type,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "recorded_at": delivery.recorded_at.isoformat(),
        "next_try_at": _when(delivery.next_at),
        "delivered_at": _when(delivery.delivered_at),
    }


def attempt_document(attempt: Attempt) -> AttemptView:
    """Show an attempt."""
    return {
        "number": attempt.number,
        "status": attempt.status,
        "error": attempt.error,
        "answer": attempt.answer,
        "took_ms": attempt.took_ms,
        "attempted_at": attempt.attempted_at.isoformat(),
    }


def replay_of(body: ReplayBody) -> str | datetime:
    """Return the event after which all, or the time since which what is missing is delivered anew."""
    if body.after is not None and body.missed_since is None:
        return body.after
    if body.missed_since is not None and body.after is None:
        return parse_instant(body.missed_since, "missed_since")
    raise InvalidValueError("needs one of after and missed_since", field="after", value=body.after)


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
