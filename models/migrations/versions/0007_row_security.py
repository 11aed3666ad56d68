"""row security."""

revision = "0007_row_security"
down_revision = "0006_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
