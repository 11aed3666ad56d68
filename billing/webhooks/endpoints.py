"""Endpoints: add, rotate the secret, disable, enable, delete, replay; each in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from billing.repositories import webhook_endpoints as rows
from billing.repositories import webhook_outbox as outbox
from billing.repositories.webhook_endpoints import ACTIVE, DISABLED, Endpoint
from billing.unit_of_work import UnitOfWork
from billing.webhooks.destinations import DestinationRules
from billing.webhooks.events import EventType
from billing.webhooks.secret_box import SecretBox
from billing.webhooks.signatures import secret_text
from models.values.errors import ConflictError, InvalidValueError, LimitExceededError

MAX_ENDPOINTS = 20
MAX_REPLAYED = 10_000
OLD_SECRET_LIVES = timedelta(hours=24)
_MAX_DESCRIPTION = 200


def add_endpoint(
    uow: UnitOfWork,
    box: SecretBox,
    rules: DestinationRules,
    endpoint_id: str,
    secret: bytes,
    url: str,
    event_types: Iterable[str],
    description: str,
    now: datetime,
) -> tuple[Endpoint, str]:
    """Add an endpoint and return it with its secret, which nobody is shown again.

    `secret`: 32 random bytes of the caller's. Raises InvalidValueError, RuleBrokenError for a private address,
    ConflictError where the id is taken, LimitExceededError.
    """
    rules.check_url(url)
    wanted = frozenset(_event_type(each) for each in event_types)
    if len(description) > _MAX_DESCRIPTION:
        raise InvalidValueError(f"at most {_MAX_DESCRIPTION} characters", field="description")
    if len([each for each in rows.every(uow) if each.id != endpoint_id]) >= MAX_ENDPOINTS:
        raise LimitExceededError(f"at most {MAX_ENDPOINTS} endpoints", field="webhook_endpoint")
    endpoint = Endpoint(endpoint_id, url, description, wanted, ACTIVE, None, None, now)
    if not rows.add(uow, endpoint):
        raise ConflictError(
            "was added before, its secret was shown then",
            field="webhook_endpoint",
            value=endpoint_id,
            code="endpoint_exists",
        )
    return endpoint, _new_secret(uow, box, endpoint_id, secret, now)


def rotate_secret(
    uow: UnitOfWork,
    box: SecretBox,
    endpoint: str,
    secret: bytes,
    now: datetime,
    old_lives: timedelta = OLD_SECRET_LIVES,
    *,
    replacing: int | None = None,
) -> str:
    """Make a new secret and return it, shown once. Until `old_lives` is over both sign.

    `replacing`: the generation that the new one is to follow. Raises NotFoundError, ConflictError where another has.
    """
    if not timedelta(0) <= old_lives <= timedelta(days=7):
        raise InvalidValueError("must be between nothing and seven days", field="old_lives", value=old_lives)
    rows.get(uow, endpoint, lock=True)
    if replacing is not None and replacing != rows.newest_generation(uow, endpoint):
        raise ConflictError("was replaced meanwhile", field="webhook_secret", value=replacing, code="secret_replaced")
    return _new_secret(uow, box, endpoint, secret, now, old_lives)


def signing_secrets(uow: UnitOfWork, box: SecretBox, endpoint: str, now: datetime) -> list[bytes]:
    """Return the secrets that sign now, newest first. Raises RuleBrokenError where one cannot be read."""
    kept = rows.live_secrets(uow, endpoint, now)
    return [box.decrypt(each.key_id, each.encrypted, _bound(uow, endpoint)) for each in kept]


def disable(uow: UnitOfWork, endpoint: str, reason: str) -> Endpoint:
    """Send nothing more to an endpoint; what waits keeps waiting. One that is disabled keeps its reason.

    Raises NotFoundError.
    """
    if rows.get(uow, endpoint, lock=True).is_active:
        rows.change(uow, endpoint, state=DISABLED, reason=reason)
    return rows.get(uow, endpoint)


def enable(uow: UnitOfWork, endpoint: str) -> Endpoint:
    """Send to an endpoint again, what waited first. Raises NotFoundError."""
    rows.get(uow, endpoint, lock=True)
    rows.change(uow, endpoint, state=ACTIVE, reason=None, failing_since=None)
    return rows.get(uow, endpoint)


def delete(uow: UnitOfWork, endpoint: str) -> None:
    """Remove an endpoint with its secrets and its log. Raises NotFoundError."""
    rows.get(uow, endpoint, lock=True)
    rows.remove(uow, endpoint)


def replay(uow: UnitOfWork, endpoint: str, event: str) -> None:
    """Deliver an event once more, whatever became of it before. Raises NotFoundError."""
    rows.get(uow, endpoint)
    outbox.check_delivery(uow, endpoint, event)
    outbox.queue(uow, [(endpoint, event)])


def replay_after(uow: UnitOfWork, endpoint: str, event: str) -> int:
    """Deliver anew every event that the endpoint wants and that came after `event`; return how many there are.

    Raises NotFoundError, and LimitExceededError where there are too many for one call.
    """
    return _replay(uow, rows.get(uow, endpoint), outbox.events_after(uow, event), "after")


def replay_missed(uow: UnitOfWork, endpoint: str, since: datetime) -> int:
    """Deliver what the endpoint wants, was recorded since then and has not arrived; return how many there are.

    That is what was given up, what waits for its next try and what was never queued, as the endpoint was disabled.
    Raises NotFoundError, and LimitExceededError where there are too many for one call.
    """
    return _replay(uow, rows.get(uow, endpoint), outbox.missed_since(uow, endpoint, since), "missed_since")


def _replay(uow: UnitOfWork, endpoint: Endpoint, events: Iterable[outbox.StoredEvent], field: str) -> int:
    wanted = [(endpoint.id, each.id) for each in events if endpoint.wants(each.type)]
    if len(wanted) > MAX_REPLAYED:
        raise LimitExceededError(f"at most {MAX_REPLAYED} events in one replay", field=field, value=len(wanted))
    outbox.queue(uow, wanted)
    return len(wanted)


def _new_secret(
    uow: UnitOfWork, box: SecretBox, endpoint: str, secret: bytes, now: datetime, old_lives: timedelta = timedelta(0)
) -> str:
    encrypted = box.encrypt(secret, _bound(uow, endpoint))
    rows.replace_secret(uow, endpoint, box.key_id, encrypted, now, now + old_lives)
    return secret_text(secret)


def _bound(uow: UnitOfWork, endpoint: str) -> str:
    return f"{uow.tenant}\x00{endpoint}"


def _event_type(text: str) -> EventType:
    try:
        return EventType(text)
    except ValueError as error:
        raise InvalidValueError(f"must be one of {', '.join(EventType)}", field="event_types", value=text) from error
