"""Catalog."""

import sqlalchemy as sa
from alembic import op

import models.column_types

revision = "0001_catalog"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "feature_supply",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("supply_limit", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("sold", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "held >= 0 and sold >= 0 and held + sold <= supply_limit", name=op.f("ck_feature_supply_within_limit")
        ),
        sa.PrimaryKeyConstraint("tenant", "feature", name=op.f("pk_feature_supply")),
    )
    op.create_table(
        "legal_entity",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("address", sa.String(length=500), nullable=False),
        sa.Column("tax_id", sa.String(length=60), nullable=False),
        sa.Column("number_prefix", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_legal_entity")),
    )
    op.create_table(
        "price_book",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("book_key", sa.String(length=120), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("channel", sa.String(length=120), nullable=True),
        sa.Column("effective_from", models.column_types.UtcTime(), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_price_book_version")),
        sa.PrimaryKeyConstraint("tenant", "content_hash", name=op.f("pk_price_book")),
        sa.UniqueConstraint("tenant", "book_key", "version", name=op.f("uq_price_book_tenant_book_key_version")),
    )
    op.create_table(
        "customer",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("legal_entity", sa.String(length=120), nullable=False),
        sa.Column("legal_name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=False),
        sa.Column("address", sa.String(length=500), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("language", sa.String(length=12), nullable=False),
        sa.Column("zone", sa.String(length=60), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("segment", sa.String(length=120), nullable=False),
        sa.Column("channel", sa.String(length=120), nullable=False),
        sa.Column("tax_id", sa.String(length=60), nullable=False),
        sa.Column("tax_exempt", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "legal_entity"],
            ["legal_entity.tenant", "legal_entity.key"],
            name=op.f("fk_customer_tenant_legal_entity"),
        ),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_customer")),
    )
    op.create_table(
        "price_book_release",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("book_key", sa.String(length=120), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("effective_from", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("approver", sa.String(length=120), nullable=True),
        sa.CheckConstraint("state in ('published', 'archived')", name=op.f("ck_price_book_release_state")),
        sa.ForeignKeyConstraint(
            ["tenant", "content_hash"],
            ["price_book.tenant", "price_book.content_hash"],
            name=op.f("fk_price_book_release_tenant_content_hash"),
        ),
        sa.PrimaryKeyConstraint("tenant", "book_key", "sequence", name=op.f("pk_price_book_release")),
    )
    op.create_table(
        "price_sheet",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("sheet_hash", sa.String(length=64), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.String(length=120), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("effective_from", models.column_types.UtcTime(), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "book_hash"],
            ["price_book.tenant", "price_book.content_hash"],
            name=op.f("fk_price_sheet_tenant_book_hash"),
        ),
        sa.PrimaryKeyConstraint("tenant", "sheet_hash", name=op.f("pk_price_sheet")),
        sa.UniqueConstraint(
            "tenant", "book_hash", "segment", "epoch", name=op.f("uq_price_sheet_tenant_book_hash_segment_epoch")
        ),
    )
    op.create_table(
        "negotiated_term",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("approver", sa.String(length=120), nullable=False),
        sa.Column("starts_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("ends_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("ends_at is null or ends_at > starts_at", name=op.f("ck_negotiated_term_dates")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_negotiated_term_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_negotiated_term")),
    )
    op.create_table(
        "quote",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("book_hash", sa.String(length=64), nullable=False),
        sa.Column("sheet_hash", sa.String(length=64), nullable=False),
        sa.Column("quote_hash", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=24), nullable=False),
        sa.Column("total", models.column_types.ExactAmount(), nullable=False),
        sa.Column("document", models.column_types.CanonicalJson(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("expires_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("resolved_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("accept_key", sa.String(length=120), nullable=True),
        sa.CheckConstraint("state in ('open', 'accepted', 'released', 'expired')", name=op.f("ck_quote_state")),
        sa.ForeignKeyConstraint(
            ["tenant", "book_hash"],
            ["price_book.tenant", "price_book.content_hash"],
            name=op.f("fk_quote_tenant_book_hash"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_quote_tenant_customer")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "sheet_hash"],
            ["price_sheet.tenant", "price_sheet.sheet_hash"],
            name=op.f("fk_quote_tenant_sheet_hash"),
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_quote")),
        sa.UniqueConstraint("tenant", "accept_key", name=op.f("uq_quote_tenant_accept_key")),
    )
    op.create_index("ix_quote_open", "quote", ["tenant", "state", "expires_at"], unique=False)
    op.create_table(
        "quote_hold",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("quote_id", sa.String(length=36), nullable=False),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_quote_hold_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "feature"],
            ["feature_supply.tenant", "feature_supply.feature"],
            name=op.f("fk_quote_hold_tenant_feature"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "quote_id"], ["quote.tenant", "quote.id"], name=op.f("fk_quote_hold_tenant_quote_id")
        ),
        sa.PrimaryKeyConstraint("tenant", "quote_id", "feature", name=op.f("pk_quote_hold")),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("quote_hold")
    op.drop_index("ix_quote_open", table_name="quote")
    op.drop_table("quote")
    op.drop_table("negotiated_term")
    op.drop_table("price_sheet")
    op.drop_table("price_book_release")
    op.drop_table("customer")
    op.drop_table("price_book")
    op.drop_table("legal_entity")
    op.drop_table("feature_supply")
