"""Who is at the console: a server-side session named by an HttpOnly cookie, and what the person's roles open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.patience import in_worker
from api.security import ForbiddenError
from api.services import Services
from billing.people import Person, Role, person_signed_in
from models.values.errors import DomainError

SESSION_COOKIE = "alacarte_session"
SIGN_IN = "/console/sign-in"

Connection = ASGIConnection[Any, Any, Any, Any]


class SignInNeededError(DomainError):
    """Nobody is signed in, or not any more.

    `address` is where to sign in and come back from, None where a form was sent: that is lost to whoever is led away
    from it, and sent again from a page of its own by reloading that.
    """

    code = "sign_in_needed"

    def __init__(self, wanted: str | None) -> None:
        super().__init__("sign in first", field="session")
        self.address = None if wanted is None else f"{SIGN_IN}?next={quote(wanted)}"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person at the console of a tenant."""

    tenant: str
    person: Person

    def opens(self, *roles: str) -> bool:
        """Return whether the person has any of `roles`."""
        return self.person.has(*map(Role, roles))


class SessionAuthentication(AbstractAuthenticationMiddleware):
    """Reads the session cookie. The console is that of the tenant the server was started for."""

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Return the visitor. Raises SignInNeededError."""
        token = connection.cookies.get(SESSION_COOKIE, "")
        services: Services = connection.app.state.services
        person = await in_worker(_signed_in, services, token) if token else None
        if person is None:
            wanted = connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
            raise SignInNeededError(wanted if connection.scope["method"] == "GET" else None)
        return AuthenticationResult(user=Visitor(services.settings.tenant, person), auth=None)


def _signed_in(services: Services, token: str) -> Person | None:
    with services.database.reading(services.settings.tenant) as uow:
        return person_signed_in(uow, token, services.system_now())


def has_role(*roles: Role) -> Any:  # noqa: ANN401
    """Return a guard that lets people with any of `roles` pass."""

    async def guard(
        connection: Connection, _handler: BaseRouteHandler
    ) -> None:  # Litestar runs a plain one in a thread.
        visitor: Visitor = connection.user
        if not visitor.person.has(*roles):
            raise ForbiddenError("opens this to nobody else", field="role", value=" / ".join(roles))

    return guard
