"""Small journals for ledger tests."""

from __future__ import annotations

from datetime import UTC, datetime

from billing.chart_of_accounts import Account, Leg
from billing.journals import JournalDraft

TENANT = "default"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def accrual(key: str, amount: int, customer: str = "acme", at: datetime = NOON) -> JournalDraft:
    """Usage of `customer` worth `amount` ledger units of USD."""
    legs = (Leg(Account("unbilled", "USD", customer), amount), Leg(Account("revenue", "USD", "", "chat"), -amount))
    return JournalDraft(key, "usage_accrual", at, legs)
