"""Stripe."""

import sqlalchemy as sa
from alembic import op

import models.column_types

revision = "0003_stripe"
down_revision = "0002_ledger"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "stripe_customer",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("stripe_id", sa.String(length=255), nullable=True),
        sa.Column("details_sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_stripe_customer")),
        sa.UniqueConstraint("tenant", "stripe_id", name=op.f("uq_stripe_customer_tenant_stripe_id")),
    )
    op.create_table(
        "stripe_event",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=120), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("last_error", sa.String(length=500), nullable=True),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("received_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("source in ('webhook', 'reconciliation')", name=op.f("ck_stripe_event_source")),
        sa.CheckConstraint("state in ('waiting', 'done', 'ignored', 'failed')", name=op.f("ck_stripe_event_state")),
        sa.PrimaryKeyConstraint("tenant", "event_id", name=op.f("pk_stripe_event")),
    )
    op.create_index("ix_stripe_event_created", "stripe_event", ["tenant", "created_at"], unique=False)
    op.create_index("ix_stripe_event_waiting", "stripe_event", ["tenant", "state", "next_at"], unique=False)
    op.create_table(
        "stripe_invoice",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice_id", sa.String(length=120), nullable=False),
        sa.Column("number", sa.String(length=60), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("total_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("settled_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("carried_in_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("collect_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("carried_out_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("carried_into", sa.String(length=120), nullable=True),
        sa.Column("incarnation", sa.Integer(), nullable=False),
        sa.Column("stripe_id", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("paid_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("failed_attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("needs_review", sa.String(length=500), nullable=True),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("synced_at", models.column_types.UtcTime(), nullable=True),
        sa.CheckConstraint(
            "status in ('closed', 'draft', 'filled', 'verified', 'open', 'paid', 'uncollectible', 'void', 'settled')",
            name=op.f("ck_stripe_invoice_status"),
        ),
        sa.CheckConstraint(
            "carried_into is null or carried_out_minor > 0", name=op.f("ck_stripe_invoice_carried_into")
        ),
        sa.CheckConstraint(
            "collect_minor >= 0 and carried_out_minor >= 0 and carried_in_minor >= 0",
            name=op.f("ck_stripe_invoice_signs"),
        ),
        sa.CheckConstraint(
            "total_minor + carried_in_minor - settled_minor = collect_minor + carried_out_minor",
            name=op.f("ck_stripe_invoice_amounts"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "carried_into"],
            ["stripe_invoice.tenant", "stripe_invoice.invoice_id"],
            name=op.f("fk_stripe_invoice_tenant_carried_into"),
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice_id", name=op.f("pk_stripe_invoice")),
        sa.UniqueConstraint("tenant", "stripe_id", name=op.f("uq_stripe_invoice_tenant_stripe_id")),
    )
    op.create_index("ix_stripe_invoice_customer", "stripe_invoice", ["tenant", "customer", "currency"], unique=False)
    op.create_index("ix_stripe_invoice_status", "stripe_invoice", ["tenant", "status", "next_attempt_at"], unique=False)
    op.create_table(
        "stripe_op",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("aggregate", sa.String(length=12), nullable=False),
        sa.Column("aggregate_id", sa.String(length=120), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("params", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("params_sha256", sa.String(length=64), nullable=False),
        sa.Column("idem_key", sa.String(length=255), nullable=False),
        sa.Column("key_generation", sa.Integer(), nullable=False),
        sa.Column("waits_for", sa.String(length=120), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("lease_owner", sa.String(length=120), nullable=True),
        sa.Column("lease_until", models.column_types.UtcTime(), nullable=True),
        sa.Column("first_sent_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("stripe_id", sa.String(length=255), nullable=True),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        sa.Column("last_error", models.column_types.CanonicalJson(), nullable=True),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("done_at", models.column_types.UtcTime(), nullable=True),
        sa.CheckConstraint("(state = 'in_flight') = (lease_owner is not null)", name=op.f("ck_stripe_op_lease")),
        sa.CheckConstraint(
            "aggregate in ('customer', 'invoice', 'payment', 'transfer', 'usage', 'cleanup')",
            name=op.f("ck_stripe_op_aggregate"),
        ),
        sa.CheckConstraint(
            "state in ('pending', 'in_flight', 'retry_wait', 'ambiguous', 'done', 'dead', 'cancelled')",
            name=op.f("ck_stripe_op_state"),
        ),
        sa.CheckConstraint("(lease_owner is null) = (lease_until is null)", name=op.f("ck_stripe_op_lease_until")),
        sa.CheckConstraint("key_generation >= 1 and attempts >= 0", name=op.f("ck_stripe_op_counts")),
        sa.PrimaryKeyConstraint("tenant", "aggregate", "aggregate_id", "seq", name=op.f("pk_stripe_op")),
        sa.UniqueConstraint("tenant", "idem_key", name=op.f("uq_stripe_op_tenant_idem_key")),
    )
    op.create_index("ix_stripe_op_due", "stripe_op", ["tenant", "state", "next_at"], unique=False)
    op.create_table(
        "stripe_rate",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("next_slot_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_stripe_rate")),
    )
    op.create_table(
        "stripe_fact",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("reference", sa.String(length=300), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("invoice_id", sa.String(length=120), nullable=False),
        sa.Column("amount_minor", models.column_types.LedgerInteger(), nullable=True),
        sa.Column("detail", sa.String(length=255), nullable=False),
        sa.Column("occurred_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice_id"],
            ["stripe_invoice.tenant", "stripe_invoice.invoice_id"],
            name=op.f("fk_stripe_fact_tenant_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("tenant", "reference", name=op.f("pk_stripe_fact")),
    )
    op.create_index("ix_stripe_fact_invoice", "stripe_fact", ["tenant", "invoice_id", "kind"], unique=False)
    op.create_table(
        "stripe_line",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("invoice_id", sa.String(length=120), nullable=False),
        sa.Column("line_id", sa.String(length=120), nullable=False),
        sa.Column("remote_ref", sa.String(length=128), nullable=False),
        sa.Column("amount_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("tax_minor", models.column_types.LedgerInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "invoice_id"],
            ["stripe_invoice.tenant", "stripe_invoice.invoice_id"],
            name=op.f("fk_stripe_line_tenant_invoice_id"),
        ),
        sa.PrimaryKeyConstraint("tenant", "invoice_id", "line_id", name=op.f("pk_stripe_line")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("stripe_line")
    op.drop_index("ix_stripe_fact_invoice", table_name="stripe_fact")
    op.drop_table("stripe_fact")
    op.drop_table("stripe_rate")
    op.drop_index("ix_stripe_op_due", table_name="stripe_op")
    op.drop_table("stripe_op")
    op.drop_index("ix_stripe_invoice_status", table_name="stripe_invoice")
    op.drop_index("ix_stripe_invoice_customer", table_name="stripe_invoice")
    op.drop_table("stripe_invoice")
    op.drop_index("ix_stripe_event_waiting", table_name="stripe_event")
    op.drop_index("ix_stripe_event_created", table_name="stripe_event")
    op.drop_table("stripe_event")
    op.drop_table("stripe_customer")
