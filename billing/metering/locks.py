"""Who may write usage of a tenant at the same time.

Ingesting writers share; whoever moves a cutoff, begins a counter or recounts is alone, so that no event slips through
between what was read and what is decided on it. SQLite has one writer anyway.
"""

from __future__ import annotations

import hashlib

from billing.unit_of_work import UnitOfWork

_USAGE = 0x75736167


def shared(uow: UnitOfWork) -> None:
    """Write beside other ingesting writers, until the transaction ends or `unshare`."""
    if not uow.is_sqlite:
        _execute(uow, f"savepoint usage_shared; select pg_advisory_xact_lock_shared({_key(uow.tenant)})")


def unshare(uow: UnitOfWork) -> None:
    """Let go of the lock that `shared` took, undoing what was written since."""
    if not uow.is_sqlite:
        _execute(uow, "rollback to savepoint usage_shared")


def alone(uow: UnitOfWork) -> None:
    """Be the only writer of this tenant's usage, until the transaction ends."""
    if not uow.is_sqlite:
        _execute(uow, f"select pg_advisory_xact_lock({_key(uow.tenant)})")


def _execute(uow: UnitOfWork, statement: str) -> None:
    uow.connection.connection.driver_connection.execute(statement)  # type: ignore[union-attr]


def _key(tenant: str) -> str:
    digest = hashlib.blake2b(tenant.encode(), digest_size=4).digest()
    return f"{_USAGE}, {int.from_bytes(digest, 'big', signed=True)}"
