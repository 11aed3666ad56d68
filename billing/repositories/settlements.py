"""What settled invoices, or opened them again: rows <-> values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select

from billing.metering.sets import members
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import InvoiceRow, SettlementRow

_INVOICE = table_of(InvoiceRow)
_SETTLEMENT = table_of(SettlementRow)

MONEY_KINDS = ("payment", "refund")
"""Settlements by money that moved for the invoice itself."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Something that settled a part of an invoice (positive minor units), or opened it again (negative)."""

    invoice: str
    key: str
    kind: str
    amount_minor: int
    effective_at: datetime
    reference: str = ""


class SettlementRepository:
    """The settlements of one tenant. They are appended, never changed."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, settlements: Sequence[Settlement], at: datetime) -> None:
        """Append settlements."""
        if not settlements:
            return
        counts = self._settlement_counts({each.invoice for each in settlements})
        rows = []
        for each in settlements:
            counts[each.invoice] = counts.get(each.invoice, 0) + 1
            rows.append(
                {
                    "tenant": self._uow.tenant,
                    "invoice": each.invoice,
                    "sequence": counts[each.invoice],
                    "key": each.key,
                    "kind": each.kind,
                    "amount_minor": each.amount_minor,
                    "reference": each.reference,
                    "effective_at": each.effective_at,
                    "recorded_at": at,
                }
            )
        self._uow.connection.execute(insert(_SETTLEMENT), rows)

    def _settlement_counts(self, invoices: Collection[str]) -> dict[str, int]:
        query = (
            select(_SETTLEMENT.c.invoice, func.max(_SETTLEMENT.c.sequence))
            .where(_SETTLEMENT.c.tenant == self._uow.tenant, members(self._uow, _SETTLEMENT.c.invoice, invoices))
            .group_by(_SETTLEMENT.c.invoice)
        )
        return {row[0]: int(row[1]) for row in self._uow.connection.execute(query)}

    def of_invoices(self, invoices: Collection[str]) -> dict[str, list[Settlement]]:
        """Return what settled some invoices, in order."""
        query = select(_SETTLEMENT).where(
            _SETTLEMENT.c.tenant == self._uow.tenant, members(self._uow, _SETTLEMENT.c.invoice, invoices)
        )
        found: dict[str, list[Settlement]] = {}
        for row in sorted(self._uow.connection.execute(query), key=lambda row: (row.invoice, row.sequence)):
            found.setdefault(row.invoice, []).append(_settlement(row))
        return found

    def of(self, invoice: str) -> list[Settlement]:
        """Return what settled one invoice, in order."""
        return self.of_invoices([invoice]).get(invoice, [])

    def find(self, key: str) -> Settlement | None:
        """Return the settlement with a key."""
        query = select(_SETTLEMENT).where(_SETTLEMENT.c.tenant == self._uow.tenant, _SETTLEMENT.c.key == key)
        row = self._uow.connection.execute(query).one_or_none()
        return None if row is None else _settlement(row)

    def paid(self, customer: str, currency: str) -> Counter[str]:
        """Return what was paid and not paid back of each of a customer's invoices, in minor units."""
        query = (
            select(_SETTLEMENT.c.invoice, _SETTLEMENT.c.amount_minor)
            .join(_INVOICE, (_INVOICE.c.tenant == _SETTLEMENT.c.tenant) & (_INVOICE.c.id == _SETTLEMENT.c.invoice))
            .where(
                _SETTLEMENT.c.tenant == self._uow.tenant,
                _INVOICE.c.customer == customer,
                _INVOICE.c.currency == currency,
                _SETTLEMENT.c.kind.in_(MONEY_KINDS),
            )
        )
        paid: Counter[str] = Counter()
        for invoice, amount_minor in self._uow.connection.execute(query):
            paid[invoice] += amount_minor
        return paid


def _settlement(row: Any) -> Settlement:  # noqa: ANN401
    return Settlement(row.invoice, row.key, row.kind, row.amount_minor, row.effective_at, row.reference)
