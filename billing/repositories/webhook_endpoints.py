"""Rows of webhook endpoints and their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from billing.repositories.inserting import insert_new
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.webhook import WebhookAttemptRow, WebhookDeliveryRow, WebhookEndpointRow, WebhookSecretRow
from models.values.errors import NotFoundError

ENDPOINT = table_of(WebhookEndpointRow)
SECRET = table_of(WebhookSecretRow)
_DELIVERY = table_of(WebhookDeliveryRow)
ACTIVE, DISABLED = "active", "disabled"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver of events. `event_types`: empty for all. `failing_since`: nothing has arrived since then."""

    id: str
    url: str
    description: str
    event_types: frozenset[str]
    state: str
    reason: str | None
    failing_since: datetime | None
    created_at: datetime

    @property
    def is_active(self) -> bool:
        """Whether events are sent to it."""
        return self.state == ACTIVE

    def wants(self, event_type: str) -> bool:
        """Whether it asked for events of this type."""
        return not self.event_types or event_type in self.event_types


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A signing secret as it is kept: encrypted, with the id of the key it is encrypted under."""

    generation: int
    key_id: str
    encrypted: bytes
    created_at: datetime
    expires_at: datetime | None


def every(uow: UnitOfWork) -> list[Endpoint]:
    """Return all endpoints, oldest first."""
    query = select(ENDPOINT).where(ENDPOINT.c.tenant == uow.tenant).order_by(ENDPOINT.c.created_at, ENDPOINT.c.id)
    return [_endpoint(row) for row in uow.connection.execute(query)]


def find(uow: UnitOfWork, endpoint: str, *, lock: bool = False) -> Endpoint | None:
    """Return one endpoint, None where there is none. `lock`: against other changes, not against new deliveries."""
    query = select(ENDPOINT).where(ENDPOINT.c.tenant == uow.tenant, ENDPOINT.c.id == endpoint)
    row = uow.connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _endpoint(row)


def get(uow: UnitOfWork, endpoint: str, *, lock: bool = False) -> Endpoint:
    """Return one endpoint. Raises NotFoundError."""
    found = find(uow, endpoint, lock=lock)
    if found is None:
        raise NotFoundError(
            "no such webhook endpoint", field="webhook_endpoint", value=endpoint, code="unknown_webhook_endpoint"
        )
    return found


def add(uow: UnitOfWork, endpoint: Endpoint) -> bool:
    """Insert an endpoint; False where its id is taken."""
    row = {
        "tenant": uow.tenant,
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "event_types": sorted(endpoint.event_types),
        "state": endpoint.state,
        "created_at": endpoint.created_at,
    }
    return insert_new(uow, ENDPOINT, row)


def change(uow: UnitOfWork, endpoint: str, **values: Any) -> None:  # noqa: ANN401
    """Change columns of an endpoint."""
    uow.connection.execute(
        update(ENDPOINT).where(ENDPOINT.c.tenant == uow.tenant, ENDPOINT.c.id == endpoint).values(**values)
    )


def remove(uow: UnitOfWork, endpoint: str) -> None:
    """Remove an endpoint with its secrets, deliveries and attempts; the events stay."""
    under_way = select(_DELIVERY.c.event).where(_DELIVERY.c.tenant == uow.tenant, _DELIVERY.c.endpoint == endpoint)
    uow.connection.execute(under_way.with_for_update()).all()  # A worker that logs an attempt now comes first.
    for table in map(table_of, (WebhookAttemptRow, WebhookDeliveryRow, WebhookSecretRow)):
        uow.connection.execute(delete(table).where(table.c.tenant == uow.tenant, table.c.endpoint == endpoint))
    uow.connection.execute(delete(ENDPOINT).where(ENDPOINT.c.tenant == uow.tenant, ENDPOINT.c.id == endpoint))


def live_secrets(uow: UnitOfWork, endpoint: str, now: datetime) -> list[KeptSecret]:
    """Return the secrets that sign at `now`, newest first."""
    query = (
        select(SECRET)
        .where(
            SECRET.c.tenant == uow.tenant,
            SECRET.c.endpoint == endpoint,
            or_(SECRET.c.expires_at.is_(None), SECRET.c.expires_at > now),
        )
        .order_by(SECRET.c.generation.desc())
    )
    return [
        KeptSecret(row.generation, row.key_id, row.encrypted, row.created_at, row.expires_at)
        for row in uow.connection.execute(query)
    ]


def newest_generation(uow: UnitOfWork, endpoint: str) -> int:
    """Return which secret is the newest, 0 where there is none."""
    mine = (SECRET.c.tenant == uow.tenant) & (SECRET.c.endpoint == endpoint)
    return uow.connection.execute(select(func.max(SECRET.c.generation)).where(mine)).scalar_one() or 0


def replace_secret(
    uow: UnitOfWork, endpoint: str, key_id: str, encrypted: bytes, now: datetime, old_until: datetime
) -> None:
    """Add a secret. The one before it lives until `old_until`; older ones are gone: never more than two are live."""
    mine = (SECRET.c.tenant == uow.tenant) & (SECRET.c.endpoint == endpoint)
    latest = newest_generation(uow, endpoint)
    uow.connection.execute(delete(SECRET).where(mine, SECRET.c.generation < latest))
    uow.connection.execute(update(SECRET).where(mine).values(expires_at=old_until))
    uow.connection.execute(
        insert(SECRET).values(
            tenant=uow.tenant,
            endpoint=endpoint,
            generation=latest + 1,
            key_id=key_id,
            encrypted=encrypted,
            created_at=now,
        )
    )


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        url=row.url,
        description=row.description,
        event_types=frozenset(row.event_types),
        state=row.state,
        reason=row.reason,
        failing_since=row.failing_since,
        created_at=row.created_at,
    )
