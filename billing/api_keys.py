"""API keys: `ala_<environment>_<tenant>.<id>_<secret>`; shown once, kept as a hash, checked in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import insert, select, update

from billing.unit_of_work import UnitOfWork
from models.tables.access import ApiKeyRow
from models.tables.base import table_of
from models.values.errors import InvalidValueError, NotFoundError, RuleBrokenError

PREFIX = "ala"
ENVIRONMENTS = ("sandbox", "live")
_KEY = table_of(ApiKeyRow)
_PARTS = 3


class Scope(StrEnum):
    """What a key may do."""

    QUOTE = "quote"
    INGEST = "ingest"
    READ = "read"
    PRICE_ADMIN = "price_admin"
    PRICE_APPROVE = "price_approve"
    FINANCE = "finance"
    REFUND = "refund"
    KEY_ADMIN = "key_admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

    id: str
    name: str
    environment: str
    last_four: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_live_at(self, at: datetime) -> bool:
        """Return whether the key works at `at`."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class Presented:
    """A token taken apart: which key it claims to be, and the secret that has to prove it."""

    environment: str
    tenant: str
    key_id: str
    secret: str


def parse_token(token: str) -> Presented | None:
    """Take a token apart, or return None where it has not the form of one."""
    head, _, secret = token.rpartition("_")
    parts = head.split("_", _PARTS - 1)
    if len(parts) != _PARTS or parts[0] != PREFIX or parts[1] not in ENVIRONMENTS or not secret:
        return None
    tenant, dot, key_id = parts[2].rpartition(".")
    return Presented(parts[1], tenant, key_id, secret) if dot and tenant and key_id else None


def create_key(
    uow: UnitOfWork,
    name: str,
    environment: str,
    scopes: Iterable[str],
    key_id: str,
    secret: str,
    at: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Store a key and return it with its token, which nobody can see again.

    `key_id` and `secret`: fresh hex from the caller, the secret 256 bits. Raises InvalidValueError.
    """
    if environment not in ENVIRONMENTS:
        raise InvalidValueError(f"must be one of {', '.join(ENVIRONMENTS)}", field="environment", value=environment)
    wanted = frozenset(read_scopes(scopes))
    if not wanted:
        raise InvalidValueError("needs at least one scope", field="scopes")
    if not name.strip():
        raise InvalidValueError("must not be empty", field="name", value=name, code="name_required")
    if expires_at is not None and expires_at <= at:
        shown = expires_at.isoformat()
        raise InvalidValueError("must lie ahead", field="expires_at", value=shown, code="expires_in_the_past")
    uow.facts_change()
    key = ApiKey(key_id, name, environment, secret[-4:], wanted, at, expires_at)
    uow.connection.execute(
        insert(_KEY).values(
            tenant=uow.tenant,
            id=key_id,
            name=name,
            environment=environment,
            secret_hash=_hash(secret),
            last_four=key.last_four,
            scopes=sorted(wanted),
            created_at=at,
            expires_at=expires_at,
        )
    )
    return key, f"{PREFIX}_{environment}_{uow.tenant}.{key_id}_{secret}"


def read_scopes(names: Iterable[str]) -> list[Scope]:
    """Return the scopes of those names. Raises InvalidValueError for one that is unknown."""
    scopes = []
    for name in names:
        try:
            scopes.append(Scope(name))
        except ValueError as error:
            raise InvalidValueError(f"must be one of {', '.join(Scope)}", field="scopes", value=name) from error
    return scopes


def authenticate(uow: UnitOfWork, presented: Presented, at: datetime) -> ApiKey | None:
    """Return the key a token proves, or None: unknown, wrong secret, revoked, expired or of another environment."""
    row = (
        uow.connection.execute(select(_KEY).where(_KEY.c.tenant == uow.tenant, _KEY.c.id == presented.key_id))
        .mappings()
        .first()
    )
    known_hash = row["secret_hash"] if row is not None else _hash("")
    proven = hmac.compare_digest(known_hash, _hash(presented.secret))
    if row is None or not proven or row["environment"] != presented.environment:
        return None
    key = _key(dict(row))
    return key if key.is_live_at(at) else None


def list_keys(uow: UnitOfWork) -> list[ApiKey]:
    """Return all keys of the tenant, newest last."""
    rows = uow.connection.execute(
        select(_KEY).where(_KEY.c.tenant == uow.tenant).order_by(_KEY.c.created_at, _KEY.c.id)
    ).mappings()
    return [_key(dict(row)) for row in rows]


def find_key(uow: UnitOfWork, key_id: str) -> ApiKey:
    """Return one key. Raises NotFoundError."""
    row = (
        uow.connection.execute(select(_KEY).where(_KEY.c.tenant == uow.tenant, _KEY.c.id == key_id)).mappings().first()
    )
    if row is None:
        raise NotFoundError("no such key", field="api_key", value=key_id, code="unknown_api_key")
    return _key(dict(row))


def rotate_key(
    uow: UnitOfWork, old: ApiKey, key_id: str, secret: str, at: datetime, ends_at: datetime
) -> tuple[ApiKey, str]:
    """Replace a key that works by one of the same name, scopes and expiry; until `ends_at` both work.

    Raises RuleBrokenError for a key that has ended.
    """
    if not old.is_live_at(at):
        raise RuleBrokenError("has ended; make a new one", field="api_key", value=old.id, code="api_key_ended")
    last = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
    mine = (_KEY.c.tenant == uow.tenant) & (_KEY.c.id == old.id)
    uow.connection.execute(update(_KEY).where(mine).values(expires_at=last))
    return create_key(uow, old.name, old.environment, old.scopes, key_id, secret, at, old.expires_at)


def revoke_key(uow: UnitOfWork, key_id: str, at: datetime) -> bool:
    """Revoke a key at once and return whether that changed anything: again does not. Raises NotFoundError."""
    uow.facts_change()
    find_key(uow, key_id)
    mine = (_KEY.c.tenant == uow.tenant) & (_KEY.c.id == key_id)
    done = uow.connection.execute(update(_KEY).where(mine, _KEY.c.revoked_at.is_(None)).values(revoked_at=at))
    return done.rowcount == 1


def _key(row: dict[str, object]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row["scopes"])  # type: ignore[attr-defined]
    names = ("id", "name", "environment", "last_four", "created_at", "expires_at", "revoked_at")
    return ApiKey(**{name: row[name] for name in names}, scopes=scopes)  # type: ignore[arg-type]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
