"""A month like the last, as its customer is told it: what was used is priced group by group, or nothing is said."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from billing.customer_account import CustomerAccount, customer_account
from billing.database import Database
from tests.billing_story import BOOK, Company, at, event
from tests.quote_facts import SIGNER

MATRIX = {
    "model": "matrix",
    "rules": [{"when": {"model": "small"}, "unit_amount": "0.15"}, {"when": {"model": "large"}, "unit_amount": "2.5"}],
    "default": {"unit_amount": "0.5"},
}
NOW = at("2026-02-10")


def book(tariff: dict[str, Any] = MATRIX, **changes: Any) -> dict[str, Any]:
    """Return the story's book with tokens kept apart by model and priced by it."""
    meters = [{**each, "group_by": ["model"]} if each["key"] == "tokens" else each for each in BOOK["meters"]]
    features = [{**each, "tariff": tariff} if each["key"] == "tokens" else each for each in BOOK["features"]]
    return {**BOOK, "meters": meters, "features": features, **changes}


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("buyer")
    company.subscribe("buyer", company.publish(book()), {"tokens": "50", "calls": "1000", "seats": "2"})
    return company


def account(company: Company, now: datetime = NOW) -> CustomerAccount:
    with company.database.reading(company.tenant) as uow:
        return customer_account(uow, "buyer", SIGNER, now)


def amounts(found: CustomerAccount) -> dict[str, tuple[Decimal, Decimal]]:
    assert found.priced is not None
    return {line.feature: (line.chosen.quantity, line.amount) for line in found.priced.quote.lines}


def test_a_month_like_the_last_is_priced_group_by_group_as_it_was_billed(company: Company) -> None:
    company.ingest([event(1, "buyer", "2026-01-05", 100, model="small")], "2026-01-05")
    company.ingest([event(2, "buyer", "2026-01-31T23:30", 10, model="large")], "2026-02-01")
    company.close("2026-01", "2026-02-02")
    [tokens] = [line for line in company.invoices("buyer")[0].lines if line.feature == "tokens"]
    assert tokens.exact == Decimal(40)
    assert amounts(account(company))["tokens"] == (tokens.quantity, tokens.exact)
    company.ingest([event(3, "buyer", "2026-01-06", 7, model="large")], "2026-02-03")  # Too late for that invoice.
    assert amounts(account(company)) == {
        "tokens": (Decimal(110), Decimal(40)),
        "calls": (Decimal(2), Decimal("0.000000000002")),
        "seats": (Decimal(2), Decimal(20)),
    }


def test_what_an_invoice_with_usage_does_not_name_was_not_used(company: Company) -> None:
    company.ingest([event(1, "buyer", "2026-01-05", 0, model="small")], "2026-01-05")
    company.close("2026-01", "2026-02-02")
    assert amounts(account(company))["tokens"] == (Decimal(0), Decimal(0))


def test_at_one_price_for_everything_the_quantity_is_enough(company: Company) -> None:
    company.publish(book({"model": "unit", "unit_amount": "0.3"}, version=2))
    company.ingest([event(1, "buyer", "2026-01-05", 100, model="small")], "2026-01-05")
    company.close("2026-01", "2026-02-02")
    assert amounts(account(company))["tokens"] == (Decimal(100), Decimal(30))


def test_nothing_is_said_where_nobody_knows_which_usage_it_was(company: Company) -> None:
    found = account(company)  # Before the first invoice there is only what was expected.
    assert (found.runs, found.priced) == (True, None)
    company.ingest([event(1, "buyer", "2026-01-05", 100, model="small")], "2026-01-05")
    company.close("2026-01", "2026-02-02")
    assert account(company).priced is not None
    other = [{**each, "value_property": "words"} if each["key"] == "tokens" else each for each in book()["meters"]]
    company.publish(book(version=2, meters=other))
    assert (account(company).runs, account(company).priced) == (True, None)


def test_nothing_runs_for_somebody_who_has_no_subscription(company: Company) -> None:
    found = account(company, at("2025-12-01"))
    assert (found.runs, found.priced) == (False, None)
