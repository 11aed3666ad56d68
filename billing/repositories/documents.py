"""Number series and the log of documents: what gives invoices and credit notes their numbers, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import DocumentLogRow, NumberSeriesRow

_SERIES = table_of(NumberSeriesRow)
_LOG = table_of(DocumentLogRow)


@dataclass(frozen=True, slots=True)
class Logged:
    """One entry of the log of documents."""

    cursor: int
    kind: str
    document: str
    period: str


class DocumentRepository:
    """The numbers and the log of one tenant's documents; both without gap."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def next_numbers(self, legal_entity: str, kind: str, year: int, count: int) -> range:
        """Take the next `count` numbers of a series, without gap; the row stays locked until the transaction ends."""
        mine = (
            _SERIES.c.tenant == self._uow.tenant,
            _SERIES.c.legal_entity == legal_entity,
            _SERIES.c.kind == kind,
            _SERIES.c.year == year,
        )
        last = self._uow.connection.scalar(select(_SERIES.c.last_number).where(*mine).with_for_update())
        taken = 0
        if last is None:
            values = {"tenant": self._uow.tenant, "legal_entity": legal_entity, "kind": kind, "year": year}
            self._uow.connection.execute(insert(_SERIES).values(**values, last_number=1))
            last, taken = 1, 1
        for _ in range(taken, count):
            last += 1
            self._uow.connection.execute(update(_SERIES).where(*mine).values(last_number=last))
        return range(last - count + 1, last + 1)

    def log(self, kind: str, documents: Sequence[tuple[str, str]]) -> None:
        """Append (document, period) to the log; the ledger's lock keeps cursors without gap."""
        if not documents:
            return
        query = select(func.coalesce(func.max(_LOG.c.cursor), 0)).where(_LOG.c.tenant == self._uow.tenant)
        last = int(self._uow.connection.execute(query).scalar_one())
        self._uow.connection.execute(
            insert(_LOG),
            [
                {"tenant": self._uow.tenant, "cursor": last + i, "kind": kind, "document": each, "period": period}
                for i, (each, period) in enumerate(documents, start=1)
            ],
        )

    def logged(self, *, period: str | None = None, since: int = 0, limit: int = 500) -> list[Logged]:
        """Return the next entries of the log after a cursor, of one period where given."""
        query = select(_LOG).where(_LOG.c.tenant == self._uow.tenant, _LOG.c.cursor > since)
        if period is not None:
            query = query.where(_LOG.c.period == period)
        rows = self._uow.connection.execute(query.order_by(_LOG.c.cursor).limit(limit))
        return [Logged(row.cursor, row.kind, row.document, row.period) for row in rows]
