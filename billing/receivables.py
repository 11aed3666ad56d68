"""What is owed to us, by how long it has been due, and what stands to a customer's credit."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date

from billing.repositories import journals
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from models.values.money import currency

_BALANCES = _OPEN, _CREDIT = ("receivable", "customer_credit")

AGES = (0, 30, 60, 90)
"""The last day of each bucket, in days past due; the last bucket has no end."""


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """One issued invoice that is not wholly paid. `open_minor` in minor units."""

    id: str
    number: str
    customer: str
    currency: str
    due_on: date
    open_minor: int

    def days_past_due(self, on: date) -> int:
        """Return how long it has been due, zero before."""
        return max(0, (on - self.due_on).days)


@dataclass(slots=True)
class Aged:
    """What one customer owes in one currency: minor units by age, not yet due first."""

    customer: str
    currency: str
    buckets: list[int] = field(default_factory=lambda: [0] * (len(AGES) + 1))

    @property
    def total_minor(self) -> int:
        """All that is owed."""
        return sum(self.buckets)


@dataclass(frozen=True, slots=True)
class CustomerBalance:
    """What a customer owes and has to their credit in one currency, by the ledger, in whole minor units."""

    customer: str
    currency: str
    open_minor: int
    credit_minor: int


def customer_balances(uow: UnitOfWork, customers: Collection[str]) -> list[CustomerBalance]:
    """Return the balances of some customers, by customer and currency, of those in which there ever was one."""
    accounts = [each for code in _BALANCES for each in journals.accounts_of(uow, code, customers)]
    minor = {
        (account.party, account.asset, account.code): state.balance // currency(account.asset).units_per_minor
        for account, state in journals.account_states(uow, accounts).items()
    }
    return [
        CustomerBalance(party, asset, minor.get((party, asset, _OPEN), 0), -minor.get((party, asset, _CREDIT), 0))
        for party, asset in sorted({(party, asset) for party, asset, _ in minor})
    ]


def open_invoices(uow: UnitOfWork) -> list[OpenInvoice]:
    """Return every issued invoice with an open amount, the longest due first."""
    found = [
        OpenInvoice(each.id, each.number or "", each.customer, each.currency, each.due_on, each.open_minor)
        for each in InvoiceRepository(uow).unpaid()
    ]
    return sorted(found, key=lambda each: (each.due_on, each.number))


def age(invoices: Iterable[OpenInvoice], on: date) -> list[Aged]:
    """Sum open invoices by customer, currency and age on a day, the largest debt of each currency first."""
    aged: dict[tuple[str, str], Aged] = {}
    for each in invoices:
        debt = aged.setdefault((each.currency, each.customer), Aged(each.customer, each.currency))
        days = each.days_past_due(on)
        debt.buckets[sum(days > last for last in AGES)] += each.open_minor
    return sorted(aged.values(), key=lambda debt: (debt.currency, -debt.total_minor, debt.customer))


def totals(debts: Iterable[Aged]) -> list[Aged]:
    """Sum over customers, one row a currency."""
    sums: dict[str, Aged] = {}
    for debt in debts:
        total = sums.setdefault(debt.currency, Aged("", debt.currency))
        total.buckets = [a + b for a, b in zip(total.buckets, debt.buckets, strict=True)]
    return [sums[code] for code in sorted(sums)]
