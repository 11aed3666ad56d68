"""Customers, legal entities and negotiated terms. Personal data stands here and nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, UtcTime
from models.tables.base import TenantRow


class LegalEntityRow(TenantRow, table=True):
    """Who issues invoices: each has its own gapless number series."""

    __tablename__ = "legal_entity"

    key: str = Field(primary_key=True, max_length=120)
    name: str = Field(max_length=200)
    country: str = Field(max_length=2)
    address: str = Field(max_length=500)
    tax_id: str = Field(max_length=60)
    number_prefix: str = Field(max_length=20)


class CustomerRow(TenantRow, table=True):
    """A customer; everything else refers to it by its key alone."""

    __tablename__ = "customer"
    __table_args__ = (ForeignKeyConstraint(["tenant", "legal_entity"], ["legal_entity.tenant", "legal_entity.key"]),)

    key: str = Field(primary_key=True, max_length=120)
    legal_entity: str = Field(max_length=120)
    legal_name: str = Field(max_length=200)
    email: str = Field(default="", max_length=200)
    address: str = Field(default="", max_length=500)
    country: str = Field(max_length=2)
    language: str = Field(default="en", max_length=12)
    zone: str = Field(default="UTC", max_length=60)
    currency: str = Field(max_length=24)
    segment: str = Field(default="default", max_length=120)
    channel: str = Field(default="direct", max_length=120)
    tax_id: str = Field(default="", max_length=60)
    tax_exempt: bool = False
    recorded_at: datetime = Field(sa_type=UtcTime)


class NegotiatedTermRow(TenantRow, table=True):
    """A dated override of one feature's tariff, discount or rails for one customer, with who allowed it and why."""

    __tablename__ = "negotiated_term"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        CheckConstraint("ends_at is null or ends_at > starts_at", name="dates"),
    )

    id: str = Field(primary_key=True, max_length=36)
    customer: str = Field(max_length=120)
    feature: str = Field(max_length=120)
    document: Any = Field(sa_type=CanonicalJson)
    reason: str = Field(max_length=500)
    approver: str = Field(max_length=120)
    starts_at: datetime = Field(sa_type=UtcTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)
