"""Units of limited features that subscriptions keep."""

import sqlalchemy as sa
from alembic import op

from models.migrations import row_security

revision = "0015_kept_units"
down_revision = "0012_usage_holds"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "kept_units",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("subscription", sa.String(length=120), nullable=False),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_kept_units_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "feature"],
            ["feature_supply.tenant", "feature_supply.feature"],
            name=op.f("fk_kept_units_tenant_feature"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "subscription"],
            ["subscription.tenant", "subscription.id"],
            name=op.f("fk_kept_units_tenant_subscription"),
        ),
        sa.PrimaryKeyConstraint("tenant", "subscription", "feature", name=op.f("pk_kept_units")),
    )
    row_security.protect(op, "kept_units")


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("kept_units")
