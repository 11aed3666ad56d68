"""Usage."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import rules_usage

revision = "0004_usage"
down_revision = "0003_stripe"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "usage_conflict",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("refused_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kept_hash", sa.LargeBinary(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "source", "event_id", "refused_hash", name=op.f("pk_usage_conflict")),
    )
    op.create_table(
        "usage_counter",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("event_type", sa.String(length=120), nullable=False),
        sa.Column("definition", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_usage_counter")),
    )
    op.create_table(
        "usage_cutoff",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("closed_through", models.column_types.UtcTime(), nullable=False),
        sa.Column("run", sa.String(length=120), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "customer", name=op.f("pk_usage_cutoff")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_event",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("event_type", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("occurred_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("data", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("corrects_source", sa.String(length=120), nullable=True),
        sa.Column("corrects_id", sa.String(length=120), nullable=True),
        sa.Column("cancels", sa.Boolean(), nullable=False),
        sa.CheckConstraint("(corrects_id is null) = (corrects_source is null)", name=op.f("ck_usage_event_corrects")),
        sa.CheckConstraint("not cancels or corrects_id is not null", name=op.f("ck_usage_event_cancels")),
        sa.PrimaryKeyConstraint("tenant", "source", "event_id", name=op.f("pk_usage_event")),
    )
    op.create_index(
        "ix_usage_event_by_customer", "usage_event", ["tenant", "customer", "event_type", "occurred_at"], unique=False
    )
    op.create_index(
        "ix_usage_event_corrects",
        "usage_event",
        ["tenant", "corrects_source", "corrects_id", "customer", "event_type"],
        unique=True,
        sqlite_where=sa.text("corrects_id is not null"),
        postgresql_where=sa.text("corrects_id is not null"),
    )
    op.create_table(
        "usage_total",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("counter", sa.String(length=32), nullable=False),
        sa.Column("hour", models.column_types.UtcTime(), nullable=False),
        sa.Column("group_key", sa.String(), nullable=False),
        sa.Column("event_count", sa.BigInteger(), nullable=False),
        sa.Column("total", models.column_types.ExactAmount(), nullable=False),
        sa.Column("highest", models.column_types.ExactAmount(), nullable=True),
        sa.Column("lowest", models.column_types.ExactAmount(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "customer", "counter", "hour", "group_key", name=op.f("pk_usage_total")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_late",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("occurred_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("run", sa.String(length=120), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("settled_by", sa.String(length=120), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "source", "event_id"],
            ["usage_event.tenant", "usage_event.source", "usage_event.event_id"],
            name=op.f("fk_usage_late_tenant_source_event_id"),
        ),
        sa.PrimaryKeyConstraint("tenant", "source", "event_id", "occurred_at", name=op.f("pk_usage_late")),
    )
    op.create_index(
        "ix_usage_late_unsettled",
        "usage_late",
        ["tenant", "customer", "occurred_at"],
        unique=False,
        sqlite_where=sa.text("settled_by is null"),
        postgresql_where=sa.text("settled_by is null"),
    )
    op.create_table(
        "usage_unmatched",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("source", sa.String(length=120), nullable=False),
        sa.Column("event_id", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=250), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("resolved_at", models.column_types.UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "source", "event_id"],
            ["usage_event.tenant", "usage_event.source", "usage_event.event_id"],
            name=op.f("fk_usage_unmatched_tenant_source_event_id"),
        ),
        sa.PrimaryKeyConstraint("tenant", "source", "event_id", "reason", "subject", name=op.f("pk_usage_unmatched")),
    )
    op.create_index(
        "ix_usage_unmatched_open",
        "usage_unmatched",
        ["tenant", "reason", "subject"],
        unique=False,
        sqlite_where=sa.text("resolved_at is null"),
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "usage_alert",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("counter", sa.String(length=32), nullable=False),
        sa.Column("meter", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("threshold", models.column_types.ExactAmount(), nullable=False),
        sa.Column("interval", sa.String(length=12), nullable=False),
        sa.Column("zone", sa.String(length=60), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_usage_alert_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_usage_alert")),
    )
    op.create_index("ix_usage_alert_by_customer", "usage_alert", ["tenant", "customer"], unique=False)
    op.create_table(
        "usage_alert_raised",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("alert", sa.String(length=120), nullable=False),
        sa.Column("period_start", models.column_types.UtcTime(), nullable=False),
        sa.Column("period_end", models.column_types.UtcTime(), nullable=False),
        sa.Column("units", models.column_types.ExactAmount(), nullable=False),
        sa.Column("raised_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "alert"],
            ["usage_alert.tenant", "usage_alert.key"],
            name=op.f("fk_usage_alert_raised_tenant_alert"),
        ),
        sa.PrimaryKeyConstraint("tenant", "alert", "period_start", name=op.f("pk_usage_alert_raised")),
    )
    rules_usage.after(op)


def downgrade() -> None:
    """Drop the tables."""
    rules_usage.before(op)
    op.drop_table("usage_alert_raised")
    op.drop_index("ix_usage_alert_by_customer", table_name="usage_alert")
    op.drop_table("usage_alert")
    op.drop_index(
        "ix_usage_unmatched_open",
        table_name="usage_unmatched",
        sqlite_where=sa.text("resolved_at is null"),
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.drop_table("usage_unmatched")
    op.drop_index(
        "ix_usage_late_unsettled",
        table_name="usage_late",
        sqlite_where=sa.text("settled_by is null"),
        postgresql_where=sa.text("settled_by is null"),
    )
    op.drop_table("usage_late")
    op.drop_table("usage_total")
    op.drop_index(
        "ix_usage_event_corrects",
        table_name="usage_event",
        sqlite_where=sa.text("corrects_id is not null"),
        postgresql_where=sa.text("corrects_id is not null"),
    )
    op.drop_index("ix_usage_event_by_customer", table_name="usage_event")
    op.drop_table("usage_event")
    op.drop_table("usage_cutoff")
    op.drop_table("usage_counter")
    op.drop_table("usage_conflict")
