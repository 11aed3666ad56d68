"""Whether this process can serve: what a load balancer asks before it sends requests here."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from api.services import Services
from models.values.errors import DomainError


class NotReadyError(DomainError):
    """A part that every request needs is missing. Says which one, and nothing of where it is."""

    code = "not_ready"


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
