"""Who calls and what they may do: keys are checked on every request, scopes are declared on the handlers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from api.services import Services
from billing.api_keys import ApiKey, Presented, Scope, authenticate, parse_token
from billing.unit_of_work import UnitOfWork
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
    """The tenant a request acts for, the key it came with, and how far the tenant's clock runs ahead.

    `ahead` is kept as the key is: a second old at most, where another process moved the clock. What is written, or read
    in a transaction, asks `Services.now`.
    """

    tenant: str
    key: ApiKey
    ahead: timedelta = timedelta(0)


class KeyAuthentication(AbstractAuthenticationMiddleware):
    """Reads `Authorization: Bearer ala_...`; the tenant comes from the key and from nowhere else."""

    async def authenticate_request(self, connection: Connection) -> AuthenticationResult:
        """Return the caller. Raises UnauthenticatedError."""
        headers = connection.scope["headers"]  # As they came: one is needed, and reading all of them takes long.
        header = next((value for name, value in headers if name == b"authorization"), b"").decode("latin-1")
        kind, _, token = header.partition(" ")
        presented = parse_token(token.strip()) if kind.lower() == "bearer" else None
        services: Services = connection.app.state.services
        if presented is None or presented.environment != services.settings.environment:
            raise UnauthenticatedError(
                f"needs a {services.settings.environment} API key: Authorization: Bearer ala_...", field="authorization"
            )
        now = services.system_now()
        # Named by the hash of its secret, so that no secret stays in memory.
        name = ("key", presented.key_id, hashlib.sha256(presented.secret.encode()).digest())
        read = partial(_read_caller, services=services, presented=presented, at=now)
        caller = await services.kept.get(presented.tenant, name, read, at=now)
        if caller is None or not caller.key.is_live_at(now):
            raise UnauthenticatedError("key is unknown, revoked or expired", field="authorization")
        return AuthenticationResult(user=caller, auth=caller.key)


def _read_caller(uow: UnitOfWork, services: Services, presented: Presented, at: datetime) -> Caller | None:
    key = authenticate(uow, presented, at)
    return None if key is None else Caller(presented.tenant, key, services.time.ahead(uow))


def requires(*scopes: Scope) -> Any:  # noqa: ANN401
    """Return a guard that lets keys with any of `scopes` pass."""

    async def guard(
        connection: Connection, _handler: BaseRouteHandler
    ) -> None:  # Litestar runs a plain one in a thread.
        caller: Caller = connection.user
        if caller.key.scopes.isdisjoint(scopes):
            raise ForbiddenError(
                f"needs one of the scopes {', '.join(scopes)}", field="authorization", value=sorted(caller.key.scopes)
            )

    guard.scopes = frozenset(scopes)  # type: ignore[attr-defined]  # For the OpenAPI document.
    return guard
