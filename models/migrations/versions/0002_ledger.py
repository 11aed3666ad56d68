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
        sa.Column("bounded", sa.Boolean(), nullable=False),
        sa.CheckConstraint("not bounded or balance <= 0", name=op.f("ck_account_balance_bounded")),
        sa.ForeignKeyConstraint(
            ["tenant", "account"], ["account.tenant", "account.id"], name=op.f("fk_account_balance_tenant_account")
        ),
        sa.PrimaryKeyConstraint("tenant", "account", name=op.f("pk_account_balance")),
        sqlite_with_rowid=False,
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
            ["tenant", "journal"],
            ["journal_seal.tenant", "journal_seal.journal"],
            name=op.f("fk_entry_tenant_journal"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("tenant", "journal", "leg", name=op.f("pk_entry")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entry_tenant_account_journal", "entry", ["tenant", "account", "journal"], unique=False)
    op.create_table(
        "journal",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("effective_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("reverses", sa.BigInteger(), nullable=True),
        sa.Column("memo", sa.String(length=500), nullable=False),
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
        "credit_hold",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=190), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("feature", sa.String(length=120), nullable=False),
        sa.Column("units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("settled_units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("expires_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("resolved_at", models.column_types.UtcTime(), nullable=True),
        sa.CheckConstraint("(state = 'pending') = (resolved_at is null)", name=op.f("ck_credit_hold_resolved")),
        sa.CheckConstraint("state in ('pending', 'settled', 'released', 'expired')", name=op.f("ck_credit_hold_state")),
        sa.CheckConstraint("units > 0 and settled_units >= 0", name=op.f("ck_credit_hold_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_credit_hold_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_credit_hold")),
    )
    op.create_index("ix_credit_hold_tenant_state", "credit_hold", ["tenant", "state", "expires_at"], unique=False)
    op.create_table(
        "wallet",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("customer", sa.String(length=120), nullable=False),
        sa.Column("asset", sa.String(length=24), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("features", models.column_types.CanonicalJson(), nullable=True),
        sa.Column("top_up_below", models.column_types.LedgerInteger(), nullable=True),
        sa.Column("top_up_units", models.column_types.LedgerInteger(), nullable=True),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("(top_up_below is null) = (top_up_units is null)", name=op.f("ck_wallet_top_up")),
        sa.CheckConstraint("top_up_units > 0", name=op.f("ck_wallet_top_up_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "customer"], ["customer.tenant", "customer.key"], name=op.f("fk_wallet_tenant_customer")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_wallet")),
    )
    op.create_index("ix_wallet_tenant_customer", "wallet", ["tenant", "customer", "asset"], unique=False)
    op.create_table(
        "credit_grant",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("id", sa.String(length=140), nullable=False),
        sa.Column("wallet", sa.String(length=120), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("remaining", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("held", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("cost_asset", sa.String(length=24), nullable=False),
        sa.Column("cost_units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("cost_remaining", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("starts_at", models.column_types.UtcTime(), nullable=False),
        sa.Column("expires_at", models.column_types.UtcTime(), nullable=True),
        sa.Column("rollover_units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("rollover_days", sa.Integer(), nullable=False),
        sa.Column("recorded_at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("kind in ('paid', 'promotional')", name=op.f("ck_credit_grant_kind")),
        sa.CheckConstraint("cost_remaining >= 0 and cost_remaining <= cost_units", name=op.f("ck_credit_grant_cost")),
        sa.CheckConstraint("expires_at is null or expires_at > starts_at", name=op.f("ck_credit_grant_dates")),
        sa.CheckConstraint("held >= 0 and remaining >= held", name=op.f("ck_credit_grant_held")),
        sa.CheckConstraint("units > 0 and remaining <= units", name=op.f("ck_credit_grant_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "wallet"], ["wallet.tenant", "wallet.id"], name=op.f("fk_credit_grant_tenant_wallet")
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name=op.f("pk_credit_grant")),
        sa.UniqueConstraint("tenant", "sequence", name=op.f("uq_credit_grant_tenant_sequence")),
    )
    op.create_index("ix_credit_grant_tenant_expires_at", "credit_grant", ["tenant", "expires_at"], unique=False)
    op.create_index("ix_credit_grant_tenant_wallet", "credit_grant", ["tenant", "wallet"], unique=False)
    op.create_table(
        "burn",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("credit_grant", sa.String(length=140), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("cost_units", models.column_types.LedgerInteger(), nullable=False),
        sa.Column("at", models.column_types.UtcTime(), nullable=False),
        sa.CheckConstraint("kind in ('burn', 'expiry', 'rollover', 'refund')", name=op.f("ck_burn_kind")),
        sa.CheckConstraint("units > 0", name=op.f("ck_burn_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "credit_grant"],
            ["credit_grant.tenant", "credit_grant.id"],
            name=op.f("fk_burn_tenant_credit_grant"),
        ),
        sa.PrimaryKeyConstraint("tenant", "key", "credit_grant", name=op.f("pk_burn")),
    )
    op.create_index("ix_burn_tenant_credit_grant", "burn", ["tenant", "credit_grant"], unique=False)
    op.create_table(
        "hold_part",
        sa.Column("tenant", sa.String(length=120), nullable=False),
        sa.Column("hold", sa.String(length=190), nullable=False),
        sa.Column("credit_grant", sa.String(length=140), nullable=False),
        sa.Column("units", models.column_types.LedgerInteger(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_hold_part_units")),
        sa.ForeignKeyConstraint(
            ["tenant", "credit_grant"],
            ["credit_grant.tenant", "credit_grant.id"],
            name=op.f("fk_hold_part_tenant_credit_grant"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "hold"], ["credit_hold.tenant", "credit_hold.key"], name=op.f("fk_hold_part_tenant_hold")
        ),
        sa.PrimaryKeyConstraint("tenant", "hold", "credit_grant", name=op.f("pk_hold_part")),
    )
    rules_ledger.after(op)


def downgrade() -> None:
    """Drop the tables."""
    rules_ledger.before(op)
    op.drop_table("hold_part")
    op.drop_index("ix_burn_tenant_credit_grant", table_name="burn")
    op.drop_table("burn")
    op.drop_index("ix_credit_grant_tenant_wallet", table_name="credit_grant")
    op.drop_index("ix_credit_grant_tenant_expires_at", table_name="credit_grant")
    op.drop_table("credit_grant")
    op.drop_index("ix_wallet_tenant_customer", table_name="wallet")
    op.drop_table("wallet")
    op.drop_index("ix_credit_hold_tenant_state", table_name="credit_hold")
    op.drop_table("credit_hold")
    op.drop_index(
        "uq_journal_tenant_reverses",
        table_name="journal",
        sqlite_where=sa.text("reverses is not null"),
        postgresql_where=sa.text("reverses is not null"),
    )
    op.drop_index("ix_journal_tenant_effective_at", table_name="journal")
    op.drop_table("journal")
    op.drop_index("ix_entry_tenant_account_journal", table_name="entry")
    op.drop_table("entry")
    op.drop_table("account_balance")
    op.drop_table("journal_seal")
    op.drop_table("carried_amount")
    op.drop_index("ix_accrual_tenant_party_asset", table_name="accrual")
    op.drop_table("accrual")
    op.drop_table("account")
