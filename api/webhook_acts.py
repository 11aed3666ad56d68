"""What is done with webhook endpoints, over HTTP, by command and in the console alike: the act and its audit entry.

Each raises what the act raises; `by` is who asks, and when. A secret is in the answer of the act that made it alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from api.schemas.webhooks import EndpointView, NewEndpointView, RotatedSecretView, endpoint_document
from api.services import Services
from billing import audit
from billing.audit import Actor
from billing.repositories import webhook_endpoints
from billing.repositories.webhook_endpoints import Endpoint
from billing.unit_of_work import UnitOfWork
from billing.webhooks import endpoints
from billing.webhooks.secret_box import SecretBox
from models.values.canonical_json import Json

_SECRET_BYTES = 32
_MAX_REASON = 200


def add_endpoint(
    uow: UnitOfWork,
    services: Services,
    name: str,
    url: str,
    event_types: Iterable[str],
    description: str,
    by: Actor,
) -> NewEndpointView:
    """Add an endpoint under the id `name`, with a secret of its own."""
    endpoint, secret = endpoints.add_endpoint(
        uow,
        SecretBox(services.signer),
        services.settings.webhook_rules(),
        name,
        secrets.token_bytes(_SECRET_BYTES),
        url,
        event_types,
        description,
        by.at,
    )
    after = endpoint_document(endpoint)
    _record(uow, by, "add", endpoint.id, after=after)
    return {**after, "secret": secret}


def rotate_secret(
    uow: UnitOfWork,
    services: Services,
    endpoint: str,
    old_secret_hours: int,
    by: Actor,
    *,
    replacing: int | None = None,
) -> RotatedSecretView:
    """Make a new secret. `replacing`: the generation that it is to follow, where whoever asks has seen one."""
    box, fresh, old_lives = (
        SecretBox(services.signer),
        secrets.token_bytes(_SECRET_BYTES),
        timedelta(hours=old_secret_hours),
    )
    secret = endpoints.rotate_secret(uow, box, endpoint, fresh, by.at, old_lives, replacing=replacing)
    _record(uow, by, "rotate_secret", endpoint)
    return {"id": endpoint, "secret": secret, "old_secret_until": (by.at + old_lives).isoformat()}


def enable_endpoint(uow: UnitOfWork, endpoint: str, by: Actor) -> EndpointView:
    """Send again, what waited first."""
    return _switch(uow, endpoint, by, "enable", endpoints.enable)


def disable_endpoint(uow: UnitOfWork, endpoint: str, by: Actor) -> EndpointView:
    """Send nothing more, and say who wanted that."""
    reason = f"disabled by {by.name}"[:_MAX_REASON]
    return _switch(uow, endpoint, by, "disable", lambda uow, endpoint: endpoints.disable(uow, endpoint, reason))


def delete_endpoint(uow: UnitOfWork, endpoint: str, by: Actor) -> None:
    """Remove an endpoint with its secrets and the log of its deliveries."""
    before = endpoint_document(webhook_endpoints.get(uow, endpoint))
    endpoints.delete(uow, endpoint)
    _record(uow, by, "delete", endpoint, before=before)


def replay_event(uow: UnitOfWork, endpoint: str, event: str, by: Actor) -> int:
    """Deliver one event once more."""
    endpoints.replay(uow, endpoint, event)
    _record(uow, by, "replay", endpoint, after={"event": event})
    return 1


def replay_after(uow: UnitOfWork, endpoint: str, event: str, by: Actor) -> int:
    """Deliver anew every event after the last one that arrived; return how many there are."""
    queued = endpoints.replay_after(uow, endpoint, event)
    _record(uow, by, "replay", endpoint, after={"after": event})
    return queued


def replay_missed(uow: UnitOfWork, endpoint: str, since: datetime, by: Actor) -> int:
    """Deliver what was recorded since then and has not arrived; return how many there are."""
    queued = endpoints.replay_missed(uow, endpoint, since)
    _record(uow, by, "replay", endpoint, after={"missed_since": since.isoformat()})
    return queued


def _switch(
    uow: UnitOfWork, endpoint: str, by: Actor, action: str, switch: Callable[[UnitOfWork, str], Endpoint]
) -> EndpointView:
    before = endpoint_document(webhook_endpoints.get(uow, endpoint))
    after = endpoint_document(switch(uow, endpoint))
    of = ("webhook_endpoint", endpoint)
    audit.record_change(uow, by, f"webhook_endpoint.{action}", of, before=before, after=after)
    return after


def _record(uow: UnitOfWork, by: Actor, action: str, endpoint: str, *, before: Json = None, after: Json = None) -> None:
    audit.record(uow, by, f"webhook_endpoint.{action}", ("webhook_endpoint", endpoint), before=before, after=after)
