"""Whether this process can serve: what a load balancer asks before it sends requests here."""

from __future__ import annotations

import asyncio

import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError

from api.services import Services
from models.values.errors import DomainError

PATIENCE_SECONDS = 5.0


class NotReadyError(DomainError):
    """A part that every request needs is missing. Says which one, and nothing of where it is."""

    code = "not_ready"


class Readiness:
    """Looks whether this process can serve, and waits for no database longer than who asks would.

    A look that does not come back is waited for by those who ask later, so that there is never more than one.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._look: asyncio.Future[NotReadyError | None] | None = None

    async def check(self) -> None:
        """Raise NotReadyError where a part is missing, or where the database has not answered in five seconds."""
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(anyio.to_thread.run_sync(_missing, self._services))
        await asyncio.wait({self._look}, timeout=PATIENCE_SECONDS)
        missing = self._look.result() if self._look.done() else NotReadyError("is too slow to answer", field="database")
        if missing is not None:
            raise missing


def _missing(services: Services) -> NotReadyError | None:
    try:
        check_ready(services)
    except NotReadyError as error:
        return error
    return None


def check_ready(services: Services) -> None:
    """Ask the database, compare its migrations with ours, read the signing key anew. Raises NotReadyError."""
    try:
        is_current = services.database.is_migrated()
    except SQLAlchemyError as error:
        raise NotReadyError("the database does not answer", field="database") from error
    if not is_current:
        raise NotReadyError("the schema is not the one this version needs", field="migrations")
    try:
        stored = services.settings.stored_signer()
    except (OSError, DomainError) as error:
        raise NotReadyError("the signing key cannot be read", field="signing_key") from error
    if stored.key_id != services.signer.key_id:
        raise NotReadyError("the signing key is not the one this process signs with", field="signing_key")
