"""Ledger."""

import sqlalchemy as sa
from alembic import op

import models.column_types
from models.migrations import rules_ledger

revision = "0002_ledger"
down_revision = "0001_catalog"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "account",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("asset", sa.String(length=32), nullable=False),
        sa.Column("party", sa.String(length=120), nullable=False),
        sa.Column("detail", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_account")),
        sa.UniqueConstraint(
            "tenant", "code", "asset", "party", "detail", name=op.f("uq_account_tenant_code_asset_party_detail")
        ),
        sa.UniqueConstraint("tenant", "id", "asset", name=op.f("uq_account_tenant_id_asset")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accrual",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("party", sa.String(length=120), nullable=False),
        sa.Column("asset", sa.String(length=32), nullable=False),
        sa.Column("effective_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("by_feature", models.column_types.CanonicalJson(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_accrual")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_accrual_tenant_party_asset", "accrual", ["tenant", "party", "asset"], unique=False)
    op.create_table(
        "carried_amount",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("party", sa.String(length=120), nullable=False),
        sa.Column("asset", sa.String(length=32), nullable=False),
        sa.Column("exact", models.column_types.ExactAmount(), nullable=False),
        sa.Column("posted", models.column_types.LedgerInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "party", "asset", name=op.f("pk_carried_amount")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal_seal",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("journal", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "journal", name=op.f("pk_journal_seal")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "account_balance",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("balance", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("bounded", sa.Boolean(), nullable=False),
        sa.CheckConstraint("not bounded or balance <= 0", name=op.f("ck_account_balance_bounded")),
        sa.ForeignKeyConstraint(
            ["tenant", "account"], ["account.tenant", "account.id"], name=op.f("fk_account_balance_tenant_account")
        ),
        sa.PrimaryKeyConstraint("tenant", "account", name=op.f("pk_account_balance")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("effective_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("canonical", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "id"],
            ["journal_seal.tenant", "journal_seal.journal"],
            name=op.f("fk_journal_tenant_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "reverses"], ["journal.tenant", "journal.id"], name=op.f("fk_journal_tenant_reverses")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_journal")),
        sa.UniqueConstraint("tenant", "key", name=op.f("uq_journal_tenant_key")),
    )
    op.create_index("ix_journal_tenant_effective_at", "journal", ["tenant", "effective_at"], unique=False)
    op.create_index(
        "uq_journal_tenant_reverses",
        "journal",
        ["tenant", "reverses"],
        unique=True,
        sqlite_where=sa.text("reverses is not null"),
        postgresql_where=sa.text("reverses is not null"),
    )
    op.create_table(
        "entry",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("journal", sa.BigInteger(), nullable=False),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("account", sa.BigInteger(), nullable=False),
        sa.Column("asset", sa.String(length=32), nullable=False),
        sa.Column("amount", models.column_types.LedgerInteger(), nullable=False),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_entry_amount")),
        sa.ForeignKeyConstraint(
            ["tenant", "account", "asset"],
            ["account.tenant", "account.id", "account.asset"],
            name=op.f("fk_entry_tenant_account_asset"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "journal"], ["journal.tenant", "journal.id"], name=op.f("fk_entry_tenant_journal")
        ),
        sa.PrimaryKeyConstraint("tenant", "journal", "leg", name=op.f("pk_entry")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entry_tenant_account_journal", "entry", ["tenant", "account", "journal"], unique=False)
    rules_ledger.after(op)


def downgrade() -> None:
    """Drop the tables."""
    rules_ledger.before(op)
    op.drop_index("ix_entry_tenant_account_journal", table_name="entry")
    op.drop_table("entry")
    op.drop_index(
        "uq_journal_tenant_reverses",
        table_name="journal",
        sqlite_where=sa.text("reverses is not null"),
        postgresql_where=sa.text("reverses is not null"),
    )
    op.drop_index("ix_journal_tenant_effective_at", table_name="journal")
    op.drop_table("journal")
    op.drop_table("account_balance")
    op.drop_table("journal_seal")
    op.drop_table("carried_amount")
    op.drop_index("ix_accrual_tenant_party_asset", table_name="accrual")
    op.drop_table("accrual")
    op.drop_table("account")
