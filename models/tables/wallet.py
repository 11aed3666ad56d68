"""Wallets: credit that customers hold, in grants, what was taken from each, and what is held for later.

Units are integer ledger units of the wallet's asset. What a grant still holds is kept beside it and checked
against its takings and against the ledger's wallet accounts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, LedgerInteger, UtcTime
from models.tables.base import TenantRow


class WalletRow(TenantRow, table=True):
    """Credit of one customer in one asset, perhaps for some features only.

    `features`: null for all. `priority`: lower is used first. Top-up: when less than `top_up_below` is free,
    `top_up_units` more are to be bought.
    """

    __tablename__ = "wallet"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        CheckConstraint("(top_up_below is null) = (top_up_units is null)", name="top_up"),
        CheckConstraint("top_up_units > 0", name="top_up_units"),
        Index("ix_wallet_tenant_customer", "tenant", "customer", "asset"),
    )

    id: str = Field(primary_key=True, max_length=120)
    customer: str = Field(max_length=120)
    asset: str = Field(max_length=24)
    priority: int = 0
    features: Any = Field(default=None, sa_type=CanonicalJson, nullable=True)
    top_up_below: int | None = Field(default=None, sa_type=LedgerInteger)
    top_up_units: int | None = Field(default=None, sa_type=LedgerInteger)
    recorded_at: datetime = Field(sa_type=UtcTime)


class CreditGrantRow(TenantRow, table=True):
    """Credit handed out at once, paid or promotional. All but what remains and is held never changes.

    `cost_units` of `cost_asset` is what a paid grant of a custom credit was bought for. At expiry up to
    `rollover_units` live on for `rollover_days`, in all of a grant and of what voids gave back of it: their `origin`.
    """

    __tablename__ = "credit_grant"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "wallet"], ["wallet.tenant", "wallet.id"]),
        UniqueConstraint("tenant", "sequence"),
        CheckConstraint("kind in ('paid', 'promotional')", name="kind"),
        CheckConstraint("units > 0 and remaining <= units", name="units"),
        CheckConstraint("held >= 0 and remaining >= held", name="held"),
        CheckConstraint("cost_remaining >= 0 and cost_remaining <= cost_units", name="cost"),
        CheckConstraint("expires_at is null or expires_at > starts_at", name="dates"),
        Index("ix_credit_grant_tenant_wallet", "tenant", "wallet"),
        Index("ix_credit_grant_tenant_expires_at", "tenant", "expires_at"),
    )

    id: str = Field(primary_key=True, max_length=140)
    wallet: str = Field(max_length=120)
    sequence: int = Field(sa_type=BigInteger)
    kind: str = Field(max_length=12)
    units: int = Field(sa_type=LedgerInteger)
    remaining: int = Field(sa_type=LedgerInteger)
    held: int = Field(default=0, sa_type=LedgerInteger)
    cost_asset: str = Field(default="", max_length=24)
    cost_units: int = Field(default=0, sa_type=LedgerInteger)
    cost_remaining: int = Field(default=0, sa_type=LedgerInteger)
    priority: int = 0
    starts_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcTime)
    rollover_units: int = Field(default=0, sa_type=LedgerInteger)
    rollover_days: int = 0
    origin: str | None = Field(default=None, max_length=140)
    recorded_at: datetime = Field(sa_type=UtcTime)


class BurnRow(TenantRow, table=True):
    """What one act took from one grant: a burn, an expiry, a rollover or a refund. Appended only."""

    __tablename__ = "burn"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "credit_grant"], ["credit_grant.tenant", "credit_grant.id"]),
        CheckConstraint("kind in ('burn', 'expiry', 'rollover', 'refund')", name="kind"),
        CheckConstraint("units > 0", name="units"),
        Index("ix_burn_tenant_credit_grant", "tenant", "credit_grant"),
    )

    key: str = Field(primary_key=True, max_length=200)
    credit_grant: str = Field(primary_key=True, max_length=140)
    kind: str = Field(max_length=12)
    units: int = Field(sa_type=LedgerInteger)
    cost_units: int = Field(sa_type=LedgerInteger)
    at: datetime = Field(sa_type=UtcTime)


class CreditHoldRow(TenantRow, table=True):
    """Credit kept for usage that was authorised and not yet counted. It is settled, released or expires, once."""

    __tablename__ = "credit_hold"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], ["customer.tenant", "customer.key"]),
        CheckConstraint("state in ('pending', 'settled', 'released', 'expired')", name="state"),
        CheckConstraint("units > 0 and settled_units >= 0", name="units"),
        CheckConstraint("(state = 'pending') = (resolved_at is null)", name="resolved"),
        Index("ix_credit_hold_tenant_state", "tenant", "state", "expires_at"),
    )

    key: str = Field(primary_key=True, max_length=190)
    customer: str = Field(max_length=120)
    asset: str = Field(max_length=24)
    feature: str = Field(max_length=120)
    units: int = Field(sa_type=LedgerInteger)
    settled_units: int = Field(default=0, sa_type=LedgerInteger)
    state: str = Field(default="pending", max_length=12)
    created_at: datetime = Field(sa_type=UtcTime)
    expires_at: datetime = Field(sa_type=UtcTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcTime)


class HoldPartRow(TenantRow, table=True):
    """How much of one grant a hold keeps."""

    __tablename__ = "hold_part"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "hold"], ["credit_hold.tenant", "credit_hold.key"]),
        ForeignKeyConstraint(["tenant", "credit_grant"], ["credit_grant.tenant", "credit_grant.id"]),
        CheckConstraint("units > 0", name="units"),
    )

    hold: str = Field(primary_key=True, max_length=190)
    credit_grant: str = Field(primary_key=True, max_length=140)
    units: int = Field(sa_type=LedgerInteger)
