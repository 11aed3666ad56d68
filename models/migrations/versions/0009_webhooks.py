"""Webhooks."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0009_webhooks"
down_revision = "0008_console"
branch_labels = None
depends_on = None

_TABLES = ("webhook_endpoint", "webhook_secret", "webhook_event", "webhook_delivery", "webhook_attempt")
_TIME = models.column_types.UtcTime
_JSON = models.column_types.CanonicalJson


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "webhook_endpoint",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("event_types", _JSON(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("failing_since", _TIME(), nullable=True),
        sa.Column("created_at", _TIME(), nullable=False),
        sa.CheckConstraint("state in ('active', 'disabled')", name=op.f("ck_webhook_endpoint_state")),
        sa.CheckConstraint("state = 'disabled' or reason is null", name=op.f("ck_webhook_endpoint_reason")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_table(
        "webhook_secret",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME(), nullable=False),
        sa.Column("expires_at", _TIME(), nullable=True),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_webhook_secret_generation")),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint"],
            ["webhook_endpoint.tenant", "webhook_endpoint.id"],
            name=op.f("fk_webhook_secret_tenant"),
        ),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "generation", name=op.f("pk_webhook_secret")),
    )
    op.create_table(
        "webhook_event",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=60), nullable=False),
        sa.Column("data", _JSON(), nullable=False),
        sa.Column("recorded_at", _TIME(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_webhook_event")),
    )
    op.create_index("ix_webhook_event_recorded", "webhook_event", ["tenant", "recorded_at", "id"], unique=False)
    op.create_table(
        "webhook_delivery",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", _TIME(), nullable=False),
        sa.Column("lease_owner", sa.String(length=120), nullable=True),
        sa.Column("lease_until", _TIME(), nullable=True),
        sa.Column("delivered_at", _TIME(), nullable=True),
        sa.CheckConstraint(
            "state in ('waiting', 'in_flight', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_state")
        ),
        sa.CheckConstraint("(state = 'in_flight') = (lease_owner is not null)", name=op.f("ck_webhook_delivery_lease")),
        sa.CheckConstraint(
            "(lease_owner is null) = (lease_until is null)", name=op.f("ck_webhook_delivery_lease_until")
        ),
        sa.CheckConstraint("tries >= 0 and attempts >= tries", name=op.f("ck_webhook_delivery_counts")),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint"],
            ["webhook_endpoint.tenant", "webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_tenant"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "event"], ["webhook_event.tenant", "webhook_event.id"], name="fk_webhook_delivery_event"
        ),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "event", name=op.f("pk_webhook_delivery")),
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["tenant", "state", "next_at"], unique=False)
    op.create_table(
        "webhook_attempt",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("endpoint", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=300), nullable=True),
        sa.Column("answer", sa.String(length=1000), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("attempted_at", _TIME(), nullable=False),
        sa.CheckConstraint("(status is null) = (error is not null)", name=op.f("ck_webhook_attempt_outcome")),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint", "event"],
            ["webhook_delivery.tenant", "webhook_delivery.endpoint", "webhook_delivery.event"],
            name=op.f("fk_webhook_attempt_tenant"),
        ),
        sa.PrimaryKeyConstraint("tenant", "endpoint", "event", "number", name=op.f("pk_webhook_attempt")),
    )
    row_security.protect(op, *_TABLES)


def downgrade() -> None:
    """Drop the tables."""
    for table in reversed(_TABLES):
        op.drop_table(table)
