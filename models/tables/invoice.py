"""From rated usage to money asked for: charges, invoices, credit notes, what was paid, and the closes that made them.

A charge is what one run found a customer to owe, in exact amounts; an invoice takes up charges and rounds them
once. What is finalised never changes (`models.migrations.rules_invoices`).
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlmodel import Field

from models.column_types import CanonicalJson, ExactAmount, LedgerInteger, UtcTime
from models.tables.base import TenantRow

_WITHOUT_ROWID = {"sqlite_with_rowid": False}
_CUSTOMER = ["customer.tenant", "customer.key"]
_INVOICE = ["invoice.tenant", "invoice.id"]


class BillingPeriodRow(TenantRow, table=True):
    """A calendar month that is closed as one: `key` is 2026-01. `attempt` counts up when it is reopened.

    `known_at`: only events recorded by then belong to this close. `issued_on`: the date on its invoices.
    """

    __tablename__ = "billing_period"
    __table_args__ = (CheckConstraint("state in ('open', 'closing', 'closed')", name="state"),)

    key: str = Field(primary_key=True, max_length=7)
    state: str = Field(max_length=12)
    attempt: int
    known_at: datetime = Field(sa_type=UtcTime)
    issued_on: date
    finalise_from: datetime = Field(sa_type=UtcTime)


class CloseRunRow(TenantRow, table=True):
    """One bucket of customers was posted for one attempt at closing a period: once, whoever computed it."""

    __tablename__ = "close_run"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "period"], ["billing_period.tenant", "billing_period.key"]),
        _WITHOUT_ROWID,
    )

    period: str = Field(primary_key=True, max_length=7)
    attempt: int = Field(primary_key=True)
    bucket: int = Field(primary_key=True)
    input_hash: str = Field(max_length=64)
    customers: int
    charges: int
    recorded_at: datetime = Field(sa_type=UtcTime)


class CloseActionRow(TenantRow, table=True):
    """Who closed or reopened a period, when and why. Appended only."""

    __tablename__ = "close_action"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "period"], ["billing_period.tenant", "billing_period.key"]),
        CheckConstraint("action in ('begin', 'lock', 'reopen')", name="action"),
    )

    period: str = Field(primary_key=True, max_length=7)
    sequence: int = Field(primary_key=True)
    action: str = Field(max_length=12)
    actor: str = Field(max_length=120)
    reason: str = Field(max_length=500)
    recorded_at: datetime = Field(sa_type=UtcTime)


class ChargeRow(TenantRow, table=True):
    """What one run found one customer to owe in one currency, exact; `units` is what of it was posted as accrued.

    `cutoff`: what lies after it was billed before it was earned.
    `invoice` names the live invoice that took it up: the only column that changes, back to null when that is void.
    """

    __tablename__ = "charge"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], _CUSTOMER),
        ForeignKeyConstraint(["tenant", "invoice"], _INVOICE),
        CheckConstraint("kind in ('close', 'interim', 'addition')", name="kind"),
        Index("ix_charge_tenant_customer_currency", "tenant", "customer", "currency"),
        Index("ix_charge_tenant_invoice", "tenant", "invoice"),
    )

    id: str = Field(primary_key=True, max_length=200)
    customer: str = Field(max_length=120)
    currency: str = Field(max_length=24)
    kind: str = Field(max_length=12)
    period: str = Field(max_length=7)
    known_at: datetime = Field(sa_type=UtcTime)
    cutoff: datetime = Field(sa_type=UtcTime)
    exact: Decimal = Field(sa_type=ExactAmount)
    units: int = Field(sa_type=LedgerInteger)
    invoice: str | None = Field(default=None, max_length=40)
    recorded_at: datetime = Field(sa_type=UtcTime)


class RatedUsageRow(TenantRow, table=True):
    """One exact amount: a feature over one stretch of one billing period, or the difference to what was billed of it.

    `cycle_start` and `cycle_end` bound the full billing period, `service_*` the stretch the amount is for.
    `segment_start` is the key by which a later run finds what was billed. `corrects` names the charge whose
    amount this one changes. `quantity`, `list_amount` and `cost` are differences too where it does. `prorated_units`:
    the part of the quantity that is billed; null, of rows from before it was kept, for all of it.
    """

    __tablename__ = "rated_usage"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "charge"], ["charge.tenant", "charge.id"]),
        ForeignKeyConstraint(["tenant", "subscription"], ["subscription.tenant", "subscription.id"]),
        ForeignKeyConstraint(["tenant", "book_hash"], ["price_book.tenant", "price_book.content_hash"]),
        CheckConstraint("kind in ('usage', 'recurring', 'commitment', 'coupon', 'addition')", name="kind"),
        Index("ix_rated_usage_tenant_subscription_cycle_end", "tenant", "subscription", "cycle_end"),
        _WITHOUT_ROWID,
    )

    charge: str = Field(primary_key=True, max_length=200)
    position: int = Field(primary_key=True)
    subscription: str | None = Field(default=None, max_length=120)
    feature: str = Field(max_length=120)
    kind: str = Field(max_length=12)
    in_advance: bool
    cycle_start: datetime = Field(sa_type=UtcTime)
    cycle_end: datetime = Field(sa_type=UtcTime)
    segment_start: datetime = Field(sa_type=UtcTime)
    service_start: datetime = Field(sa_type=UtcTime)
    service_end: datetime = Field(sa_type=UtcTime)
    quantity: Decimal = Field(sa_type=ExactAmount)
    prorated_units: Decimal | None = Field(default=None, sa_type=ExactAmount)
    list_amount: Decimal = Field(sa_type=ExactAmount)
    amount: Decimal = Field(sa_type=ExactAmount)
    cost: Decimal = Field(sa_type=ExactAmount)
    tax_category: str = Field(max_length=60)
    book_hash: str | None = Field(default=None, max_length=64)
    corrects: str | None = Field(default=None, max_length=200)
    detail: Any = Field(sa_type=CanonicalJson)


class NumberSeriesRow(TenantRow, table=True):
    """The last number of a legal entity's year, by kind of document; counted up in the finalising transaction."""

    __tablename__ = "number_series"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "legal_entity"], ["legal_entity.tenant", "legal_entity.key"]),
        CheckConstraint("kind in ('invoice', 'credit_note')", name="kind"),
        CheckConstraint("last_number > 0", name="last_number"),
    )

    legal_entity: str = Field(primary_key=True, max_length=120)
    kind: str = Field(primary_key=True, max_length=12)
    year: int = Field(primary_key=True)
    last_number: int


