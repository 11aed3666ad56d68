"""What each feature sold in a month: revenue before tax, cost, and how many customers were billed for it.

Revenue is what the lines of invoices say, in whole minor units. What was rated exactly and is not on them, because an
invoice rounds once, is carried to the customers' next invoices: `exact = revenue + carried`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import func, select

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import InvoiceLineRow, InvoiceRow
from models.values.money import currency, from_minor
from models.values.quantity import EXACT

_INVOICE = table_of(InvoiceRow)
_LINE = table_of(InvoiceLineRow)
_ISSUED = ("finalised", "paid", "uncollectible")


@dataclass(slots=True)
class FeatureSales:
    """What one feature, or all of them, sold in one month and currency, in major units."""

    revenue: Decimal = Decimal(0)
    exact: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    customers: int = 0

    @property
    def margin(self) -> Decimal:
        """What remains over cost."""
        return EXACT.subtract(self.revenue, self.cost)

    @property
    def carried(self) -> Decimal:
        """What was rated and is not invoiced yet; below zero, what earlier months had left and is invoiced now."""
        return EXACT.subtract(self.exact, self.revenue)


def total_sales(sales: Iterable[FeatureSales], customers: int = 0) -> FeatureSales:
    """Return the sum over features; a customer of several ones is counted in each, so `customers` is given."""
    total = FeatureSales(customers=customers)
    for each in sales:
        total.revenue = EXACT.add(total.revenue, each.revenue)
        total.exact = EXACT.add(total.exact, each.exact)
        total.cost = EXACT.add(total.cost, each.cost)
    return total


def last_billed_month(uow: UnitOfWork) -> str | None:
    """Return the latest month with issued invoices, like 2026-10."""
    found: str | None = uow.connection.scalar(
        select(func.max(_INVOICE.c.period)).where(_INVOICE.c.tenant == uow.tenant, _INVOICE.c.state.in_(_ISSUED))
    )
    return found


def billed_currencies(uow: UnitOfWork, period: str) -> list[str]:
    """Return the currencies of the invoices issued for a month."""
    issued = (_INVOICE.c.tenant == uow.tenant) & (_INVOICE.c.period == period) & _INVOICE.c.state.in_(_ISSUED)
    return list(
        uow.connection.scalars(select(_INVOICE.c.currency).where(issued).distinct().order_by(_INVOICE.c.currency))
    )


def feature_sales(uow: UnitOfWork, period: str, asset: str) -> tuple[dict[str, FeatureSales], int]:
    """Return what was issued for a month in one currency, by feature, and how many customers were billed at all."""
    money = currency(asset)
    rows = uow.connection.execute(
        select(_LINE.c.feature, _INVOICE.c.customer, _LINE.c.net_minor, _LINE.c.exact, _LINE.c.cost)
        .join(_INVOICE, (_INVOICE.c.tenant == _LINE.c.tenant) & (_INVOICE.c.id == _LINE.c.invoice))
        .where(
            _INVOICE.c.tenant == uow.tenant,
            _INVOICE.c.period == period,
            _INVOICE.c.currency == asset,
            _INVOICE.c.state.in_(_ISSUED),
        )
    )
    sales: dict[str, FeatureSales] = {}
    buyers: dict[str, set[str]] = {}
    for feature, customer, net_minor, exact, cost in rows:
        sold = sales.setdefault(feature, FeatureSales())
        sold.revenue = EXACT.add(sold.revenue, from_minor(net_minor, money))
        sold.exact = EXACT.add(sold.exact, exact)
        sold.cost = EXACT.add(sold.cost, cost)
        buyers.setdefault(feature, set()).add(customer)
    for feature, customers in buyers.items():
        sales[feature].customers = len(customers)
    return sales, len(set().union(*buyers.values()))
