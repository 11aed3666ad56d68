"""What an integrator does with webhooks by a form: add, enable, disable, remove, replay, make a new secret.

Each is the act of the API and of the command. A secret is shown by the answer to the form that made it; the form sent
again, as by reloading that answer, makes no second one. What is refused is said on the page that the form stands on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from litestar import Controller, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api import webhook_acts
from api.console.forms import Form, text, utc_time
from api.console.pages import ConsoleRequest, actor_of, go_to, page
from api.console.sessions import has_role
from api.console.webhooks import OLD_SECRET_HOURS, endpoint_page, endpoints_page, shown_address
from api.services import Services
from billing.audit import Actor
from billing.people import Role
from billing.repositories import webhook_endpoints
from billing.unit_of_work import UnitOfWork
from billing.webhooks.events import EventType
from models.values.errors import DomainError, InvalidValueError, NotFoundError

_HOME = "/console/webhooks"
_KEY = re.compile(r"[0-9a-f]{24}", re.ASCII)
_GENERATION = re.compile(r"[1-9]\d{0,8}", re.ASCII)


class WebhookForms(Controller):
    """What an integrator does."""

    path = "/webhooks"
    guards = (has_role(Role.INTEGRATOR),)

    @post("/", status_code=200, sync_to_thread=True)
    def add(self, data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Add an endpoint, once by the key its form came with, and show its secret."""
        services: Services = state.services
        by = _by(request, services)
        try:
            name, url = f"whe_{_matching(_KEY, data, 'key')}", text(data, "url")
            types, description = _types(data), text(data, "description")
            made = services.database.write(
                request.user.tenant,
                lambda uow: webhook_acts.add_endpoint(uow, services, name, url, types, description, by),
            )
        except DomainError as refusal:
            return endpoints_page(request, services, refusal=refusal, typed=data)
        return page(
            request,
            "webhook_secret.html",
            endpoint=name,
            shown=shown_address(url),
            secret=made["secret"],
            old_until=None,
        )

    @post("/{endpoint:str}/secret", status_code=200, sync_to_thread=True)
    def rotate(self, endpoint: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Make a new secret after the one that the form was shown for, and show it."""
        services: Services = state.services
        by = _by(request, services)

        def act(uow: UnitOfWork) -> tuple[str, str, str]:
            url = webhook_endpoints.get(uow, endpoint).url
            replacing = int(_matching(_GENERATION, data, "generation"))
            made = webhook_acts.rotate_secret(uow, services, endpoint, _hours(data), by, replacing=replacing)
            return url, made["secret"], made["old_secret_until"]

        try:
            url, secret, old_until = services.database.write(request.user.tenant, act)
        except NotFoundError:
            raise
        except DomainError as refusal:
            return endpoint_page(request, services, endpoint, refusal=refusal, typed=data)
        return page(
            request,
            "webhook_secret.html",
            endpoint=endpoint,
            shown=shown_address(url),
            secret=secret,
            old_until=old_until,
        )

    @post("/{endpoint:str}/enable", sync_to_thread=True)
    def enable(self, endpoint: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Send to it again."""
        return _do(
            request, state.services, endpoint, data, lambda uow, by: webhook_acts.enable_endpoint(uow, endpoint, by)
        )

    @post("/{endpoint:str}/disable", sync_to_thread=True)
    def disable(self, endpoint: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Send nothing more to it."""
        return _do(
            request, state.services, endpoint, data, lambda uow, by: webhook_acts.disable_endpoint(uow, endpoint, by)
        )

    @post("/{endpoint:str}/remove", sync_to_thread=True)
    def remove(self, endpoint: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Remove it with its secrets and its log."""
        services: Services = state.services
        by = _by(request, services)
        services.database.write(request.user.tenant, lambda uow: webhook_acts.delete_endpoint(uow, endpoint, by))
        return go_to(_HOME)

    @post("/{endpoint:str}/replay", sync_to_thread=True)
    def replay(self, endpoint: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Send again what has not arrived since a time."""
        return _do(
            request,
            state.services,
            endpoint,
            data,
            lambda uow, by: webhook_acts.replay_missed(uow, endpoint, utc_time(data, "missed_since"), by),
        )

    @post("/{endpoint:str}/deliveries/{event:str}/replay", sync_to_thread=True)
    def replay_one(
        self, endpoint: FromPath[str], event: FromPath[str], data: Form, request: ConsoleRequest, state: State
    ) -> Response[Any]:
        """Send one event again."""
        return _do(
            request, state.services, endpoint, data, lambda uow, by: webhook_acts.replay_event(uow, endpoint, event, by)
        )


def _do(
    request: ConsoleRequest,
    services: Services,
    endpoint: str,
    data: dict[str, Any],
    act: Callable[[UnitOfWork, Actor], object],
) -> Response[Any]:
    by = _by(request, services)
    try:
        done = services.database.write(request.user.tenant, lambda uow: act(uow, by))
    except NotFoundError:
        raise
    except DomainError as refusal:
        return endpoint_page(request, services, endpoint, refusal=refusal, typed=data)
    return go_to(f"{_HOME}/{endpoint}" + (f"?queued={done}" if isinstance(done, int) else ""))


def _by(request: ConsoleRequest, services: Services) -> Actor:
    return actor_of(request, services.system_now())


def _types(data: dict[str, Any]) -> list[str]:
    """Return the chosen types of events, none for all. Raises InvalidValueError where some were wanted and none is."""
    chosen = [each.value for each in EventType if text(data, f"type.{each.value}")]
    which = text(data, "which")
    if which not in {"all", "some"} or (which == "some" and not chosen):
        raise InvalidValueError("choose all or at least one", field="event_types", value=which, code="no_event_type")
    return chosen if which == "some" else []


def _hours(data: dict[str, Any]) -> int:
    typed = text(data, "old_secret_hours")
    if typed not in map(str, OLD_SECRET_HOURS):
        raise InvalidValueError(
            f"must be one of {', '.join(map(str, OLD_SECRET_HOURS))}", field="old_secret_hours", value=typed
        )
    return int(typed)


def _matching(form: re.Pattern[str], data: dict[str, Any], name: str) -> str:
    typed = text(data, name)
    if not form.fullmatch(typed):
        raise InvalidValueError("must be what its form came with", field=name, value=typed)
    return typed