class InvoiceRow(TenantRow, table=True):
    """An invoice. Amounts in minor units: net + tax = total; exact + carried_in = net + carried_out, exact, in major.

    `settled_minor`: what of the total is paid, credited or written off by now.
    """

    __tablename__ = "invoice"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], _CUSTOMER),
        ForeignKeyConstraint(["tenant", "legal_entity"], ["legal_entity.tenant", "legal_entity.key"]),
        CheckConstraint("state in ('draft', 'finalised', 'paid', 'void', 'uncollectible')", name="state"),
        CheckConstraint("(state = 'draft') = (number is null)", name="number"),
        CheckConstraint("net_minor + tax_minor = total_minor", name="total"),
        UniqueConstraint("tenant", "legal_entity", "number"),
        Index("ix_invoice_tenant_customer", "tenant", "customer", "currency"),
        Index("ix_invoice_tenant_period", "tenant", "period", "state"),
    )

    id: str = Field(primary_key=True, max_length=40)
    number: str | None = Field(default=None, max_length=60)
    legal_entity: str = Field(max_length=120)
    customer: str = Field(max_length=120)
    currency: str = Field(max_length=24)
    state: str = Field(max_length=16)
    period: str = Field(max_length=7)
    issued_on: date
    due_on: date
    service_start: datetime = Field(sa_type=UtcTime)
    service_end: datetime = Field(sa_type=UtcTime)
    exact: Decimal = Field(sa_type=ExactAmount)
    carried_in: Decimal = Field(sa_type=ExactAmount)
    carried_out: Decimal = Field(sa_type=ExactAmount)
    net_minor: int = Field(sa_type=LedgerInteger)
    tax_minor: int = Field(sa_type=LedgerInteger)
    total_minor: int = Field(sa_type=LedgerInteger)
    settled_minor: int = Field(default=0, sa_type=LedgerInteger)
    finalise_from: datetime = Field(sa_type=UtcTime)
    finalised_at: datetime | None = Field(default=None, sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)


