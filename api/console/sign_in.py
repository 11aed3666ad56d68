"""Signing in and out, and how a reader wants the console to look."""

from __future__ import annotations

import secrets
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import Cookie, State

from api.console.forms import Form, text
from api.console.pages import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    ConsoleRequest,
    get,
    go_to,
    page,
    preference,
)
from api.console.sessions import SESSION_COOKIE, SIGN_IN
from api.console.wording import LANGUAGES
from api.requests import request_id
from api.services import Services
from billing import audit, people
from models.values.errors import InvalidValueError
from models.values.ids import check_key

_HOME = "/console"
_COOKIE_PATH = "/console"


class SignInController(Controller):
    """Open to everybody."""

    @get("/sign-in", sync_to_thread=True)
    def form(self, request: Request[Any, Any, Any], state: State) -> Response[Any]:
        """Show the form."""
        services: Services = state.services
        with services.database.reading(services.settings.tenant) as uow:
            anybody = bool(people.people(uow))
        wanted = _local(request.query_params.get("next", _HOME))
        return page(request, "sign_in.html", wanted=wanted, refused=False, name="", anybody=anybody)

    @post("/sign-in", sync_to_thread=True)
    def enter(self, data: Form, request: Request[Any, Any, Any], state: State) -> Response[Any]:
        """Check name and password; a new session for each time."""
        services: Services = state.services
        tenant, now = services.settings.tenant, services.system_now()
        name, wanted = text(data, "name"), _local(text(data, "next", _HOME))
        token = secrets.token_urlsafe(32)
        person = None
        if _is_name(name):
            person = people.sign_in(services.database, tenant, name, str(data.get("password", "")), token, now)
        if person is None:
            return page(request, "sign_in.html", status=403, wanted=wanted, refused=True, name=name, anybody=True)
        with services.database.writing(tenant) as uow:
            actor = audit.Actor(person.name, now, None, request_id(request.scope))
            audit.record(uow, actor, "person.sign_in", ("person", person.name))
        answer = go_to(wanted)
        answer.set_cookie(_session_cookie(services, token, int(people.SESSION_LASTS.total_seconds())))
        return answer

    @post("/preferences", sync_to_thread=False)
    def prefer(self, data: Form, state: State) -> Response[Any]:
        """Keep the language or the colours that were chosen, and go back."""
        services: Services = state.services
        answer = go_to(_local(text(data, "next", _HOME)))
        for field, cookie, known in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
            chosen = text(data, field)
            if chosen in known:
                answer.set_cookie(preference(cookie, chosen, secure=_is_live(services)))
        return answer


class SignOutController(Controller):
    """For those who are signed in."""

    @post("/sign-out", sync_to_thread=True)
    def leave(self, request: ConsoleRequest, state: State) -> Response[Any]:
        """End the session here and in the browser."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            people.sign_out(uow, request.cookies.get(SESSION_COOKIE, ""))
        answer = go_to(SIGN_IN)
        answer.set_cookie(_session_cookie(services, "", 0))
        return answer


def _session_cookie(services: Services, token: str, lasts: int) -> Cookie:
    return Cookie(
        key=SESSION_COOKIE, value=token, path=_COOKIE_PATH, max_age=lasts, httponly=True, samesite="lax",
        secure=_is_live(services),
    )  # fmt: skip


def _is_live(services: Services) -> bool:
    """Return whether cookies travel over TLS alone: always in live, not on the developer's own machine."""
    return services.settings.environment == "live"


def _is_name(name: str) -> bool:
    try:
        check_key(name, "name")
    except InvalidValueError:
        return False
    return True


def _local(address: str) -> str:
    """Return the address if it is one of the console's, its start otherwise: nobody is sent elsewhere."""
    ours = address == _HOME or address.startswith((f"{_HOME}/", f"{_HOME}?"))
    return address if ours and "\\" not in address and not any(ord(char) < 32 for char in address) else _HOME  # noqa: PLR2004
