"""API keys and the audit trail."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

import msgspec
from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.keys import AuditPage, KeyList, NewKeyView, audit_document, key_document
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import ApiKey, Scope, create_key, find_key, list_keys, read_scopes, revoke_key, rotate_key
from models.values.errors import InvalidValueError
from models.values.period import parse_instant


class KeyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A key to make. It can never do more than the key that makes it."""

    name: str
    scopes: list[str]
    expires_at: str | None = None


class RotationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For how long the key that is replaced still works beside the new one."""

    overlap_hours: Annotated[int, msgspec.Meta(ge=0, le=720)] = 24


class KeyController(Controller):
    """Keys of the caller's own tenant and environment."""

    path = "/v1/api-keys"
    tags = ("keys",)

    @get("/", operation_id="ListApiKeys", scopes=any_of(Scope.KEY_ADMIN), sync_to_thread=True)
    def list(self, request: ApiRequest, state: State) -> KeyList:
        """Return all keys without their secrets, oldest first."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return {"items": [key_document(key) for key in list_keys(uow)]}

    @post("/", operation_id="CreateApiKey", scopes=any_of(Scope.KEY_ADMIN), status_code=201, sync_to_thread=True)
    def create(self, data: JSONBody[KeyBody], request: ApiRequest, state: State) -> NewKeyView:
        """Make a key. Its token is in this answer and nowhere else: an answer that is lost is a key to revoke."""
        services: Services = state.services
        now = services.system_now()
        expires_at = None if data.expires_at is None else parse_instant(data.expires_at, "expires_at")
        _refuse_beyond(read_scopes(data.scopes), request.user.key)
        with services.database.writing(request.user.tenant) as uow:
            key, token = create_key(
                uow,
                data.name,
                services.settings.environment,
                data.scopes,
                secrets.token_hex(8),
                secrets.token_hex(32),
                now,
                expires_at,
            )
            audit.record(uow, actor_of(request, now), "key.create", ("api_key", key.id), after=key_document(key))
        return {**key_document(key), "token": token}

    @post(
        "/{key_id:str}/rotate",
        operation_id="RotateApiKey",
        scopes=any_of(Scope.KEY_ADMIN),
        status_code=201,
        sync_to_thread=True,
    )
    def rotate(
        self, key_id: FromPath[str], data: JSONBody[RotationBody], request: ApiRequest, state: State
    ) -> NewKeyView:
        """Make a key of the same name and scopes; the old one works beside it until the overlap is over."""
        services: Services = state.services
        now = services.system_now()
        ends_at = now + timedelta(hours=data.overlap_hours)
        with services.database.writing(request.user.tenant) as uow:
            old = find_key(uow, key_id)
            _refuse_beyond(old.scopes, request.user.key)
            key, token = rotate_key(uow, old, secrets.token_hex(8), secrets.token_hex(32), now, ends_at)
            actor = actor_of(request, now)
            audit.record(
                uow, actor, "key.rotate", ("api_key", key_id), before=key_document(old), after=key_document(key)
            )
        return {**key_document(key), "token": token}

    @delete("/{key_id:str}", operation_id="RevokeApiKey", scopes=any_of(Scope.KEY_ADMIN), sync_to_thread=True)
    def revoke(self, key_id: FromPath[str], request: ApiRequest, state: State) -> None:
        """Revoke a key at once; again changes nothing."""
        services: Services = state.services
        now = services.system_now()
        with services.database.writing(request.user.tenant) as uow:
            if revoke_key(uow, key_id, now):
                audit.record(uow, actor_of(request, now), "key.revoke", ("api_key", key_id))


class AuditController(Controller):
    """Who changed what."""

    path = "/v1/audit"
    tags = ("keys",)

    @get("/", operation_id="ListAuditEntries", scopes=any_of(Scope.KEY_ADMIN), sync_to_thread=True)
    def list(self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> AuditPage:
        """Return the audit trail, oldest first."""
        services: Services = state.services
        after = read_cursor(services, request.user.tenant, "audit", cursor)
        with services.database.reading(request.user.tenant) as uow:
            found = audit.entries(uow, after=after[0] if after else 0, limit=limit)
        items = [audit_document(each) for each in found]
        return page(services, request.user.tenant, "audit", items, limit, [found[-1].sequence] if found else [])


def _refuse_beyond(scopes: Iterable[str], caller: ApiKey) -> None:
    """Refuse to hand out what the calling key has not itself."""
    beyond = sorted(set(scopes) - caller.scopes)
    if beyond:
        raise InvalidValueError("the calling key lacks it", field="scopes", value=beyond[0], code="beyond_own_scopes")
