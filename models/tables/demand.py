"""Fitted demand models, numbered for each price book, and the epochs proposed from them; immutable, named by hash."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class DemandModelRow(TenantRow, table=True):
    """One fitted model. It learned from the quotes made in [learned_from, learned_until), as they stood at its end.

    `silence_is_refusal`: quotes that ran out of time were counted as refused. `card`: the model card as it was written
    then, or when its segments were checked last; null where there were too few decisions for one.
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
    card: Any = Field(default=None, sa_type=CanonicalJson, nullable=True)
    learned_from: datetime = Field(sa_type=UtcTime)
    learned_until: datetime = Field(sa_type=UtcTime)
    silence_is_refusal: bool
    recorded_at: datetime = Field(sa_type=UtcTime)


class EpochProposalRow(TenantRow, table=True):
    """An epoch as it was proposed, sealed, under the hash of its seal.

    `objections`: why no machine may publish it. Only the two last columns ever change, once, when it comes into force.
    """

    __tablename__ = "epoch_proposal"
    __table_args__ = (
        CheckConstraint("(published_at is null) = (published_by is null)", name="published"),
        Index("ix_epoch_proposal_book", "tenant", "book_key", "proposed_at", "id"),
    )

    id: str = Field(primary_key=True, max_length=64)
    book_key: str = Field(max_length=120)
    book_hash: str = Field(max_length=64)
    epoch: int
    document: Any = Field(sa_type=CanonicalJson)
    objections: Any = Field(sa_type=CanonicalJson)
    proposed_by: str = Field(max_length=120)
    proposed_at: datetime = Field(sa_type=UtcTime)
    published_by: str | None = Field(default=None, max_length=120)
    published_at: datetime | None = Field(default=None, sa_type=UtcTime)
