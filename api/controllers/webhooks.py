"""Webhook endpoints: where events go, what was delivered, and delivering it once more."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.webhooks import (
    AttemptList,
    DeliveryPage,
    EndpointBody,
    EndpointList,
    EndpointView,
    NewEndpointView,
    QueuedView,
    ReplayBody,
    RotateBody,
    RotatedSecretView,
    attempt_document,
    delivery_document,
    endpoint_document,
)
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.repositories import webhook_endpoints, webhook_outbox
from billing.unit_of_work import UnitOfWork
from billing.webhooks import endpoints
from billing.webhooks.secret_box import SecretBox

_SECRET_BYTES = 32
_KEY_ADMIN = any_of(Scope.KEY_ADMIN)
"""On each handler rather than on the controller: there it would guard OPTIONS too, which bears no key."""


class WebhookController(Controller):
    """The tenant's receivers. Their secrets are shown once, when they are made."""

    path = "/v1/webhook-endpoints"
    tags = ("webhooks",)

    @get("/", operation_id="ListWebhookEndpoints", scopes=_KEY_ADMIN, sync_to_thread=True)
    def list(self, request: ApiRequest, state: State) -> EndpointList:
        """Return all endpoints, oldest first."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return {"items": [endpoint_document(each) for each in webhook_endpoints.every(uow)]}

    @post("/", operation_id="AddWebhookEndpoint", scopes=_KEY_ADMIN, status_code=201, sync_to_thread=True)
    def add(self, data: JSONBody[EndpointBody], request: ApiRequest, state: State) -> NewEndpointView:
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
            after = endpoint_document(endpoint)
            _record(uow, request, now, "webhook_endpoint.add", endpoint.id, after=after)
        return {**after, "secret": secret}

    @get("/{endpoint:str}", operation_id="ReadWebhookEndpoint", scopes=_KEY_ADMIN, sync_to_thread=True)
    def read(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> EndpointView:
        """Return one endpoint."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return endpoint_document(webhook_endpoints.get(uow, endpoint))

    @delete("/{endpoint:str}", operation_id="DeleteWebhookEndpoint", scopes=_KEY_ADMIN, sync_to_thread=True)
    def delete(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> None:
        """Remove an endpoint with its secrets and the log of its deliveries."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            before = endpoint_document(webhook_endpoints.get(uow, endpoint))
            endpoints.delete(uow, endpoint)
            _record(uow, request, now, "webhook_endpoint.delete", endpoint, before=before)

    @post(
        "/{endpoint:str}/rotate-secret",
        operation_id="RotateWebhookSecret",
        scopes=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def rotate(
        self, endpoint: FromPath[str], data: JSONBody[RotateBody], request: ApiRequest, state: State
    ) -> RotatedSecretView:
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
        scopes=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def disable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> EndpointView:
        """Send nothing more; what waits keeps waiting."""
        return self._switch(endpoint, request, state, enable=False)

    @post(
        "/{endpoint:str}/enable",
        operation_id="EnableWebhookEndpoint",
        scopes=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def enable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> EndpointView:
        """Send again, what waited first. What happened meanwhile comes by a replay."""
        return self._switch(endpoint, request, state, enable=True)

    def _switch(self, endpoint: str, request: ApiRequest, state: State, *, enable: bool) -> EndpointView:
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            before = endpoint_document(webhook_endpoints.get(uow, endpoint))
            switched = (
                endpoints.enable(uow, endpoint)
                if enable
                else endpoints.disable(uow, endpoint, f"disabled by {request.user.key.name}"[:200])
            )
            after, action = endpoint_document(switched), f"webhook_endpoint.{'enable' if enable else 'disable'}"
            of = ("webhook_endpoint", endpoint)
            audit.record_change(uow, actor_of(request, now), action, of, before=before, after=after)
        return after

    @get("/{endpoint:str}/deliveries", operation_id="ListWebhookDeliveries", scopes=_KEY_ADMIN, sync_to_thread=True)
    def deliveries(
        self,
        endpoint: FromPath[str],
        request: ApiRequest,
        state: State,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> DeliveryPage:
        """Return what was and is to be delivered, latest event first."""
        services: Services = state.services
        name = f"webhook deliveries {endpoint}"
        after = read_cursor(services, request.user.tenant, name, cursor)
        place = None if after is None else (datetime.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(request.user.tenant) as uow:
            webhook_endpoints.get(uow, endpoint)
            found = webhook_outbox.deliveries(uow, endpoint, place, limit)
        items = [delivery_document(each) for each in found]
        last = [found[-1].recorded_at.isoformat(), found[-1].event] if found else []
        return page(services, request.user.tenant, name, items, limit, last)

    @get(
        "/{endpoint:str}/deliveries/{event:str}/attempts",
        operation_id="ListWebhookAttempts",
        scopes=_KEY_ADMIN,
        sync_to_thread=True,
    )
    def attempts(self, endpoint: FromPath[str], event: FromPath[str], request: ApiRequest, state: State) -> AttemptList:
        """Return every attempt of one delivery: what came back, or why nothing did."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            webhook_outbox.check_delivery(uow, endpoint, event)
            found = webhook_outbox.attempts(uow, endpoint, event)
        return {"items": [attempt_document(each) for each in found]}

    @post(
        "/{endpoint:str}/deliveries/{event:str}/replay",
        operation_id="ReplayWebhookDelivery",
        scopes=_KEY_ADMIN,
        status_code=202,
        sync_to_thread=True,
    )
    def replay(self, endpoint: FromPath[str], event: FromPath[str], request: ApiRequest, state: State) -> QueuedView:
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
        scopes=_KEY_ADMIN,
        status_code=202,
        sync_to_thread=True,
    )
    def replay_after(
        self, endpoint: FromPath[str], data: JSONBody[ReplayBody], request: ApiRequest, state: State
    ) -> QueuedView:
        """Deliver anew every event after the last one that arrived."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            queued = endpoints.replay_after(uow, endpoint, data.after)
            _record(uow, request, now, "webhook_endpoint.replay", endpoint, after={"after": data.after})
        return {"queued": queued}


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
