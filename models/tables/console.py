"""The console's people, their sessions, and price books on their way to being published."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class PersonRow(TenantRow, table=True):
    """Someone who may sign in. Only a salted, slow hash of the password is kept."""

    __tablename__ = "person"

    name: str = Field(primary_key=True, max_length=120)
    roles: Any = Field(sa_type=CanonicalJson)
    salt: str = Field(max_length=32)
    password_hash: str = Field(max_length=64)
    failures: int = 0
    failed_at: datetime | None = Field(default=None, sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcTime)


class ConsoleSessionRow(TenantRow, table=True):
    """One signed-in browser, named by the hash of what its cookie holds."""

    __tablename__ = "console_session"
    __table_args__ = (ForeignKeyConstraint(["tenant", "person"], ["person.tenant", "person.name"]),)

    token_hash: str = Field(primary_key=True, max_length=64)
    person: str = Field(max_length=120)
    opened_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime = Field(sa_type=UtcTime)


class PriceProposalRow(TenantRow, table=True):
    """A price book proposed by one person; the database refuses that the one who asked also decides."""

    __tablename__ = "price_proposal"
    __table_args__ = (
        CheckConstraint("state in ('draft', 'asked', 'published', 'returned', 'withdrawn')", name="state"),
        CheckConstraint("decided_by is null or decided_by <> author", name="second_person"),
        CheckConstraint("(state in ('published', 'returned')) = (decided_by is not null)", name="decided"),
    )

    id: str = Field(primary_key=True, max_length=36)
    book_key: str = Field(max_length=120)
    document: Any = Field(sa_type=CanonicalJson)
    state: str = Field(default="draft", max_length=12)
    author: str = Field(max_length=120)
    reason: str = Field(default="", max_length=500)
    created_at: datetime = Field(sa_type=UtcTime)
    changed_at: datetime = Field(sa_type=UtcTime)
    decided_by: str | None = Field(default=None, max_length=120)
    remark: str = Field(default="", max_length=500)
