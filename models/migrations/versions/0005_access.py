"""access."""

revision = "0005_access"
down_revision = "0004_usage_and_invoices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
