"""A closed month with real invoices in the ledger, handed over for collection."""

from __future__ import annotations

from billing import ledger
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.invoices import Invoice
from billing.stripe.handing_over import HandOver
from models.values.ids import DEFAULT_TENANT
from tests.billing_story import Company


def closed_month(database: Database, customers: int = 4) -> None:
    """Bill seats to some customers for January, a different number to each, and hand the invoices over."""
    company = Company(database)
    keys = [f"c{number}" for number in range(1, customers + 1)]
    company.found(*keys)
    book = company.publish()
    for number, key in enumerate(keys, 1):
        company.subscribe(key, book, {"seats": str(number), "sso": "1"})
    company.close("2026-01", "2026-02-05", collect=HandOver())


def invoices(database: Database) -> list[Invoice]:
    """Return all invoices."""
    company = Company(database)
    with database.reading(DEFAULT_TENANT) as uow:
        from billing.repositories.customers import CustomerRepository

        keys = [customer.key for customer in CustomerRepository(uow).all()]
    return [invoice for key in keys for invoice in company.invoices(key)]


def balance(database: Database, code: str, customer: str = "", asset: str = "USD", detail: str = "") -> int:
    """Return an account's balance in minor units of a two-decimal currency."""
    with database.reading(DEFAULT_TENANT) as uow:
        units, rest = divmod(ledger.balance(uow, Account(code, asset, customer, detail)), 10**6)
    assert rest == 0
    return units
