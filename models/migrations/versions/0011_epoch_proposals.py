"""Epochs as they were proposed, and model cards beside their models."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0011_epoch_proposals"
down_revision = "0010_demand"
branch_labels = None
depends_on = None

_TIME = models.column_types.UtcTime
_JSON = models.column_types.CanonicalJson


def upgrade() -> None:
    """Create the table, add the column."""
    op.add_column("demand_model", sa.Column("card", _JSON(), nullable=True))
    op.create_table(
        "epoch_proposal",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("book_key", sa.String(length=120), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("document", _JSON(), nullable=False),
        sa.Column("objections", _JSON(), nullable=False),
        sa.Column("proposed_by", sa.String(length=120), nullable=False),
        sa.Column("proposed_at", _TIME(), nullable=False),
        sa.Column("published_by", sa.String(length=120), nullable=True),
        sa.Column("published_at", _TIME(), nullable=True),
        sa.CheckConstraint("(published_at is null) = (published_by is null)", name=op.f("ck_epoch_proposal_published")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_epoch_proposal")),
    )
    op.create_index(
        "ix_epoch_proposal_book", "epoch_proposal", ["tenant", "book_key", "proposed_at", "id"], unique=False
    )
    row_security.protect(op, "epoch_proposal")


def downgrade() -> None:
    """Drop both."""
    op.drop_table("epoch_proposal")
    op.drop_column("demand_model", "card")
