"""Access."""

import sqlalchemy as sa
from alembic import op

import models.column_types

revision = "0006_access"
down_revision = "0005_invoices"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_key",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("environment", sa.String(length=8), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("last_four", sa.String(length=4), nullable=False),
        sa.Column("scopes", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("expires_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("revoked_at", models.column_types.UtcTime(), nullable=True),
        sa.CheckConstraint("environment in ('sandbox', 'live')", name=op.f("ck_api_key_environment")),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_api_key")),
    )
    op.create_table(
        "audit_entry",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=True),
        sa.Column("action", sa.String(length=120), nullable=False),
        sa.Column("object_type", sa.String(length=60), nullable=False),
        sa.Column("object_id", sa.String(length=120), nullable=False),
        sa.Column("before_hash", sa.String(length=64), nullable=True),
        sa.Column("after_hash", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_audit_entry")),
        sa.UniqueConstraint("tenant", "sequence", name=op.f("uq_audit_entry_tenant_sequence")),
    )
    op.create_index("ix_audit_entry_tenant_object", "audit_entry", ["tenant", "object_type", "object_id"], unique=False)
    op.create_table(
        "request_key",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("(status is null) = (answer is null)", name=op.f("ck_request_key_answered")),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_request_key")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("request_key")
    op.drop_index("ix_audit_entry_tenant_object", table_name="audit_entry")
    op.drop_table("audit_entry")
    op.drop_table("api_key")
