"""Who may call, what was changed by whom, and what an idempotency key was answered with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from models.column_types import BIG_SERIAL, CanonicalJson, UtcTime
from models.tables.base import TenantRow


class ApiKeyRow(TenantRow, table=True):
    """One API key. Only the hash of its secret is kept; the secret is shown once."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint("environment in ('sandbox', 'live')", name="environment"),)

    id: str = Field(primary_key=True, max_length=32)
    name: str = Field(max_length=120)
    environment: str = Field(max_length=8)
    secret_hash: str = Field(max_length=64)
    last_four: str = Field(max_length=4)
    scopes: Any = Field(sa_type=CanonicalJson)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcTime)


class RequestKeyRow(TenantRow, table=True):
    """An idempotency key: what was asked under it, and what was answered."""

    __tablename__ = "request_key"
    __table_args__ = (CheckConstraint("(status is null) = (answer is null)", name="answered"),)

    key: str = Field(primary_key=True, max_length=120)
    body_hash: str = Field(max_length=64)
    status: int | None = None
    answer: str | None = None
    recorded_at: datetime = Field(sa_type=UtcTime)


class AuditRow(TenantRow, table=True):
    """One change: who, what, to which object, from which document to which (by hash). Only ever added to."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        UniqueConstraint("tenant", "sequence"),
        Index("ix_audit_entry_tenant_object", "tenant", "object_type", "object_id"),
    )

    id: str = Field(primary_key=True, max_length=36)
    sequence: int = Field(sa_type=BIG_SERIAL)
    actor: str = Field(max_length=120)
    key_id: str | None = Field(default=None, max_length=32)
    action: str = Field(max_length=120)
    object_type: str = Field(max_length=60)
    object_id: str = Field(max_length=120)
    before_hash: str | None = Field(default=None, max_length=64)
    after_hash: str | None = Field(default=None, max_length=64)
    request_id: str = Field(max_length=36)
    recorded_at: datetime = Field(sa_type=UtcTime)
