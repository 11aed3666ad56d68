"""What stands beside the ledger is compared with it: accruals, grants, holds, wallet accounts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from billing import accruals, holds, wallets
from billing.burn_down import GrantKind
from billing.carrying import Accrual
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.verification import verify
from tests.ledger_damage import disarm
from tests.ledger_facts import NOON, TENANT, add_customers, grant


@pytest.fixture
def lived_in(database: Database) -> Database:
    """A ledger with accruals, grants of every kind, burns, a pending hold and expiries."""
    add_customers(database, "acme")
    hour = timedelta(hours=1)
    with database.writing(TENANT) as uow:
        parts = (("chat", Decimal("0.123456789")), ("image", Decimal("0.000000000001")))
        accruals.accrue(uow, [Accrual(f"a{i}", "acme", "USD", NOON, parts) for i in range(5)], recorded_at=NOON)
        wallets.open_wallet(uow, wallets.Wallet("main", "acme", "USD"), recorded_at=NOON)
        wallets.open_wallet(uow, wallets.Wallet("tokens", "acme", "XTOKENS.0"), recorded_at=NOON)
        for given in (
            grant("paid", 100),
            grant("promo", 30, kind=GrantKind.PROMOTIONAL, expires_at=NOON + hour, rollover_units=10, rollover_days=3),
            grant("pack", 70, wallet="tokens", cost_asset="USD", cost_units=7, cost_remaining=7),
            grant("gift", 9, wallet="tokens", kind=GrantKind.PROMOTIONAL),
        ):
            wallets.grant_credit(uow, given, recorded_at=NOON, processor="stripe")
        burn = wallets.BurnRequest("b", "acme", "USD", "chat", 12, NOON)
        wallets.burn(uow, burn, recorded_at=NOON)
        wallets.burn(uow, wallets.BurnRequest("t", "acme", "XTOKENS.0", "chat", 33, NOON), recorded_at=NOON)
        holds.hold(uow, holds.Hold("h", "acme", "USD", "chat", 25, NOON, NOON + hour))
        wallets.expire_credit(uow, at=NOON + hour, recorded_at=NOON)
    return database


def test_a_lived_in_ledger_is_sound(lived_in: Database) -> None:
    with lived_in.reading(TENANT) as uow:
        assert verify(uow, CHECKS).findings == ()


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("update carried_amount set posted = posted + 1", "accruals"),
        ("delete from accrual where key = 'a3'", "accruals"),
        ("insert into accrual select tenant, 'a9', party, asset, effective_at, by_feature from accrual limit 1",
         "accruals"),
        ("update credit_grant set remaining = remaining - 1 where id = 'paid'", "wallets"),
        ("update credit_grant set held = held - 1 where id = 'paid'", "wallets"),
        ("update burn set units = units + 1 where key = 'b'", "wallets"),
        ("delete from burn where key = 'b'", "wallets"),
        ("update credit_hold set state = 'released', resolved_at = created_at", "wallets"),
        ("update wallet set customer = 'other' where id = 'tokens'", "wallets"),
    ],
)  # fmt: skip
def test_what_differs_from_the_ledger_is_named(lived_in: Database, statement: str, check: str) -> None:
    disarm(lived_in)
    with lived_in.writing(TENANT) as uow:
        if uow.is_sqlite:
            uow.connection.exec_driver_sql("pragma defer_foreign_keys = on")
        else:
            uow.connection.exec_driver_sql("set session_replication_role = replica")
        uow.connection.execute(text(statement))
        findings = verify(uow, CHECKS).findings
        assert {found.check for found in findings} == {check}
        uow.connection.rollback()
