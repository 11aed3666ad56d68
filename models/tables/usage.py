"""Usage: the events as they came, for ever, and what is kept beside them so that nothing about them is lost.

`usage_event` is append-only (`models.migrations.rules_usage`): a correction or cancellation is a further event
that names the one it corrects. Everything else here can be rebuilt from the events.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from models.column_types import CanonicalJson, ExactAmount, UtcTime
from models.tables.base import TenantRow

_WITHOUT_ROWID = {"sqlite_with_rowid": False}
_EVENT = ["usage_event.tenant", "usage_event.source", "usage_event.event_id"]
_IS_CORRECTION = text("corrects_id is not null")
_IS_OPEN = text("resolved_at is null")
_IS_UNSETTLED = text("settled_by is null")


class UsageEventRow(TenantRow, table=True):
    """One usage event as it was sent. (tenant, source, event_id) is its idempotency key, for ever.

    `occurred_at`: when it counts. `recorded_at`: when it was stored. `bucket`: `bucket_of(tenant, customer)`.
    `body_hash`: SHA-256 of the event's canonical form; the same key with another hash is a conflict.
    """

    __tablename__ = "usage_event"
    __table_args__ = (
        CheckConstraint("(corrects_id is null) = (corrects_source is null)", name="corrects"),
        CheckConstraint("not cancels or corrects_id is not null", name="cancels"),
        Index("ix_usage_event_by_customer", "tenant", "customer", "event_type", "occurred_at"),
        Index(
            "ix_usage_event_corrects",
            "tenant",
            "corrects_source",
            "corrects_id",
            "customer",
            "event_type",
            unique=True,
            sqlite_where=_IS_CORRECTION,
            postgresql_where=_IS_CORRECTION,
        ),
    )

    source: str = Field(primary_key=True, max_length=120)
    event_id: str = Field(primary_key=True, max_length=120)
    event_type: str = Field(max_length=120)
    customer: str = Field(max_length=120)
    bucket: int = Field(sa_type=SmallInteger)
    occurred_at: datetime = Field(sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)
    data: Any = Field(sa_type=CanonicalJson)
    body_hash: bytes = Field(sa_type=LargeBinary)
    corrects_source: str | None = Field(default=None, max_length=120)
    corrects_id: str | None = Field(default=None, max_length=120)
    cancels: bool = False


class UsageUnmatchedRow(TenantRow, table=True):
    """Something about a stored event that the catalog or the customers did not know; open until they do."""

    __tablename__ = "usage_unmatched"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "source", "event_id"], _EVENT),
        Index(
            "ix_usage_unmatched_open",
            "tenant",
            "reason",
            "subject",
            sqlite_where=_IS_OPEN,
            postgresql_where=_IS_OPEN,
        ),
    )

    source: str = Field(primary_key=True, max_length=120)
    event_id: str = Field(primary_key=True, max_length=120)
    reason: str = Field(primary_key=True, max_length=40)
    subject: str = Field(primary_key=True, max_length=250)
    recorded_at: datetime = Field(sa_type=UtcTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcTime)


class UsageConflictRow(TenantRow, table=True):
    """A send that was refused because it contradicts a stored event; both hashes are kept."""

    __tablename__ = "usage_conflict"

    source: str = Field(primary_key=True, max_length=120)
    event_id: str = Field(primary_key=True, max_length=120)
    refused_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    kept_hash: bytes = Field(sa_type=LargeBinary)
    code: str = Field(max_length=40)
    recorded_at: datetime = Field(sa_type=UtcTime)


class UsageCutoffRow(TenantRow, table=True):
    """Up to where a customer's usage has been billed: an event before it is late."""

    __tablename__ = "usage_cutoff"
    __table_args__ = (_WITHOUT_ROWID,)

    customer: str = Field(primary_key=True, max_length=120)
    closed_through: datetime = Field(sa_type=UtcTime)
    run: str = Field(max_length=120)
    recorded_at: datetime = Field(sa_type=UtcTime)


class UsageLateRow(TenantRow, table=True):
    """An event that came after `run` had billed the time it changes; settled once a later run billed the difference.

    A correction may have two rows: it takes usage from one time and adds it at another.
    """

    __tablename__ = "usage_late"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "source", "event_id"], _EVENT),
        Index(
            "ix_usage_late_unsettled",
            "tenant",
            "customer",
            "occurred_at",
            sqlite_where=_IS_UNSETTLED,
            postgresql_where=_IS_UNSETTLED,
        ),
    )

    source: str = Field(primary_key=True, max_length=120)
    event_id: str = Field(primary_key=True, max_length=120)
    occurred_at: datetime = Field(primary_key=True, sa_type=UtcTime)
    customer: str = Field(max_length=120)
    run: str = Field(max_length=120)
    recorded_at: datetime = Field(sa_type=UtcTime)
    settled_by: str | None = Field(default=None, max_length=120)


