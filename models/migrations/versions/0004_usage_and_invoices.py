"""usage and invoices."""

revision = "0004_usage_and_invoices"
down_revision = "0003_stripe"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