class InvoicePartyRow(TenantRow, table=True):
    """Seller and buyer as they were when the invoice was finalised: the personal data of an invoice, apart from it."""

    __tablename__ = "invoice_party"
    __table_args__ = (ForeignKeyConstraint(["tenant", "invoice"], _INVOICE),)

    invoice: str = Field(primary_key=True, max_length=40)
    document: Any = Field(sa_type=CanonicalJson)


class InvoiceLineRow(TenantRow, table=True):
    """One line: exact amount, the same rounded to minor units, its tax and its cost."""

    __tablename__ = "invoice_line"
    __table_args__ = (ForeignKeyConstraint(["tenant", "invoice"], _INVOICE), _WITHOUT_ROWID)

    invoice: str = Field(primary_key=True, max_length=40)
    line: int = Field(primary_key=True)
    subscription: str | None = Field(default=None, max_length=120)
    feature: str = Field(max_length=120)
    kind: str = Field(max_length=12)
    description: str = Field(max_length=300)
    service_start: datetime = Field(sa_type=UtcTime)
    service_end: datetime = Field(sa_type=UtcTime)
    quantity: Decimal = Field(sa_type=ExactAmount)
    unit_price: Decimal | None = Field(default=None, sa_type=ExactAmount)
    list_amount: Decimal = Field(sa_type=ExactAmount)
    exact: Decimal = Field(sa_type=ExactAmount)
    net_minor: int = Field(sa_type=LedgerInteger)
    tax_code: str = Field(max_length=60)
    tax_percent: Decimal = Field(sa_type=ExactAmount)
    tax_minor: int = Field(sa_type=LedgerInteger)
    cost: Decimal = Field(sa_type=ExactAmount)
    in_advance: bool
    book_hash: str | None = Field(default=None, max_length=64)
    corrects: str | None = Field(default=None, max_length=200)


class InvoiceLineSourceRow(TenantRow, table=True):
    """Which rated usage a line is made of; kept also when the invoice is void and another takes the usage up."""

    __tablename__ = "invoice_line_source"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "invoice", "line"], ["invoice_line.tenant", "invoice_line.invoice", "invoice_line.line"]
        ),
        ForeignKeyConstraint(
            ["tenant", "charge", "position"], ["rated_usage.tenant", "rated_usage.charge", "rated_usage.position"]
        ),
        _WITHOUT_ROWID,
    )

    invoice: str = Field(primary_key=True, max_length=40)
    line: int = Field(primary_key=True)
    charge: str = Field(primary_key=True, max_length=200)
    position: int = Field(primary_key=True)


class CarriedRemainderRow(TenantRow, table=True):
    """What a customer's finalised invoices in one currency have left below the minor unit, exact, in major units."""

    __tablename__ = "carried_remainder"
    __table_args__ = (ForeignKeyConstraint(["tenant", "customer"], _CUSTOMER), _WITHOUT_ROWID)

    customer: str = Field(primary_key=True, max_length=120)
    currency: str = Field(primary_key=True, max_length=24)
    exact: Decimal = Field(sa_type=ExactAmount)


class SettlementRow(TenantRow, table=True):
    """Something that settled a part of an invoice (positive) or opened it again (negative). Appended only."""

    __tablename__ = "settlement"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "invoice"], _INVOICE),
        UniqueConstraint("tenant", "key"),
        CheckConstraint(
            "kind in ('payment', 'credit', 'wallet', 'credit_note', 'refund', 'write_off', 'recovery', 'to_credit')",
            name="kind",
        ),
    )

    invoice: str = Field(primary_key=True, max_length=40)
    sequence: int = Field(primary_key=True)
    key: str = Field(max_length=200)
    kind: str = Field(max_length=12)
    amount_minor: int = Field(sa_type=LedgerInteger)
    reference: str = Field(default="", max_length=200)
    effective_at: datetime = Field(sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)


