"""Console."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import row_security

revision = "0008_console"
down_revision = "0007_row_security"
branch_labels = None
depends_on = None

_TABLES = ("person", "console_session", "price_proposal")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "person",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("roles", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("salt", sa.String(length=32), nullable=False),
        sa.Column("password_hash", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("disabled_at", models.column_types.UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("pk_person")),
    )
    op.create_table(
        "console_session",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=120), nullable=False),
        sa.Column("opened_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("expires_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "person"], ["person.tenant", "person.name"], name=op.f("fk_console_session_tenant")
        ),
        sa.PrimaryKeyConstraint("tenant", "token_hash", name=op.f("pk_console_session")),
    )
    op.create_table(
        "price_proposal",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("book_key", sa.String(length=120), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("author", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("changed_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=True),
        sa.Column("remark", sa.String(length=500), nullable=False),
        sa.CheckConstraint(
            "state in ('draft', 'asked', 'published', 'returned', 'withdrawn')", name=op.f("ck_price_proposal_state")
        ),
        sa.CheckConstraint("decided_by is null or decided_by <> author", name=op.f("ck_price_proposal_second_person")),
        sa.CheckConstraint(
            "(state in ('published', 'returned')) = (decided_by is not null)", name=op.f("ck_price_proposal_decided")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_price_proposal")),
    )
    row_security.protect(op, *_TABLES)


def downgrade() -> None:
    """Drop the tables."""
    for table in reversed(_TABLES):
        op.drop_table(table)
