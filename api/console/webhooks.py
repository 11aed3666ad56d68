"""Webhooks: where events are sent, which arrived, and of each that did not what was answered."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Any

from litestar import Controller, Response
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import has_role
from api.pages import page as cursor_page
from api.pages import read_cursor
from api.problems import status_of
from api.services import Services
from billing.people import Role
from billing.repositories import webhook_endpoints, webhook_outbox
from billing.webhooks.endpoints import MAX_ENDPOINTS
from billing.webhooks.events import EventType, event_document
from models.values.errors import SHOWN_VALUE_CHARS, DomainError

OLD_SECRET_HOURS = (24, 72, 168, 0)
"""For how long the secret before a new one may sign; the first is offered first."""

_A_PAGE = 25
_ORIGIN = re.compile(r"[^/?]*//[^/?]*")
_SHORT, _SHOWN = 12, 4


class WebhookPages(Controller):
    """What an integrator looks at."""

    path = "/webhooks"
    guards = (has_role(Role.INTEGRATOR),)

    @get("/", sync_to_thread=True)
    def list(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show every endpoint and how its deliveries stand, and offer to add one."""
        return endpoints_page(request, state.services)

    @get("/{endpoint:str}", sync_to_thread=True)
    def one(self, endpoint: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Show one endpoint with its latest deliveries and what can be done with it."""
        return endpoint_page(request, state.services, endpoint)

    @get("/{endpoint:str}/deliveries/{event:str}", sync_to_thread=True)
    def delivery(
        self, endpoint: FromPath[str], event: FromPath[str], request: ConsoleRequest, state: State
    ) -> Response[str]:
        """Show what is sent, and how each attempt went."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = webhook_endpoints.get(uow, endpoint)
            delivery, stored = webhook_outbox.delivery(uow, endpoint, event)
            attempts = webhook_outbox.attempts(uow, endpoint, event)
        return page(
            request, "webhook_delivery.html", endpoint=found, delivery=delivery, attempts=attempts[::-1],
            body=event_document(stored), shown=shown_address(found.url), spoken=_speaker(found.url),
        )  # fmt: skip


def endpoints_page(
    request: ConsoleRequest,
    services: Services,
    *,
    refusal: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response[str]:
    """Show every endpoint. `refusal`: why what was `typed` was not added."""
    with services.database.reading(request.user.tenant) as uow:
        found, standings = webhook_endpoints.every(uow), webhook_outbox.standings(uow)
    return page(
        request, "webhooks.html", status=200 if refusal is None else status_of(refusal), endpoints=found,
        standings=standings, nothing=webhook_outbox.Standing(), address=shown_address, event_types=[*EventType],
        most=MAX_ENDPOINTS, refusal=refusal, typed=typed or {}, fresh_key=secrets.token_hex(12),
        delivers=services.settings.webhook_seconds > 0, is_live=services.settings.environment == "live",
    )  # fmt: skip


def endpoint_page(
    request: ConsoleRequest,
    services: Services,
    name: str,
    *,
    refusal: DomainError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response[str]:
    """Show one endpoint. `refusal`: why what was `typed` was not done. Raises NotFoundError."""
    tenant, asked, now = request.user.tenant, request.query_params, services.system_now()
    of = f"console webhook deliveries {name}"
    after = read_cursor(services, tenant, of, asked.get("after"))
    place = None if after is None else (datetime.fromisoformat(after[0]), str(after[1]))
    with services.database.reading(tenant) as uow:
        found = webhook_endpoints.get(uow, name)
        deliveries = webhook_outbox.deliveries(uow, name, place, _A_PAGE)
        latest = webhook_outbox.latest_attempts(uow, name, [each.event for each in deliveries])
        missing = webhook_outbox.oldest_missing(uow, name)
        signing = webhook_endpoints.live_secrets(uow, name, now)
        generation = webhook_endpoints.newest_generation(uow, name)
    last = [deliveries[-1].recorded_at.isoformat(), deliveries[-1].event] if deliveries else []
    return page(
        request, "webhook.html", status=200 if refusal is None else status_of(refusal), endpoint=found,
        shown=shown_address(found.url), spoken=_speaker(found.url), deliveries=deliveries, latest=latest,
        following=cursor_page(services, tenant, of, deliveries, _A_PAGE, last)["next_cursor"], missing=missing,
        old_until=signing[1].expires_at if len(signing) > 1 else None, generation=generation,
        hours=OLD_SECRET_HOURS, refusal=refusal, typed=typed or {}, queued=_number(asked.get("queued", "")),
        first=after is None, delivers=services.settings.webhook_seconds > 0,
    )  # fmt: skip


def shown_address(url: str) -> str:
    """Return where a URL leads, without what may be a secret: path and query, but for the end of a long one."""
    found = _ORIGIN.match(url)
    origin = found[0] if found else ""
    rest = url[len(origin) :]
    if len(rest) <= 1:
        return url
    return f"{origin}/\N{HORIZONTAL ELLIPSIS}{rest[-_SHOWN:] if len(rest) > _SHORT else ''}"


def _speaker(url: str) -> Any:  # noqa: ANN401
    """Return what takes the endpoint's address out of an error that quotes it."""
    return lambda error: error.replace(url[:SHOWN_VALUE_CHARS], shown_address(url))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else None  # noqa: PLR2004
