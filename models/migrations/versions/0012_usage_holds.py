"""Holds on usage, and alerts that are limits."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0012_usage_holds"
down_revision = "0014_sandbox_clock"
branch_labels = None
depends_on = None

_TIME = models.column_types.UtcTime
_JSON = models.column_types.CanonicalJson


def upgrade() -> None:
    """Create the table, add the column."""
    op.create_table(
        "usage_hold",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("event_type", sa.String(length=120), nullable=False),
        sa.Column("data", _JSON(), nullable=False),
        sa.Column("prepaid", sa.Boolean(), nullable=False),
        sa.Column("reserved", _JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", _TIME(), nullable=False),
        sa.Column("expires_at", _TIME(), nullable=False),
        sa.Column("resolved_at", _TIME(), nullable=True),
        sa.Column("settled", _JSON(), nullable=True),
        sa.Column("source", sa.String(length=120), nullable=True),
        sa.Column("event_id", sa.String(length=120), nullable=True),
        sa.CheckConstraint("state in ('pending', 'settled', 'released', 'expired')", name=op.f("ck_usage_hold_state")),
        sa.CheckConstraint("(state = 'pending') = (resolved_at is null)", name=op.f("ck_usage_hold_resolved")),
        sa.CheckConstraint("(state = 'settled') = (event_id is not null)", name=op.f("ck_usage_hold_settled")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_usage_hold_tenant_customer")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "source", "event_id"],
            ["usage_event.tenant", "usage_event.source", "usage_event.event_id"],
            name=op.f("fk_usage_hold_tenant_source_event_id"),
        ),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_usage_hold")),
        sa.UniqueConstraint("tenant", "source", "event_id", name=op.f("uq_usage_hold_tenant_source_event_id")),
    )
    op.create_index("ix_usage_hold_pending", "usage_hold", ["tenant", "state", "customer", "expires_at"])
    row_security.protect(op, "usage_hold")
    op.add_column("usage_alert", sa.Column("is_limit", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop both."""
    with op.batch_alter_table("usage_alert") as alert:
        alert.drop_column("is_limit")
    op.drop_table("usage_hold")
