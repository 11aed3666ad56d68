"""Who calls and what they may do: keys are checked on every request, scopes are declared on the handlers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope as ASGIScope

from api.services import Services
from billing.api_keys import ApiKey, Presented, Scope, authenticate, parse_token
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError

NeededScopes = tuple[frozenset[Scope], ...]
"""A key needs one scope of each set."""


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


async def authenticated(scope: ASGIScope) -> Caller:
    """Return who sends `Authorization: Bearer ala_...`; the tenant comes from the key and from nowhere else.

    Raises UnauthenticatedError.
    """
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
    kind, _, token = header.partition(" ")
    presented = parse_token(token.strip()) if kind.lower() == "bearer" else None
    services: Services = scope["litestar_app"].state.services
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
    return caller


def _read_caller(uow: UnitOfWork, services: Services, presented: Presented, at: datetime) -> Caller | None:
    key = authenticate(uow, presented, at)
    if key is None:
        return None
    services.tenants.add(presented.tenant)
    return Caller(presented.tenant, key, services.time.ahead(uow))


def any_of(*scopes: Scope) -> NeededScopes:
    """Return the option of a handler that a key with any of `scopes` may call."""
    return (frozenset(scopes),)


def all_of(*scopes: Scope) -> NeededScopes:
    """Return the option of a handler that only a key with every one of `scopes` may call."""
    return tuple(frozenset({scope}) for scope in scopes)


def needed_scopes(handler: BaseRouteHandler) -> NeededScopes:
    """Return what a handler declares as `scopes`. Raises KeyError for one that declares nothing: it is for nobody."""
    needed: NeededScopes = handler.opt["scopes"]
    return needed


def check_scopes(handler: BaseRouteHandler, caller: Caller) -> None:
    """Raise ForbiddenError unless the caller's key reaches the handler."""
    for alternatives in needed_scopes(handler):
        if caller.key.scopes.isdisjoint(alternatives):
            raise ForbiddenError(
                f"needs one of the scopes {', '.join(sorted(alternatives))}",
                field="authorization",
                value=", ".join(sorted(caller.key.scopes)),
            )
