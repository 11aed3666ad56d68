"""The ledger: accounts, journals with their entries, and the seals that make a journal final.

A journal is written as journal, entries, seal in one transaction. The deferred foreign keys from journal and
entry to the seal refuse what is left unsealed; the triggers of `models.migrations.rules_ledger` refuse a seal
without its journal or over entries that do not sum to zero per asset, and every later change. Amounts are
integer ledger units of the asset, debit positive.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from models.column_types import CanonicalJson, ExactAmount, LedgerInteger, UtcTime
from models.tables.base import TenantRow

_WITHOUT_ROWID = {"sqlite_with_rowid": False}


class AccountRow(TenantRow, table=True):
    """One account: a code of the chart, an asset, whose it is and of what. Never changed, never removed."""

    __tablename__ = "account"
    __table_args__ = (
        UniqueConstraint("tenant", "code", "asset", "party", "detail"),
        UniqueConstraint("tenant", "id", "asset"),
        _WITHOUT_ROWID,
    )

    id: int = Field(primary_key=True, sa_type=BigInteger)
    code: str = Field(max_length=40)
    asset: str = Field(max_length=32)
    party: str = Field(max_length=120)
    detail: str = Field(max_length=120)


class AccountBalanceRow(TenantRow, table=True):
    """Sum of an account's entries; `bounded` accounts (credits we owe) never turn into debts."""

    __tablename__ = "account_balance"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "account"], ["account.tenant", "account.id"]),
        CheckConstraint("not bounded or balance <= 0", name="bounded"),
        _WITHOUT_ROWID,
    )

    account: int = Field(primary_key=True, sa_type=BigInteger)
    balance: int = Field(sa_type=LedgerInteger)
    bounded: bool


class JournalSealRow(TenantRow, table=True):
    """The act that makes a journal final, and its link in the tenant's hash chain."""

    __tablename__ = "journal_seal"
    __table_args__ = (_WITHOUT_ROWID,)

    journal: int = Field(primary_key=True, sa_type=BigInteger)
    previous_hash: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)


class JournalRow(TenantRow, table=True):
    """A balanced set of entries. `id` counts from 1 without gap; `canonical` are the bytes that were hashed."""

    __tablename__ = "journal"
    __table_args__ = (
        UniqueConstraint("tenant", "key"),
        ForeignKeyConstraint(
            ["tenant", "id"], ["journal_seal.tenant", "journal_seal.journal"], deferrable=True, initially="DEFERRED"
        ),
        ForeignKeyConstraint(["tenant", "reverses"], ["journal.tenant", "journal.id"]),
        Index("ix_journal_tenant_effective_at", "tenant", "effective_at"),
        Index(
            "uq_journal_tenant_reverses",
            "tenant",
            "reverses",
            unique=True,
            sqlite_where=text("reverses is not null"),
            postgresql_where=text("reverses is not null"),
        ),
    )

    id: int = Field(primary_key=True, sa_type=BigInteger)
    key: str = Field(max_length=200)
    kind: str = Field(max_length=40)
    effective_at: datetime = Field(sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)
    reverses: int | None = Field(default=None, sa_type=BigInteger)
    memo: str = Field(max_length=500)
    canonical: bytes = Field(sa_type=LargeBinary)


class EntryRow(TenantRow, table=True):
    """One leg of a journal."""

    __tablename__ = "entry"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "journal"],
            ["journal_seal.tenant", "journal_seal.journal"],
            deferrable=True,
            initially="DEFERRED",
        ),
        ForeignKeyConstraint(["tenant", "account", "asset"], ["account.tenant", "account.id", "account.asset"]),
        CheckConstraint("amount <> 0", name="amount"),
        Index("ix_entry_tenant_account_journal", "tenant", "account", "journal"),
        _WITHOUT_ROWID,
    )

    journal: int = Field(primary_key=True, sa_type=BigInteger)
    leg: int = Field(primary_key=True)
    account: int = Field(sa_type=BigInteger)
    asset: str = Field(max_length=32)
    amount: int = Field(sa_type=LedgerInteger)


class CarriedAmountRow(TenantRow, table=True):
    """What a customer's exact accruals in one asset have come to, and how much of it is posted.

    `posted` = `exact` rounded to ledger units, always; the difference is the residue below one unit.
    """

    __tablename__ = "carried_amount"
    __table_args__ = (_WITHOUT_ROWID,)

    party: str = Field(primary_key=True, max_length=120)
    asset: str = Field(primary_key=True, max_length=32)
    exact: Decimal = Field(sa_type=ExactAmount)
    posted: int = Field(sa_type=LedgerInteger)


class AccrualRow(TenantRow, table=True):
    """Exact amounts accrued together: feature, amount and the ledger units it came to. Appended only.

    Its journal has the same key; an amount that rounds to nothing has none until later ones add up to a unit.
    """

    __tablename__ = "accrual"
    __table_args__ = (Index("ix_accrual_tenant_party_asset", "tenant", "party", "asset"), _WITHOUT_ROWID)

    key: str = Field(primary_key=True, max_length=200)
    party: str = Field(max_length=120)
    asset: str = Field(max_length=32)
    effective_at: datetime = Field(sa_type=UtcTime)
    by_feature: Any = Field(sa_type=CanonicalJson)
