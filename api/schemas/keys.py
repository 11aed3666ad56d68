"""Keys as their owners may see them, everything but the secret; and who changed what."""

from __future__ import annotations

from typing import TypedDict

from billing.api_keys import ApiKey
from billing.audit import AuditEntry


class KeyView(TypedDict):
    """A key without its secret."""

    id: str
    name: str
    environment: str
    last_four: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKeyView(KeyView):
    """A key that was just made; its `token` is shown this once."""

    token: str


class KeyList(TypedDict):
    """All keys of a tenant, oldest first."""

    items: list[KeyView]


class AuditedObjectView(TypedDict):
    """What was changed."""

    type: str
    id: str


class AuditEntryView(TypedDict):
    """One change: who made it, with which key, to what. The hashes are of the object before and after."""

    sequence: int
    actor: str
    key: str | None
    action: str
    object: AuditedObjectView
    before_hash: str | None
    after_hash: str | None
    request_id: str
    recorded_at: str


class AuditPage(TypedDict):
    """A page of the audit trail, oldest first."""

    items: list[AuditEntryView]
    next_cursor: str | None


def key_document(key: ApiKey) -> KeyView:
    """Show a key."""
    return {
        "id": key.id,
        "name": key.name,
        "environment": key.environment,
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
    }


def audit_document(entry: AuditEntry) -> AuditEntryView:
    """Show a change."""
    return {
        "sequence": entry.sequence,
        "actor": entry.actor,
        "key": entry.key_id,
        "action": entry.action,
        "object": {"type": entry.object_type, "id": entry.object_id},
        "before_hash": entry.before_hash,
        "after_hash": entry.after_hash,
        "request_id": entry.request_id,
        "recorded_at": entry.recorded_at.isoformat(),
    }
