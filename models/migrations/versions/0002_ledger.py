"""ledger."""

revision = "0002_ledger"
down_revision = "0001_catalog"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
