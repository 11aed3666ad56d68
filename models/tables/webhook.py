"""Outgoing webhooks: where they go, how they are signed, what is to be delivered and how each attempt went."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Integer, LargeBinary
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow

_ID = 40


class WebhookEndpointRow(TenantRow, table=True):
    """A receiver. `event_types`: those it wants, none for all. `failing_since`: nothing has arrived since then."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        CheckConstraint("state in ('active', 'disabled')", name="state"),
        CheckConstraint("state = 'disabled' or reason is null", name="reason"),
    )

    id: str = Field(primary_key=True, max_length=_ID)
    url: str = Field(max_length=2000)
    description: str = Field(default="", max_length=200)
    event_types: Any = Field(sa_type=CanonicalJson)
    state: str = Field(default="active", max_length=8)
    reason: str | None = Field(default=None, max_length=200)
    failing_since: datetime | None = Field(default=None, sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)


class WebhookSecretRow(TenantRow, table=True):
    """One signing secret of an endpoint, encrypted. During a rotation two are live, the older until `expires_at`."""

    __tablename__ = "webhook_secret"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "endpoint"], ["webhook_endpoint.tenant", "webhook_endpoint.id"]),
        CheckConstraint("generation >= 1", name="generation"),
    )

    endpoint: str = Field(primary_key=True, max_length=_ID)
    generation: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    key_id: str = Field(max_length=64)
    encrypted: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)


class WebhookEventRow(TenantRow, table=True):
    """Something that happened, once by its id, written with the change itself. It never changes afterwards."""

    __tablename__ = "webhook_event"
    __table_args__ = (Index("ix_webhook_event_recorded", "tenant", "recorded_at", "id"),)

    id: str = Field(primary_key=True, max_length=_ID)
    type: str = Field(max_length=60)
    data: Any = Field(sa_type=CanonicalJson)
    recorded_at: datetime = Field(sa_type=UtcTime)


class WebhookDeliveryRow(TenantRow, table=True):
    """One event on its way to one endpoint. `tries` counts since it was last queued, `attempts` for ever."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "endpoint"], ["webhook_endpoint.tenant", "webhook_endpoint.id"]),
        # Named: both keys begin with the tenant, so the convention would name them alike.
        ForeignKeyConstraint(
            ["tenant", "event"], ["webhook_event.tenant", "webhook_event.id"], name="fk_webhook_delivery_event"
        ),
        CheckConstraint("state in ('waiting', 'in_flight', 'delivered', 'failed')", name="state"),
        CheckConstraint("(state = 'in_flight') = (lease_owner is not null)", name="lease"),
        CheckConstraint("(lease_owner is null) = (lease_until is null)", name="lease_until"),
        CheckConstraint("tries >= 0 and attempts >= tries", name="counts"),
        Index("ix_webhook_delivery_due", "tenant", "state", "next_at"),
    )

    endpoint: str = Field(primary_key=True, max_length=_ID)
    event: str = Field(primary_key=True, max_length=_ID)
    state: str = Field(default="waiting", max_length=9)
    tries: int = 0
    attempts: int = 0
    next_at: datetime = Field(sa_type=UtcTime)
    lease_owner: str | None = Field(default=None, max_length=120)
    lease_until: datetime | None = Field(default=None, sa_type=UtcTime)
    delivered_at: datetime | None = Field(default=None, sa_type=UtcTime)


class WebhookAttemptRow(TenantRow, table=True):
    """One attempt: the status that came back, or why none did, and the beginning of the answer."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "endpoint", "event"],
            ["webhook_delivery.tenant", "webhook_delivery.endpoint", "webhook_delivery.event"],
        ),
        CheckConstraint("(status is null) = (error is not null)", name="outcome"),
    )

    endpoint: str = Field(primary_key=True, max_length=_ID)
    event: str = Field(primary_key=True, max_length=_ID)
    number: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    status: int | None = None
    error: str | None = Field(default=None, max_length=300)
    answer: str = Field(default="", max_length=1000)
    took_ms: int
    attempted_at: datetime = Field(sa_type=UtcTime)
