"""Keys that have just proved themselves: checked against the database once a second, not once a request.

A key that is revoked or rotated here is forgotten here at once; other processes ask again within a second.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime

import anyio.to_thread

from billing.api_keys import ApiKey, Presented, authenticate
from billing.database import Database

KEPT_SECONDS = 1.0
_MAX_KEPT = 10_000


class KnownKeys:
    """What recently presented tokens proved. Only good ones are kept, under a hash: no secret stays in memory."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[float, str, ApiKey]] = {}
        self._forgotten = 0

    async def check(self, database: Database, presented: Presented, at: datetime) -> ApiKey | None:
        """Return the key a token proves at `at`, or None."""
        name = hashlib.sha256("\x00".join((presented.tenant, presented.key_id, presented.secret)).encode()).digest()
        kept = self._kept.get(name)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[2] if kept[2].is_live_at(at) else None
        forgotten = self._forgotten
        key = await anyio.to_thread.run_sync(_read, database, presented, at)
        if key is not None and forgotten == self._forgotten:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[name] = (time.monotonic() + KEPT_SECONDS, presented.tenant, key)
        return key

    def forget(self, tenant: str) -> None:
        """Ask the database again for every key of a tenant."""
        self._forgotten += 1
        self._kept = {name: kept for name, kept in self._kept.items() if kept[1] != tenant}


def _read(database: Database, presented: Presented, at: datetime) -> ApiKey | None:
    with database.reading(presented.tenant) as uow:
        return authenticate(uow, presented, at)
