"""Webhook endpoints: where events go, what was delivered, and delivering it once more."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.security import requires
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.repositories import webhook_endpoints, webhook_outbox
from billing.repositories.webhook_endpoints import Endpoint
from billing.unit_of_work import UnitOfWork
from billing.webhooks import endpoints
from billing.webhooks.secret_box import SecretBox

_SECRET_BYTES = 32
_KEY_ADMIN = [requires(Scope.KEY_ADMIN)]
"""On each handler rather than on the controller: there it would guard OPTIONS too, which bears no key."""


class EndpointBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A receiver to add. Without `event_types` it gets every event."""

    url: str
    event_types: list[str] = []
    description: str = ""


class RotateBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For how long the old secret signs beside the new one, at most seven days."""

    old_secret_hours: Annotated[int, msgspec.Meta(ge=0, le=168)] = 24


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The last event that arrived: those after it are delivered anew."""

    after: str


class WebhookController(Controller):
    """The tenant's receivers. Their secrets are shown once, when they are made."""

    path = "/v1/webhook-endpoints"
    tags = ("webhooks",)

    @get("/", operation_id="ListWebhookEndpoints", guards=_KEY_ADMIN, sync_to_thread=True)
    def list(self, request: ApiRequest, state: State) -> dict[str, Any]:
        """Return all endpoints, oldest first."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return {"items": [_document(each) for each in webhook_endpoints.every(uow)]}

    @post("/", operation_id="AddWebhookEndpoint", guards=_KEY_ADMIN, status_code=201, sync_to_thread=True)
    def add(self, data: JSONBody[EndpointBody], request: ApiRequest, state: State) -> dict[str, Any]:
        """Add an endpoint. Its secret is in this answer and nowhere else."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            endpoint, secret = endpoints.add_endpoint(
                uow,
                SecretBox(services.signer),
                services.settings.webhook_rules(),
                f"whe_{secrets.token_hex(12)}",
                secrets.token_bytes(_SECRET_BYTES),
                data.url,
                data.event_types,
                data.description,
                now,
            )
            after = _document(endpoint)
            _record(uow, request, now, "webhook_endpoint.add", endpoint.id, after=after)
        return {**after, "secret": secret}

    @get("/{endpoint:str}", operation_id="ReadWebhookEndpoint", guards=_KEY_ADMIN, sync_to_thread=True)
    def read(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Return one endpoint."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return _document(webhook_endpoints.get(uow, endpoint))

    @delete("/{endpoint:str}", operation_id="DeleteWebhookEndpoint", guards=_KEY_ADMIN, sync_to_thread=True)
    def delete(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> None:
        """Remove an endpoint with its secrets and the log of its deliveries."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            before = _document(webhook_endpoints.get(uow, endpoint))
            endpoints.delete(uow, endpoint)
            _record(uow, request, now, "webhook_endpoint.delete", endpoint, before=before)

    @post(
        "/{endpoint:str}/rotate-secret",
        operation_id="RotateWebhookSecret",
        guards=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def rotate(
        self, endpoint: FromPath[str], data: JSONBody[RotateBody], request: ApiRequest, state: State
    ) -> dict[str, Any]:
        """Make a new secret; until the old one's time is over, both sign."""
        services: Services = state.services
        now = services.system_now()
        old_lives = timedelta(hours=data.old_secret_hours)
        with services.database.writing(request.user.tenant) as uow:
            box, fresh = SecretBox(services.signer), secrets.token_bytes(_SECRET_BYTES)
            secret = endpoints.rotate_secret(uow, box, endpoint, fresh, now, old_lives)
            _record(uow, request, now, "webhook_endpoint.rotate_secret", endpoint)
        return {"id": endpoint, "secret": secret, "old_secret_until": (now + old_lives).isoformat()}

    @post(
        "/{endpoint:str}/disable",
        operation_id="DisableWebhookEndpoint",
        guards=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def disable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Send nothing more; what waits keeps waiting."""
        return self._switch(endpoint, request, state, enable=False)

    @post(
        "/{endpoint:str}/enable",
        operation_id="EnableWebhookEndpoint",
        guards=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def enable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Send again, what waited first. What happened meanwhile comes by a replay."""
        return self._switch(endpoint, request, state, enable=True)

    def _switch(self, endpoint: str, request: ApiRequest, state: State, *, enable: bool) -> dict[str, Any]:
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            before = _document(webhook_endpoints.get(uow, endpoint))
            switched = (
                endpoints.enable(uow, endpoint)
                if enable
                else endpoints.disable(uow, endpoint, f"disabled by {request.user.key.name}"[:200])
            )
            after, action = _document(switched), f"webhook_endpoint.{'enable' if enable else 'disable'}"
            _record(uow, request, now, action, endpoint, before=before, after=after)
        return after

    @get("/{endpoint:str}/deliveries", operation_id="ListWebhookDeliveries", guards=_KEY_ADMIN, sync_to_thread=True)
    def deliveries(
        self,
        endpoint: FromPath[str],
        request: ApiRequest,
        state: State,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Return what was and is to be delivered, latest event first."""
        services: Services = state.services
        name = f"webhook deliveries {endpoint}"
        after = read_cursor(services, request.user.tenant, name, cursor)
        place = None if after is None else (datetime.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(request.user.tenant) as uow:
            webhook_endpoints.get(uow, endpoint)
            found = webhook_outbox.deliveries(uow, endpoint, place, limit)
        items = [
            {
                "event": each.event,
                "type": each.type,
                "state": each.state,
                "attempts": each.attempts,
                "recorded_at": each.recorded_at.isoformat(),
                "next_try_at": _when(each.next_at),
                "delivered_at": _when(each.delivered_at),
            }
            for each in found
        ]
        last = [found[-1].recorded_at.isoformat(), found[-1].event] if found else []
        return page(services, request.user.tenant, name, items, limit, last)

    @get(
        "/{endpoint:str}/deliveries/{event:str}/attempts",
        operation_id="ListWebhookAttempts",
        guards=_KEY_ADMIN,
        sync_to_thread=True,
    )
    def attempts(
        self, endpoint: FromPath[str], event: FromPath[str], request: ApiRequest, state: State
    ) -> dict[str, Any]:
        """Return every attempt of one delivery: what came back, or why nothing did."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            webhook_outbox.check_delivery(uow, endpoint, event)
            found = webhook_outbox.attempts(uow, endpoint, event)
        return {
            "items": [
                {
                    "number": each.number,
                    "status": each.status,
                    "error": each.error,
                    "answer": each.answer,
                    "took_ms": each.took_ms,
                    "attempted_at": each.attempted_at.isoformat(),
                }
                for each in found
            ]
        }

    @post(
        "/{endpoint:str}/deliveries/{event:str}/replay",
        operation_id="ReplayWebhookDelivery",
        guards=_KEY_ADMIN,
        status_code=202,
        sync_to_thread=True,
    )
    def replay(
        self, endpoint: FromPath[str], event: FromPath[str], request: ApiRequest, state: State
    ) -> dict[str, Any]:
        """Deliver one event once more, under its own id."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            endpoints.replay(uow, endpoint, event)
            _record(uow, request, now, "webhook_endpoint.replay", endpoint, after={"event": event})
        return {"queued": 1}

    @post(
        "/{endpoint:str}/replay",
        operation_id="ReplayWebhookEvents",
        guards=_KEY_ADMIN,
        status_code=202,
        sync_to_thread=True,
    )
    def replay_after(
        self, endpoint: FromPath[str], data: JSONBody[ReplayBody], request: ApiRequest, state: State
    ) -> dict[str, Any]:
        """Deliver anew every event after the last one that arrived."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            queued = endpoints.replay_after(uow, endpoint, data.after)
            _record(uow, request, now, "webhook_endpoint.replay", endpoint, after={"after": data.after})
        return {"queued": queued}


def _document(endpoint: Endpoint) -> dict[str, Any]:
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


def _when(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _record(
    uow: UnitOfWork,
    request: ApiRequest,
    now: datetime,
    action: str,
    endpoint: str,
    *,
    before: Any = None,  # noqa: ANN401
    after: Any = None,  # noqa: ANN401
) -> None:
    audit.record(uow, actor_of(request, now), action, ("webhook_endpoint", endpoint), before=before, after=after)
