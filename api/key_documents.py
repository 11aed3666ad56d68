"""A key as its owner may see it: everything but the secret."""

from __future__ import annotations

from typing import Any

from billing.api_keys import ApiKey


def key_document(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON."""
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
