"""Quotes, and the units of limited features that they hold."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, ExactAmount, UtcTime
from models.tables.base import TenantRow


class QuoteRow(TenantRow, table=True):
    """A sealed quote and where it stands. The document never changes; the state moves once."""

    __tablename__ = "quote"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        ForeignKeyConstraint(["tenant", "book_hash"], ["price_book.tenant", "price_book.content_hash"]),
        ForeignKeyConstraint(["tenant", "sheet_hash"], ["price_sheet.tenant", "price_sheet.sheet_hash"]),
        CheckConstraint("state in ('open', 'accepted', 'released', 'expired')", name="state"),
        UniqueConstraint("tenant", "accept_key"),
        Index("ix_quote_open", "tenant", "state", "expires_at"),
    )

    id: str = Field(primary_key=True, max_length=36)
    customer: str = Field(max_length=120)
    book_hash: str = Field(max_length=64)
    sheet_hash: str = Field(max_length=64)
    quote_hash: str = Field(max_length=64)
    currency: str = Field(max_length=24)
    total: Decimal = Field(sa_type=ExactAmount)
    document: Any = Field(sa_type=CanonicalJson)
    state: str = Field(default="open", max_length=12)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime = Field(sa_type=UtcTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcTime)
    accept_key: str | None = Field(default=None, max_length=120)


class FeatureSupplyRow(TenantRow, table=True):
    """How many units of a limited feature are held and sold; the database refuses more than there are."""

    __tablename__ = "feature_supply"
    __table_args__ = (CheckConstraint("held >= 0 and sold >= 0 and held + sold <= supply_limit", name="within_limit"),)

    feature: str = Field(primary_key=True, max_length=120)
    supply_limit: int
    held: int = 0
    sold: int = 0


class QuoteHoldRow(TenantRow, table=True):
    """Units of a limited feature held by an open quote."""

    __tablename__ = "quote_hold"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "quote_id"], ["quote.tenant", "quote.id"]),
        ForeignKeyConstraint(["tenant", "feature"], ["feature_supply.tenant", "feature_supply.feature"]),
        CheckConstraint("units > 0", name="units"),
    )

    quote_id: str = Field(primary_key=True, max_length=36)
    feature: str = Field(primary_key=True, max_length=120)
    units: int
