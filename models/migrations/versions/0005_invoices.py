"""Invoices."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import rules_invoices

revision = "0005_invoices"
down_revision = "0004_usage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "billing_period",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=7), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("known_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("finalise_from", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("state in ('open', 'closing', 'closed')", name=op.f("ck_billing_period_state")),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_billing_period")),
    )
    op.create_table(
        "coupon",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=True),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "code", name=op.f("pk_coupon")),
    )
    op.create_table(
        "document_log",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("document", sa.String(length=40), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.CheckConstraint("kind in ('invoice', 'void', 'credit_note')", name=op.f("ck_document_log_kind")),
        sa.PrimaryKeyConstraint("tenant", "cursor", name=op.f("pk_document_log")),
        sa.UniqueConstraint("tenant", "kind", "document", name=op.f("uq_document_log_tenant_kind_document")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_document_log_tenant_period", "document_log", ["tenant", "period", "cursor"], unique=False)
    op.create_table(
        "close_action",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(length=12), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("action in ('begin', 'lock', 'reopen')", name=op.f("ck_close_action_action")),
        sa.ForeignKeyConstraint(
            ["tenant", "period"],
            ["billing_period.tenant", "billing_period.key"],
            name=op.f("fk_close_action_tenant_period"),
        ),
        sa.PrimaryKeyConstraint("tenant", "period", "sequence", name=op.f("pk_close_action")),
    )
    op.create_table(
        "close_run",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("charges", sa.Integer(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "period"],
            ["billing_period.tenant", "billing_period.key"],
            name=op.f("fk_close_run_tenant_period"),
        ),
        sa.PrimaryKeyConstraint("tenant", "period", "attempt", "bucket", name=op.f("pk_close_run")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "number_series",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("legal_entity", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind in ('invoice', 'credit_note')", name=op.f("ck_number_series_kind")),
        sa.CheckConstraint("last_number > 0", name=op.f("ck_number_series_last_number")),
        sa.ForeignKeyConstraint(
            ["tenant", "legal_entity"],
            ["legal_entity.tenant", "legal_entity.key"],
            name=op.f("fk_number_series_tenant_legal_entity"),
        ),
        sa.PrimaryKeyConstraint("tenant", "legal_entity", "kind", "year", name=op.f("pk_number_series")),
    )
    op.create_table(
        "carried_remainder",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("exact", models.column_types.ExactAmount(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"],
            ["customer.tenant", "customer.key"],
            name=op.f("fk_carried_remainder_tenant_customer"),
        ),
        sa.PrimaryKeyConstraint("tenant", "customer", "currency", name=op.f("pk_carried_remainder")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "coupon_grant",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.Column("starts_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("ends_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "code"], ["coupon.tenant", "coupon.code"], name=op.f("fk_coupon_grant_tenant_code")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_coupon_grant_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "customer", "code", name=op.f("pk_coupon_grant")),
    )
    op.create_table(
        "invoice",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=60), nullable=True),
        sa.Column("legal_entity", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False),
        sa.Column("service_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("service_end", models.column_types.UtcTime(), nullable=False),
        sa.Column("exact", models.column_types.ExactAmount(), nullable=False),
        sa.Column("carried_in", models.column_types.ExactAmount(), nullable=False),
        sa.Column("carried_out", models.column_types.ExactAmount(), nullable=False),
        sa.Column("net_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("total_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("settled_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("finalise_from", models.column_types.UtcTime(), nullable=False),
        sa.Column("finalised_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("(state = 'draft') = (number is null)", name=op.f("ck_invoice_number")),
        sa.CheckConstraint(
            "state in ('draft', 'finalised', 'paid', 'void', 'uncollectible')", name=op.f("ck_invoice_state")
        ),
        sa.CheckConstraint("net_minor + tax_minor = total_minor", name=op.f("ck_invoice_total")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_invoice_tenant_customer")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "legal_entity"],
            ["legal_entity.tenant", "legal_entity.key"],
            name=op.f("fk_invoice_tenant_legal_entity"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("tenant", "legal_entity", "number", name=op.f("uq_invoice_tenant_legal_entity_number")),
    )
    op.create_index("ix_invoice_tenant_customer", "invoice", ["tenant", "customer", "currency"], unique=False)
    op.create_index("ix_invoice_tenant_period", "invoice", ["tenant", "period", "state"], unique=False)
    op.create_table(
        "subscription",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("starts_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("trial_ends_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_subscription_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_subscription")),
    )
    op.create_index("ix_subscription_tenant_customer", "subscription", ["tenant", "customer"], unique=False)
    op.create_table(
        "charge",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("known_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("cutoff", models.column_types.UtcTime(), nullable=False),
        sa.Column("exact", models.column_types.ExactAmount(), nullable=False),
        sa.Column("units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("kind in ('close', 'interim', 'addition')", name=op.f("ck_charge_kind")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_charge_tenant_customer")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice"], ["invoice.tenant", "invoice.id"], name=op.f("fk_charge_tenant_invoice")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_charge")),
    )
    op.create_index("ix_charge_tenant_customer_currency", "charge", ["tenant", "customer", "currency"], unique=False)
    op.create_index("ix_charge_tenant_invoice", "charge", ["tenant", "invoice"], unique=False)
    op.create_table(
        "credit_note",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("number", sa.String(length=60), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("legal_entity", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("net_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("total_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("net_minor + tax_minor = total_minor", name=op.f("ck_credit_note_total")),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice"], ["invoice.tenant", "invoice.id"], name=op.f("fk_credit_note_tenant_invoice")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "legal_entity"],
            ["legal_entity.tenant", "legal_entity.key"],
            name=op.f("fk_credit_note_tenant_legal_entity"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_credit_note")),
        sa.UniqueConstraint("tenant", "key", name=op.f("uq_credit_note_tenant_key")),
        sa.UniqueConstraint("tenant", "legal_entity", "number", name=op.f("uq_credit_note_tenant_legal_entity_number")),
    )
    op.create_index("ix_credit_note_tenant_invoice", "credit_note", ["tenant", "invoice"], unique=False)
    op.create_table(
        "invoice_line",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("subscription", sa.String(length=120), nullable=True),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("description", sa.String(length=300), nullable=False),
        sa.Column("service_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("service_end", models.column_types.UtcTime(), nullable=False),
        sa.Column("quantity", models.column_types.ExactAmount(), nullable=False),
        sa.Column("unit_price", models.column_types.ExactAmount(), nullable=True),
        sa.Column("list_amount", models.column_types.ExactAmount(), nullable=False),
        sa.Column("exact", models.column_types.ExactAmount(), nullable=False),
        sa.Column("net_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_code", sa.String(length=60), nullable=False),
        sa.Column("tax_percent", models.column_types.ExactAmount(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("cost", models.column_types.ExactAmount(), nullable=False),
        sa.Column("in_advance", sa.Boolean(), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=True),
        sa.Column("corrects", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice"], ["invoice.tenant", "invoice.id"], name=op.f("fk_invoice_line_tenant_invoice")
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice", "line", name=op.f("pk_invoice_line")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "invoice_party",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice"], ["invoice.tenant", "invoice.id"], name=op.f("fk_invoice_party_tenant_invoice")
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice", name=op.f("pk_invoice_party")),
    )
    op.create_table(
        "settlement",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("amount_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("effective_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint(
            "kind in ('payment', 'credit', 'wallet', 'credit_note', 'refund', 'write_off', 'recovery', 'to_credit')",
            name=op.f("ck_settlement_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice"], ["invoice.tenant", "invoice.id"], name=op.f("fk_settlement_tenant_invoice")
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice", "sequence", name=op.f("pk_settlement")),
        sa.UniqueConstraint("tenant", "key", name=op.f("uq_settlement_tenant_key")),
    )
    op.create_table(
        "subscription_phase",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("subscription", sa.String(length=120), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("starts_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=False),
        sa.Column("sheet_hash", sa.String(length=64), nullable=True),
        sa.Column("quote_id", sa.String(length=36), nullable=True),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("state in ('active', 'paused', 'ended')", name=op.f("ck_subscription_phase_state")),
        sa.ForeignKeyConstraint(
            ["tenant", "book_hash"],
            ["price_book.tenant", "price_book.content_hash"],
            name=op.f("fk_subscription_phase_tenant_book_hash"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "quote_id"], ["quote.tenant", "quote.id"], name=op.f("fk_subscription_phase_tenant_quote_id")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "sheet_hash"],
            ["price_sheet.tenant", "price_sheet.sheet_hash"],
            name=op.f("fk_subscription_phase_tenant_sheet_hash"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "subscription"],
            ["subscription.tenant", "subscription.id"],
            name=op.f("fk_subscription_phase_tenant_subscription"),
        ),
        sa.PrimaryKeyConstraint("tenant", "subscription", "sequence", name=op.f("pk_subscription_phase")),
    )
    op.create_table(
        "coupon_use",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("code", sa.String(length=120), nullable=False),
        sa.Column("charge", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "charge"], ["charge.tenant", "charge.id"], name=op.f("fk_coupon_use_tenant_charge")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "customer", "code"],
            ["coupon_grant.tenant", "coupon_grant.customer", "coupon_grant.code"],
            name=op.f("fk_coupon_use_tenant_customer_code"),
        ),
        sa.PrimaryKeyConstraint("tenant", "customer", "code", "charge", name=op.f("pk_coupon_use")),
    )
    op.create_table(
        "credit_note_line",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("credit_note", sa.String(length=40), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("net_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.CheckConstraint("net_minor >= 0 and tax_minor >= 0", name=op.f("ck_credit_note_line_amounts")),
        sa.ForeignKeyConstraint(
            ["tenant", "credit_note"],
            ["credit_note.tenant", "credit_note.id"],
            name=op.f("fk_credit_note_line_tenant_credit_note"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice", "line"],
            ["invoice_line.tenant", "invoice_line.invoice", "invoice_line.line"],
            name=op.f("fk_credit_note_line_tenant_invoice_line"),
        ),
        sa.PrimaryKeyConstraint("tenant", "credit_note", "line", name=op.f("pk_credit_note_line")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rated_usage",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("charge", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("subscription", sa.String(length=120), nullable=True),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("in_advance", sa.Boolean(), nullable=False),
        sa.Column("cycle_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("cycle_end", models.column_types.UtcTime(), nullable=False),
        sa.Column("segment_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("service_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("service_end", models.column_types.UtcTime(), nullable=False),
        sa.Column("quantity", models.column_types.ExactAmount(), nullable=False),
        sa.Column("list_amount", models.column_types.ExactAmount(), nullable=False),
        sa.Column("amount", models.column_types.ExactAmount(), nullable=False),
        sa.Column("cost", models.column_types.ExactAmount(), nullable=False),
        sa.Column("tax_category", sa.String(length=60), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=True),
        sa.Column("corrects", sa.String(length=200), nullable=True),
        sa.Column("detail", models.column_types.CanonicalJson(), nullable=False),
        sa.CheckConstraint(
            "kind in ('usage', 'recurring', 'commitment', 'coupon', 'addition')", name=op.f("ck_rated_usage_kind")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "book_hash"],
            ["price_book.tenant", "price_book.content_hash"],
            name=op.f("fk_rated_usage_tenant_book_hash"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "charge"], ["charge.tenant", "charge.id"], name=op.f("fk_rated_usage_tenant_charge")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "subscription"],
            ["subscription.tenant", "subscription.id"],
            name=op.f("fk_rated_usage_tenant_subscription"),
        ),
        sa.PrimaryKeyConstraint("tenant", "charge", "position", name=op.f("pk_rated_usage")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_rated_usage_tenant_subscription_cycle_end",
        "rated_usage",
        ["tenant", "subscription", "cycle_end"],
        unique=False,
    )
    op.create_table(
        "invoice_line_source",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice", sa.String(length=40), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("charge", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "charge", "position"],
            ["rated_usage.tenant", "rated_usage.charge", "rated_usage.position"],
            name=op.f("fk_invoice_line_source_tenant_charge_position"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice", "line"],
            ["invoice_line.tenant", "invoice_line.invoice", "invoice_line.line"],
            name=op.f("fk_invoice_line_source_tenant_invoice_line"),
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice", "line", "charge", "position", name=op.f("pk_invoice_line_source")),
        sqlite_with_rowid=False,
    )
    rules_invoices.after(op)


def downgrade() -> None:
    """Drop the tables."""
    rules_invoices.before(op)
    op.drop_table("invoice_line_source")
    op.drop_index("ix_rated_usage_tenant_subscription_cycle_end", table_name="rated_usage")
    op.drop_table("rated_usage")
    op.drop_table("credit_note_line")
    op.drop_table("coupon_use")
    op.drop_table("subscription_phase")
    op.drop_table("settlement")
    op.drop_table("invoice_party")
    op.drop_table("invoice_line")
    op.drop_index("ix_credit_note_tenant_invoice", table_name="credit_note")
    op.drop_table("credit_note")
    op.drop_index("ix_charge_tenant_invoice", table_name="charge")
    op.drop_index("ix_charge_tenant_customer_currency", table_name="charge")
    op.drop_table("charge")
    op.drop_index("ix_subscription_tenant_customer", table_name="subscription")
    op.drop_table("subscription")
    op.drop_index("ix_invoice_tenant_period", table_name="invoice")
    op.drop_index("ix_invoice_tenant_customer", table_name="invoice")
    op.drop_table("invoice")
    op.drop_table("coupon_grant")
    op.drop_table("carried_remainder")
    op.drop_table("number_series")
    op.drop_table("close_run")
    op.drop_table("close_action")
    op.drop_index("ix_document_log_tenant_period", table_name="document_log")
    op.drop_table("document_log")
    op.drop_table("coupon")
    op.drop_table("billing_period")
