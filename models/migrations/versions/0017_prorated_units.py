"""The part of a quantity that is billed, of which partners earn."""

import sqlalchemy as sa
from alembic import op

import models.column_types

revision = "0017_prorated_units"
down_revision = "0016_grant_origin"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; rows from before count for their whole quantity, as partners earned."""
    op.add_column("rated_usage", sa.Column("prorated_units", models.column_types.ExactAmount(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("rated_usage", "prorated_units")
