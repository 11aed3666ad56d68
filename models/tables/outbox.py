"""The way out to the payment provider: operations to perform, what became of them, and what was heard back.

An operation is written in the transaction of the fact it follows from. Its parameters never change: a change is a
new operation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, LedgerInteger, UtcTime
from models.tables.base import TenantRow

_ID = 120


class StripeOpRow(TenantRow, table=True):
    """One thing to be done at the provider. Operations of one aggregate run in the order of `seq`, others in parallel.

    `first_sent_at`: when the present idempotency key was first used. `key_generation` counts the keys; a new one is
    taken only after a look-up has shown that the old one did nothing. `waits_for`: a customer whose operations
    have to be done before.
    """

    __tablename__ = "stripe_op"
    __table_args__ = (
        UniqueConstraint("tenant", "idem_key"),
        CheckConstraint(
            "state in ('pending', 'in_flight', 'retry_wait', 'ambiguous', 'done', 'dead', 'cancelled')", name="state"
        ),
        CheckConstraint(
            "aggregate in ('customer', 'invoice', 'payment', 'transfer', 'usage', 'cleanup')",
            name="aggregate",
        ),
        CheckConstraint("(state = 'in_flight') = (lease_owner is not null)", name="lease"),
        CheckConstraint("(lease_owner is null) = (lease_until is null)", name="lease_until"),
        CheckConstraint("key_generation >= 1 and attempts >= 0", name="counts"),
        Index("ix_stripe_op_due", "tenant", "state", "next_at"),
    )

    aggregate: str = Field(primary_key=True, max_length=12)
    aggregate_id: str = Field(primary_key=True, max_length=_ID)
    seq: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs={"autoincrement": False})
    kind: str = Field(max_length=24)
    params: Any = Field(sa_type=CanonicalJson)
    params_sha256: str = Field(max_length=64)
    idem_key: str = Field(max_length=255)
    key_generation: int = 1
    waits_for: str | None = Field(default=None, max_length=_ID)
    state: str = Field(default="pending", max_length=12)
    attempts: int = 0
    failures: int = 0
    next_at: datetime = Field(sa_type=UtcTime)
    lease_owner: str | None = Field(default=None, max_length=_ID)
    lease_until: datetime | None = Field(default=None, sa_type=UtcTime)
    first_sent_at: datetime | None = Field(default=None, sa_type=UtcTime)
    stripe_id: str | None = Field(default=None, max_length=255)
    adopted: bool = False
    last_error: Any = Field(default=None, sa_type=CanonicalJson, nullable=True)
    created_at: datetime = Field(sa_type=UtcTime)
    done_at: datetime | None = Field(default=None, sa_type=UtcTime)


class StripeInvoiceRow(TenantRow, table=True):
    """Where collecting one of our invoices stands. Amounts in minor units.

    total + carried_in - settled = collect + carried_out. `carried_into` is the later invoice that collects what was
    carried out. `incarnation` counts the provider's invoices made for it: more than one only after a repair.
    """

    __tablename__ = "stripe_invoice"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "carried_into"], ["stripe_invoice.tenant", "stripe_invoice.invoice_id"]),
        UniqueConstraint("tenant", "stripe_id"),
        CheckConstraint(
            "status in ('closed', 'draft', 'filled', 'verified', 'open', 'paid', 'uncollectible', 'void', 'settled')",
            name="status",
        ),
        CheckConstraint(
            "total_minor + carried_in_minor - settled_minor = collect_minor + carried_out_minor", name="amounts"
        ),
        CheckConstraint("collect_minor >= 0 and carried_out_minor >= 0 and carried_in_minor >= 0", name="signs"),
        CheckConstraint("carried_into is null or carried_out_minor > 0", name="carried_into"),
        Index("ix_stripe_invoice_customer", "tenant", "customer", "currency"),
        Index("ix_stripe_invoice_status", "tenant", "status", "next_attempt_at"),
    )

    invoice_id: str = Field(primary_key=True, max_length=_ID)
    number: str = Field(max_length=60)
    customer: str = Field(max_length=_ID)
    currency: str = Field(max_length=3)
    method: str = Field(max_length=8)
    total_minor: int = Field(sa_type=LedgerInteger)
    tax_minor: int = Field(sa_type=LedgerInteger)
    settled_minor: int = Field(sa_type=LedgerInteger)
    carried_in_minor: int = Field(sa_type=LedgerInteger)
    collect_minor: int = Field(sa_type=LedgerInteger)
    carried_out_minor: int = Field(sa_type=LedgerInteger)
    carried_into: str | None = Field(default=None, max_length=_ID)
    incarnation: int = 1
    stripe_id: str | None = Field(default=None, max_length=255)
    status: str = Field(max_length=16)
    paid_minor: int = Field(default=0, sa_type=LedgerInteger)
    failed_attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=UtcTime)
    needs_review: str | None = Field(default=None, max_length=500)
    created_at: datetime = Field(sa_type=UtcTime)
    synced_at: datetime | None = Field(default=None, sa_type=UtcTime)


class StripeLineRow(TenantRow, table=True):
    """Which line at the provider one of our invoice lines went into: the detail behind a folded line."""

    __tablename__ = "stripe_line"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "invoice_id"], ["stripe_invoice.tenant", "stripe_invoice.invoice_id"]),
    )

    invoice_id: str = Field(primary_key=True, max_length=_ID)
    line_id: str = Field(primary_key=True, max_length=_ID)
    remote_ref: str = Field(max_length=_ID + 8)
    amount_minor: int = Field(sa_type=LedgerInteger)
    tax_minor: int = Field(sa_type=LedgerInteger)


class StripeCustomerRow(TenantRow, table=True):
    """The provider's customer for one of ours; `details_sha256` tells when name or e-mail have changed."""

    __tablename__ = "stripe_customer"
    __table_args__ = (UniqueConstraint("tenant", "stripe_id"),)

    key: str = Field(primary_key=True, max_length=_ID)
    stripe_id: str | None = Field(default=None, max_length=255)
    details_sha256: str = Field(max_length=64)


