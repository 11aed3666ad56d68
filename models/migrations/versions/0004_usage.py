"""usage."""

revision = "0004_usage"
down_revision = "0003_stripe"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
