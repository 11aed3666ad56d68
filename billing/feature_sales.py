"""What each feature sold in a month: revenue before tax, cost, and how many customers were billed for it."""

from __future__ import annotations

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
    """One feature's month in one currency, in major units."""

    revenue: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    customers: int = 0

    @property
    def margin(self) -> Decimal:
        """What remains over cost."""
        return EXACT.subtract(self.revenue, self.cost)


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
        select(_LINE.c.feature, _INVOICE.c.customer, _LINE.c.net_minor, _LINE.c.cost)
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
    for feature, customer, net_minor, cost in rows:
        sold = sales.setdefault(feature, FeatureSales())
        sold.revenue = EXACT.add(sold.revenue, from_minor(net_minor, money))
        sold.cost = EXACT.add(sold.cost, cost)
        buyers.setdefault(feature, set()).add(customer)
    for feature, customers in buyers.items():
        sales[feature].customers = len(customers)
    return sales, len(set().union(*buyers.values()))
