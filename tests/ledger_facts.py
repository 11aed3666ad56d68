"""Small journals for ledger tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from billing.burn_down import Grant, GrantKind
from billing.chart_of_accounts import Account, Leg
from billing.database import Database
from billing.journals import JournalDraft
from models.tables.customer import CustomerRow, LegalEntityRow

TENANT = "default"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def accrual(key: str, amount: int, customer: str = "acme", at: datetime = NOON) -> JournalDraft:
    """Usage of `customer` worth `amount` ledger units of USD."""
    legs = (Leg(Account("unbilled", "USD", customer), amount), Leg(Account("revenue", "USD", "", "chat"), -amount))
    return JournalDraft(key, "usage_accrual", at, legs)


def add_customers(database: Database, *keys: str, tenant: str = TENANT) -> None:
    """Enter customers with their legal entity, so that wallets and holds can refer to them."""
    with database.writing(tenant) as uow:
        uow.connection.execute(
            insert(LegalEntityRow).values(
                tenant=tenant, key="us", name="US", country="US", address="", tax_id="", number_prefix="US"
            )
        )
        rows = [
            {"tenant": tenant, "key": key, "legal_entity": "us", "legal_name": key, "country": "US", "currency": "USD",
             "recorded_at": NOON}
            for key in keys
        ]  # fmt: skip
        uow.connection.execute(insert(CustomerRow), rows)


def grant(key: str, units: int, *, kind: GrantKind = GrantKind.PAID, wallet: str = "main", **more: Any) -> Grant:
    """A grant as a caller writes it; the wallet says whose it is and in what."""
    return Grant(key, wallet, "", "", kind, units, NOON, 0, units=units, **more)
