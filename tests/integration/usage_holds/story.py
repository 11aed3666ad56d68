"""A company whose customer acme pays tokens ahead: 0.003 up to 1,000, then 0.0021, and next to nothing a call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from billing import usage_holds, wallets
from billing.burn_down import Grant, GrantKind
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.metering.parsing import parse_event
from billing.repositories.usage_holds import ExpectedUsage, UsageHold
from billing.verification import verify
from billing.wallets import Wallet
from models.values.canonical_json import canonical_bytes
from tests.billing_story import BOOK, Company, at, event

CENT = 10**6
NOW = at("2026-01-10")
HOUR = timedelta(hours=1)
USED_BEFORE = 900


def company_on(
    database: Database, book: Mapping[str, Any] = BOOK, selection: Mapping[str, str] | None = None, **founded: Any
) -> Company:
    company = Company(database)
    company.found("acme", **founded)
    company.subscribe("acme", company.publish(book), selection or {"tokens": "1", "calls": "1"})
    return company


def give(company: Company, cents: int, customer: str = "acme") -> None:
    grant = Grant("g", "main", "", "", GrantKind.PAID, cents * CENT, at("2026-01-01"), 0, units=cents * CENT)
    with company.database.writing(company.tenant) as uow:
        wallets.open_wallet(uow, Wallet("main", customer, "USD"), recorded_at=NOW)
        wallets.grant_credit(uow, grant, recorded_at=NOW, processor="stripe")


def expected(key: str, tokens: int | str = 1, **more: Any) -> ExpectedUsage:
    data = {"tokens": tokens, **more.pop("data", {})}
    return ExpectedUsage(key, "acme", "llm.request", data, **{"expires_at": NOW + HOUR, **more})


def authorize(company: Company, wanted: ExpectedUsage, now: Any = NOW) -> UsageHold:
    with company.database.writing(company.tenant) as uow:
        return usage_holds.authorize(uow, wanted, now)


def settle(company: Company, key: str, sent: Mapping[str, Any], now: Any = NOW) -> UsageHold:
    with company.database.writing(company.tenant) as uow:
        return usage_holds.settle(uow, key, parse_event(canonical_bytes(dict(sent)), now), company.directory, now)


def used(number: int | str, tokens: int | str, when: str = "2026-01-10", **data: Any) -> dict[str, Any]:
    return event(number, "acme", when, tokens, **data)


def balance(company: Company) -> tuple[Decimal, Decimal]:
    """Free and held credit in cents; the books are sound."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, CHECKS).findings == ()
        [found] = wallets.balances(uow, "acme", NOW)
        return Decimal(found.free) / CENT, Decimal(found.held) / CENT


def amounts(shares: Any) -> dict[str, Decimal]:
    return {each.feature: each.amount for each in shares if each.feature != "calls"}