class StripeFactRow(TenantRow, table=True):
    """A collection event that was handed on: its reference comes once, whoever learned of it and how often."""

    __tablename__ = "stripe_fact"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "invoice_id"], ["stripe_invoice.tenant", "stripe_invoice.invoice_id"]),
        Index("ix_stripe_fact_invoice", "tenant", "invoice_id", "kind"),
    )

    reference: str = Field(primary_key=True, max_length=300)
    kind: str = Field(max_length=24)
    invoice_id: str = Field(max_length=_ID)
    amount_minor: int | None = Field(default=None, sa_type=LedgerInteger)
    detail: str = Field(default="", max_length=255)
    occurred_at: datetime = Field(sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)


class StripeEventRow(TenantRow, table=True):
    """A notification, once by its id, as it came. It only says where to look: amounts in it are not believed."""

    __tablename__ = "stripe_event"
    __table_args__ = (
        CheckConstraint("source in ('webhook', 'reconciliation')", name="source"),
        CheckConstraint("state in ('waiting', 'done', 'ignored', 'failed')", name="state"),
        Index("ix_stripe_event_waiting", "tenant", "state", "next_at"),
        Index("ix_stripe_event_created", "tenant", "created_at"),
    )

    event_id: str = Field(primary_key=True, max_length=255)
    type: str = Field(max_length=120)
    body: str = Field(sa_type=Text)
    source: str = Field(max_length=16)
    state: str = Field(default="waiting", max_length=8)
    attempts: int = 0
    next_at: datetime = Field(sa_type=UtcTime)
    last_error: str | None = Field(default=None, max_length=500)
    created_at: datetime = Field(sa_type=UtcTime)
    received_at: datetime = Field(sa_type=UtcTime)


class StripeRateRow(TenantRow, table=True):
    """The next free slot of the request rate that all workers of a tenant share; in microseconds since 1970."""

    __tablename__ = "stripe_rate"

    name: str = Field(primary_key=True, max_length=_ID)
    next_slot_us: int = Field(sa_type=BigInteger)
