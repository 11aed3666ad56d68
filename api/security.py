"""Who calls and what they may do: keys are checked on every request, scopes are declared on the handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.services import Services
from billing.api_keys import ApiKey, Presented, Scope, authenticate, parse_token
from models.values.errors import DomainError

Connection = ASGIConnection[Any, Any, Any, Any]


class UnauthenticatedError(DomainError):
    """No key, or one that proves nothing."""

    code = "unauthenticated"


class ForbiddenError(DomainError):
    """The key is good, its scopes do not reach."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant a request acts for, and the key it came with."""

    tenant: str
    key: ApiKey


class KeyAuthentication(AbstractAuthenticationMiddleware):
    """Reads `Authorization: Bearer ala_...`; the tenant comes from the key and from nowhere else."""

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Return the caller. Raises UnauthenticatedError."""
        header = connection.headers.get("authorization", "")
        kind, _, token = header.partition(" ")
        presented = parse_token(token.strip()) if kind.lower() == "bearer" else None
        services: Services = connection.app.state.services
        if presented is None or presented.environment != services.settings.environment:
            raise UnauthenticatedError(
                f"needs a {services.settings.environment} API key: Authorization: Bearer ala_...", field="authorization"
            )
        key = await anyio.to_thread.run_sync(_check, services, presented)
        if key is None:
            raise UnauthenticatedError("key is unknown, revoked or expired", field="authorization")
        return AuthenticationResult(user=Caller(presented.tenant, key), auth=key)


def _check(services: Services, presented: Presented) -> ApiKey | None:
    with services.database.reading(presented.tenant) as uow:
        return authenticate(uow, presented, services.now())


def requires(*scopes: Scope) -> Any:  # noqa: ANN401
    """Return a guard that lets keys with any of `scopes` pass."""

    def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        caller: Caller = connection.user
        if caller.key.scopes.isdisjoint(scopes):
            raise ForbiddenError(
                f"needs one of the scopes {', '.join(scopes)}", field="authorization", value=sorted(caller.key.scopes)
            )

    return guard
