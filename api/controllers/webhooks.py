"""Webhook endpoints: where events go, what was delivered, and delivering it once more."""

from __future__ import annotations

import secrets
from datetime import datetime

from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api import webhook_acts
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
    replay_of,
)
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.audit import Actor
from billing.repositories import webhook_endpoints, webhook_outbox

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
        by, name = _by(request, services), f"whe_{secrets.token_hex(12)}"
        with services.database.writing(request.user.tenant) as uow:
            return webhook_acts.add_endpoint(uow, services, name, data.url, data.event_types, data.description, by)

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
        with services.database.writing(request.user.tenant) as uow:
            webhook_acts.delete_endpoint(uow, endpoint, _by(request, services))

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
        with services.database.writing(request.user.tenant) as uow:
            return webhook_acts.rotate_secret(uow, services, endpoint, data.old_secret_hours, _by(request, services))

    @post(
        "/{endpoint:str}/disable",
        operation_id="DisableWebhookEndpoint",
        scopes=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def disable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> EndpointView:
        """Send nothing more; what waits keeps waiting."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            return webhook_acts.disable_endpoint(uow, endpoint, _by(request, services))

    @post(
        "/{endpoint:str}/enable",
        operation_id="EnableWebhookEndpoint",
        scopes=_KEY_ADMIN,
        status_code=200,
        sync_to_thread=True,
    )
    def enable(self, endpoint: FromPath[str], request: ApiRequest, state: State) -> EndpointView:
        """Send again, what waited first. What happened meanwhile comes by a replay."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            return webhook_acts.enable_endpoint(uow, endpoint, _by(request, services))

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
        with services.database.writing(request.user.tenant) as uow:
            return {"queued": webhook_acts.replay_event(uow, endpoint, event, _by(request, services))}

    @post(
        "/{endpoint:str}/replay",
        operation_id="ReplayWebhookEvents",
        scopes=_KEY_ADMIN,
        status_code=202,
        sync_to_thread=True,
    )
    def replay_many(
        self, endpoint: FromPath[str], data: JSONBody[ReplayBody], request: ApiRequest, state: State
    ) -> QueuedView:
        """Deliver anew every event after the last one that arrived, or what has not arrived since a time."""
        services: Services = state.services
        what, by = replay_of(data), _by(request, services)
        with services.database.writing(request.user.tenant) as uow:
            if isinstance(what, datetime):
                return {"queued": webhook_acts.replay_missed(uow, endpoint, what, by)}
            return {"queued": webhook_acts.replay_after(uow, endpoint, what, by)}


def _by(request: ApiRequest, services: Services) -> Actor:
    return actor_of(request, services.system_now())
