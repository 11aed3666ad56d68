"""Who may write usage of a tenant at the same time.

Ingesting writers share; whoever moves a cutoff, begins a counter or recounts is alone, so that no event slips through
between what was read and what is decided on it. SQLite has one writer anyway.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import text

from billing.unit_of_work import UnitOfWork

_USAGE = 0x75736167
_SHARE = text("select pg_advisory_xact_lock_shared(:kind, :tenant)")
_ALONE = text("select pg_advisory_xact_lock(:kind, :tenant)")


def shared(uow: UnitOfWork) -> None:
    """Write beside other ingesting writers, until the transaction ends."""
    if not uow.is_sqlite:
        uow.connection.execute(_SHARE, _key(uow.tenant))


def alone(uow: UnitOfWork) -> None:
    """Be the only writer of this tenant's usage, until the transaction ends."""
    if not uow.is_sqlite:
        uow.connection.execute(_ALONE, _key(uow.tenant))


def _key(tenant: str) -> dict[str, int]:
    digest = hashlib.blake2b(tenant.encode(), digest_size=4).digest()
    return {"kind": _USAGE, "tenant": int.from_bytes(digest, "big", signed=True)}
