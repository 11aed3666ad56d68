"""The sandbox clock."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0014_sandbox_clock"
down_revision = "0011_epoch_proposals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "sandbox_clock",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("ahead_us", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("moved_by", sa.String(length=120), nullable=False),
        sa.CheckConstraint("ahead_us >= 0", name=op.f("ck_sandbox_clock_ahead_us")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_sandbox_clock")),
    )
    row_security.protect(op, "sandbox_clock")


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("sandbox_clock")
