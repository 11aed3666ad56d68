"""access."""

revision = "0006_access"
down_revision = "0005_invoices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
