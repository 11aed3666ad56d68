"""The audit trail: who changed what, when, from which document to which, written in the change's own transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select, text

from billing.unit_of_work import UnitOfWork
from models.tables.access import AuditRow
from models.tables.base import table_of
from models.values.canonical_json import Json, content_hash

_AUDIT = table_of(AuditRow)
_LOCK = text("select pg_advisory_xact_lock(:kind, :tenant)")
_KIND = 0x61756474


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a name, the key it came with, and the request it is part of."""

    name: str
    at: datetime
    key_id: str | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `sequence` counts a tenant's changes without gap; the hashes name the documents."""

    sequence: int
    actor: str
    key_id: str | None
    action: str
    object_type: str
    object_id: str
    before_hash: str | None
    after_hash: str | None
    request_id: str
    recorded_at: datetime


def record(
    uow: UnitOfWork,
    actor: Actor,
    action: str,
    of: tuple[str, str],
    *,
    before: Json = None,
    after: Json = None,
) -> None:
    """Write one entry. `of`: type and id of what is changed; `before` and `after`: its documents, None for none."""
    if not uow.is_sqlite:
        digest = hashlib.blake2b(uow.tenant.encode(), digest_size=4).digest()
        uow.connection.execute(_LOCK, {"kind": _KIND, "tenant": int.from_bytes(digest, "big", signed=True)})
    last = uow.connection.scalar(select(func.max(_AUDIT.c.sequence)).where(_AUDIT.c.tenant == uow.tenant)) or 0
    named = hashlib.sha256(f"{uow.tenant}\x00{last + 1}".encode()).digest()
    uow.connection.execute(
        insert(_AUDIT).values(
            tenant=uow.tenant,
            id=str(UUID(bytes=named[:16])),
            sequence=last + 1,
            actor=actor.name,
            key_id=actor.key_id,
            action=action,
            object_type=of[0],
            object_id=of[1],
            before_hash=None if before is None else content_hash(before),
            after_hash=None if after is None else content_hash(after),
            request_id=actor.request_id,
            recorded_at=actor.at,
        )
    )


def record_change(
    uow: UnitOfWork, actor: Actor, action: str, of: tuple[str, str], *, before: Json, after: Json
) -> None:
    """Write one entry, unless nothing changed: what is asked for again and was done before is nobody's act."""
    if before != after:
        record(uow, actor, action, of, before=before, after=after)


def entries(uow: UnitOfWork, *, after: int = 0, limit: int = 100) -> list[AuditEntry]:
    """Return the entries beyond a sequence number, in order."""
    columns = [_AUDIT.c[name] for name in AuditEntry.__slots__]
    rows = uow.connection.execute(
        select(*columns)
        .where(_AUDIT.c.tenant == uow.tenant, _AUDIT.c.sequence > after)
        .order_by(_AUDIT.c.sequence)
        .limit(limit)
    ).mappings()
    return [AuditEntry(**row) for row in rows]
