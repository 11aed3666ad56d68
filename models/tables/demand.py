"""Fitted demand models: immutable documents by content hash, numbered for each price book."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class DemandModelRow(TenantRow, table=True):
    """One fitted model. It learned from the quotes made in [learned_from, learned_until), as they stood at its end.

    `silence_is_refusal`: quotes that ran out of time were counted as refused.
    """

    __tablename__ = "demand_model"
    __table_args__ = (
        UniqueConstraint("tenant", "book_key", "content_hash"),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("learned_from < learned_until", name="learned"),
    )

    book_key: str = Field(primary_key=True, max_length=120)
    version: int = Field(primary_key=True)
    content_hash: str = Field(max_length=64)
    document: Any = Field(sa_type=CanonicalJson)
    learned_from: datetime = Field(sa_type=UtcTime)
    learned_until: datetime = Field(sa_type=UtcTime)
    silence_is_refusal: bool
    recorded_at: datetime = Field(sa_type=UtcTime)
