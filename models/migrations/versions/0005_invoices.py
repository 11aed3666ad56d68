"""invoices."""

revision = "0005_invoices"
down_revision = "0004_usage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
