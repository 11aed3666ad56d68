"""Demand models."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0010_demand"
down_revision = "0009_webhooks"
branch_labels = None
depends_on = None

_TIME = models.column_types.UtcTime


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "demand_model",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("book_key", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("learned_from", _TIME(), nullable=False),
        sa.Column("learned_until", _TIME(), nullable=False),
        sa.Column("silence_is_refusal", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", _TIME(), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_demand_model_version")),
        sa.CheckConstraint("learned_from < learned_until", name=op.f("ck_demand_model_learned")),
        sa.PrimaryKeyConstraint("tenant", "book_key", "version", name=op.f("pk_demand_model")),
        sa.UniqueConstraint(
            "tenant", "book_key", "content_hash", name=op.f("uq_demand_model_tenant_book_key_content_hash")
        ),
    )
    row_security.protect(op, "demand_model")


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("demand_model")
