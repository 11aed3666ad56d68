"""Subscriptions: what a customer has accepted, from when, as a row of phases that is only ever added to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class SubscriptionRow(TenantRow, table=True):
    """Who subscribes, in which currency, from when; everything that can change stands in its phases."""

    __tablename__ = "subscription"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        Index("ix_subscription_tenant_customer", "tenant", "customer"),
    )

    id: str = Field(primary_key=True, max_length=120)
    customer: str = Field(max_length=120)
    currency: str = Field(max_length=24)
    starts_at: datetime = Field(sa_type=UtcTime)
    trial_ends_at: datetime | None = Field(default=None, sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)


class SubscriptionPhaseRow(TenantRow, table=True):
    """What is in force from `starts_at` on: the price-book version, the selection, the billing cycle, or nothing.

    A phase replaces those of a lower sequence from its start on. `document` holds the selection, the cycle, the
    adaptive draws and negotiated terms that were quoted, the commitment and the thresholds.
    """

    __tablename__ = "subscription_phase"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "subscription"], ["subscription.tenant", "subscription.id"]),
        ForeignKeyConstraint(["tenant", "book_hash"], ["price_book.tenant", "price_book.content_hash"]),
        ForeignKeyConstraint(["tenant", "sheet_hash"], ["price_sheet.tenant", "price_sheet.sheet_hash"]),
        ForeignKeyConstraint(["tenant", "quote_id"], ["quote.tenant", "quote.id"]),
        CheckConstraint("state in ('active', 'paused', 'ended')", name="state"),
    )

    subscription: str = Field(primary_key=True, max_length=120)
    sequence: int = Field(primary_key=True)
    starts_at: datetime = Field(sa_type=UtcTime)
    state: str = Field(max_length=12)
    action: str = Field(max_length=40)
    book_hash: str = Field(max_length=64)
    sheet_hash: str | None = Field(default=None, max_length=64)
    quote_id: str | None = Field(default=None, max_length=36)
    document: Any = Field(sa_type=CanonicalJson)
    reason: str = Field(default="", max_length=500)
    actor: str = Field(default="", max_length=120)
    recorded_at: datetime = Field(sa_type=UtcTime)


class KeptUnitsRow(TenantRow, table=True):
    """Units of a limited feature that a subscription keeps: the most that it has from now on."""

    __tablename__ = "kept_units"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "subscription"], ["subscription.tenant", "subscription.id"]),
        ForeignKeyConstraint(["tenant", "feature"], ["feature_supply.tenant", "feature_supply.feature"]),
        CheckConstraint("units > 0", name="units"),
    )

    subscription: str = Field(primary_key=True, max_length=120)
    feature: str = Field(primary_key=True, max_length=120)
    units: int
