"""Of which grant a void gave credit back: they share what may roll over."""

import sqlalchemy as sa
from alembic import op

revision = "0016_grant_origin"
down_revision = "0015_kept_units"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what voids gave back before keeps a rollover of its own."""
    op.add_column("credit_grant", sa.Column("origin", sa.String(length=140), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("credit_grant", "origin")
