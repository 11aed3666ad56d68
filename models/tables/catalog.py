"""Price books and price sheets: immutable documents by content hash, and the log of their releases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class PriceBookRow(TenantRow, table=True):
    """One immutable price-book version, named by its content hash.

    `salt` is the secret the Merkle leaves are salted with, so that a redacted copy keeps the hash.
    """

    __tablename__ = "price_book"
    __table_args__ = (UniqueConstraint("tenant", "book_key", "version"), CheckConstraint("version > 0", name="version"))

    content_hash: str = Field(primary_key=True, max_length=64)
    book_key: str = Field(max_length=120)
    version: int
    currency: str = Field(max_length=24)
    channel: str | None = Field(default=None, max_length=120)
    effective_from: datetime = Field(sa_type=UtcTime)
    document: Any = Field(sa_type=CanonicalJson)
    salt: str = Field(max_length=64)
    recorded_at: datetime = Field(sa_type=UtcTime)


class PriceBookReleaseRow(TenantRow, table=True):
    """A version came into force, or was archived. The latest row of a book says where it stands."""

    __tablename__ = "price_book_release"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "content_hash"], ["price_book.tenant", "price_book.content_hash"]),
        CheckConstraint("state in ('published', 'archived')", name="state"),
    )

    book_key: str = Field(primary_key=True, max_length=120)
    sequence: int = Field(primary_key=True)
    content_hash: str = Field(max_length=64)
    state: str = Field(max_length=12)
    effective_from: datetime = Field(sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)
    actor: str = Field(max_length=120)
    approver: str | None = Field(default=None, max_length=120)


class PriceSheetRow(TenantRow, table=True):
    """The signed prices of one epoch and segment, named by their hash."""

    __tablename__ = "price_sheet"
    __table_args__ = (
        UniqueConstraint("tenant", "book_hash", "segment", "epoch"),
        ForeignKeyConstraint(["tenant", "book_hash"], ["price_book.tenant", "price_book.content_hash"]),
    )

    sheet_hash: str = Field(primary_key=True, max_length=64)
    book_hash: str = Field(max_length=64)
    segment: str = Field(max_length=120)
    epoch: int
    effective_from: datetime = Field(sa_type=UtcTime)
    document: Any = Field(sa_type=CanonicalJson)
    salt: str = Field(max_length=64)
    recorded_at: datetime = Field(sa_type=UtcTime)