class CreditNoteRow(TenantRow, table=True):
    """A numbered document that reduces a finalised invoice. Never changed."""

    __tablename__ = "credit_note"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "invoice"], _INVOICE),
        ForeignKeyConstraint(["tenant", "legal_entity"], ["legal_entity.tenant", "legal_entity.key"]),
        UniqueConstraint("tenant", "legal_entity", "number"),
        UniqueConstraint("tenant", "key"),
        CheckConstraint("net_minor + tax_minor = total_minor", name="total"),
        Index("ix_credit_note_tenant_invoice", "tenant", "invoice"),
    )

    id: str = Field(primary_key=True, max_length=40)
    key: str = Field(max_length=200)
    number: str = Field(max_length=60)
    invoice: str = Field(max_length=40)
    legal_entity: str = Field(max_length=120)
    customer: str = Field(max_length=120)
    currency: str = Field(max_length=24)
    period: str = Field(max_length=7)
    issued_on: date
    reason: str = Field(max_length=500)
    net_minor: int = Field(sa_type=LedgerInteger)
    tax_minor: int = Field(sa_type=LedgerInteger)
    total_minor: int = Field(sa_type=LedgerInteger)
    recorded_at: datetime = Field(sa_type=UtcTime)


class CreditNoteLineRow(TenantRow, table=True):
    """What a credit note takes off one invoice line, in positive minor units."""

    __tablename__ = "credit_note_line"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "credit_note"], ["credit_note.tenant", "credit_note.id"]),
        ForeignKeyConstraint(
            ["tenant", "invoice", "line"], ["invoice_line.tenant", "invoice_line.invoice", "invoice_line.line"]
        ),
        CheckConstraint("net_minor >= 0 and tax_minor >= 0", name="amounts"),
        _WITHOUT_ROWID,
    )

    credit_note: str = Field(primary_key=True, max_length=40)
    line: int = Field(primary_key=True)
    invoice: str = Field(max_length=40)
    net_minor: int = Field(sa_type=LedgerInteger)
    tax_minor: int = Field(sa_type=LedgerInteger)


class DocumentLogRow(TenantRow, table=True):
    """What was issued, in order: the register is this log. A void follows its invoice and takes it back."""

    __tablename__ = "document_log"
    __table_args__ = (
        UniqueConstraint("tenant", "kind", "document"),
        CheckConstraint("kind in ('invoice', 'void', 'credit_note')", name="kind"),
        Index("ix_document_log_tenant_period", "tenant", "period", "cursor"),
        _WITHOUT_ROWID,
    )

    cursor: int = Field(primary_key=True, sa_type=BigInteger)
    kind: str = Field(max_length=12)
    document: str = Field(max_length=40)
    period: str = Field(max_length=7)


class CouponRow(TenantRow, table=True):
    """A coupon as `pricing_engine.coupons` reads it. `currency`: of a fixed amount."""

    __tablename__ = "coupon"

    code: str = Field(primary_key=True, max_length=120)
    currency: str | None = Field(default=None, max_length=24)
    document: Any = Field(sa_type=CanonicalJson)
    recorded_at: datetime = Field(sa_type=UtcTime)


class CouponGrantRow(TenantRow, table=True):
    """A customer holds a coupon from `starts_at` until it is used up or `ends_at`."""

    __tablename__ = "coupon_grant"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "customer"], _CUSTOMER),
        ForeignKeyConstraint(["tenant", "code"], ["coupon.tenant", "coupon.code"]),
    )

    customer: str = Field(primary_key=True, max_length=120)
    code: str = Field(primary_key=True, max_length=120)
    starts_at: datetime = Field(sa_type=UtcTime)
    ends_at: datetime | None = Field(default=None, sa_type=UtcTime)
    recorded_at: datetime = Field(sa_type=UtcTime)


class CouponUseRow(TenantRow, table=True):
    """What a coupon took off one charge, in minor units; each use is one of its periods. Appended only."""

    __tablename__ = "coupon_use"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "charge"], ["charge.tenant", "charge.id"]),
        ForeignKeyConstraint(
            ["tenant", "customer", "code"], ["coupon_grant.tenant", "coupon_grant.customer", "coupon_grant.code"]
        ),
    )

    customer: str = Field(primary_key=True, max_length=120)
    code: str = Field(primary_key=True, max_length=120)
    charge: str = Field(primary_key=True, max_length=200)
    amount_minor: int = Field(sa_type=LedgerInteger)
