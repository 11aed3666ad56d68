"""Row security."""

from alembic import op

from models.migrations import row_security

revision = "0007_row_security"
down_revision = "0006_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let each transaction see the rows of its tenant only."""
    row_security.after(op)


def downgrade() -> None:
    """Take the protection off."""
    row_security.before(op)