class UsageCounterRow(TenantRow, table=True):
    """What is counted as events arrive: the part of a meter that does not depend on how values are aggregated."""

    __tablename__ = "usage_counter"

    id: str = Field(primary_key=True, max_length=32)
    event_type: str = Field(max_length=120)
    definition: Any = Field(sa_type=CanonicalJson)
    recorded_at: datetime = Field(sa_type=UtcTime)


class UsageTotalRow(TenantRow, table=True):
    """Count, sum and extremes of one counter for one customer, group and UTC hour, kept up by the ingesting writer."""

    __tablename__ = "usage_total"
    __table_args__ = (_WITHOUT_ROWID,)

    customer: str = Field(primary_key=True, max_length=120)
    counter: str = Field(primary_key=True, max_length=32)
    hour: datetime = Field(primary_key=True, sa_type=UtcTime)
    group_key: str = Field(primary_key=True)
    event_count: int = Field(sa_type=BigInteger)
    total: Decimal = Field(sa_type=ExactAmount)
    highest: Decimal | None = Field(default=None, sa_type=ExactAmount)
    lowest: Decimal | None = Field(default=None, sa_type=ExactAmount)


class UsageAlertRow(TenantRow, table=True):
    """A threshold on what one meter says of a customer, anew in every turn of `interval` in `zone`.

    Beyond one that `is_limit` no usage is authorised.
    """

    __tablename__ = "usage_alert"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        Index("ix_usage_alert_by_customer", "tenant", "customer"),
    )

    key: str = Field(primary_key=True, max_length=120)
    customer: str = Field(max_length=120)
    counter: str = Field(max_length=32)
    meter: Any = Field(sa_type=CanonicalJson)
    threshold: Decimal = Field(sa_type=ExactAmount)
    interval: str = Field(max_length=12)
    zone: str = Field(max_length=60)
    is_limit: bool = False
    recorded_at: datetime = Field(sa_type=UtcTime)


class UsageAlertRaisedRow(TenantRow, table=True):
    """An alert whose threshold was reached in a period; at most once a period."""

    __tablename__ = "usage_alert_raised"
    __table_args__ = (ForeignKeyConstraint(["tenant", "alert"], ["usage_alert.tenant", "usage_alert.key"]),)

    alert: str = Field(primary_key=True, max_length=120)
    period_start: datetime = Field(primary_key=True, sa_type=UtcTime)
    period_end: datetime = Field(sa_type=UtcTime)
    units: Decimal = Field(sa_type=ExactAmount)
    raised_at: datetime = Field(sa_type=UtcTime)


class UsageHoldRow(TenantRow, table=True):
    """Usage that was authorised before it happened, and what is kept for it until it is counted. Ends once.

    `data`: that of the event expected. `reserved`, `settled`: by feature, amounts and ledger units; the credit itself
    is kept by credit holds. `source` and `event_id` name the event that settled it.
    """

    __tablename__ = "usage_hold"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        ForeignKeyConstraint(["tenant", "source", "event_id"], _EVENT),
        UniqueConstraint("tenant", "source", "event_id"),
        CheckConstraint("state in ('pending', 'settled', 'released', 'expired')", name="state"),
        CheckConstraint("(state = 'pending') = (resolved_at is null)", name="resolved"),
        CheckConstraint("(state = 'settled') = (event_id is not null)", name="settled"),
        Index("ix_usage_hold_pending", "tenant", "state", "customer", "expires_at"),
    )

    key: str = Field(primary_key=True, max_length=120)
    customer: str = Field(max_length=120)
    event_type: str = Field(max_length=120)
    data: Any = Field(sa_type=CanonicalJson)
    prepaid: bool
    reserved: Any = Field(sa_type=CanonicalJson)
    state: str = Field(default="pending", max_length=12)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime = Field(sa_type=UtcTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcTime)
    settled: Any = Field(default=None, sa_type=CanonicalJson, nullable=True)
    source: str | None = Field(default=None, max_length=120)
    event_id: str | None = Field(default=None, max_length=120)
