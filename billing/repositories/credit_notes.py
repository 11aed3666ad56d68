"""Credit notes with their lines: rows <-> values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import insert, or_, select

from billing.credited import Credited, Source
from billing.metering.sets import members
from billing.repositories.paging import earlier_than
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, CreditNoteLineRow, CreditNoteRow, InvoiceLineSourceRow
from models.values.errors import ConflictError, NotFoundError

_NOTE = table_of(CreditNoteRow)
_LINE = table_of(CreditNoteLineRow)
_CHARGE = table_of(ChargeRow)
_SOURCE = table_of(InvoiceLineSourceRow)
_FIELDS = (
    "id", "key", "number", "invoice", "legal_entity", "customer", "currency", "period", "issued_on", "reason",
    "net_minor", "tax_minor", "total_minor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What a credit note takes off one invoice line, in positive minor units."""

    line: int
    net_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True)
class CreditNote:
    """A document that reduces a finalised invoice. Amounts in positive minor units."""

    id: str
    key: str
    number: str
    invoice: str
    legal_entity: str
    customer: str
    currency: str
    period: str
    issued_on: date
    reason: str
    net_minor: int
    tax_minor: int
    total_minor: int
    lines: tuple[CreditedLine, ...]


class CreditNoteRepository:
    """The credit notes of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, note: CreditNote, at: datetime) -> None:
        """Store a credit note."""
        tenant = self._uow.tenant
        head = {name: getattr(note, name) for name in _FIELDS}
        self._uow.connection.execute(insert(_NOTE).values(tenant=tenant, recorded_at=at, **head))
        self._uow.connection.execute(
            insert(_LINE),
            [
                {
                    "tenant": tenant,
                    "credit_note": note.id,
                    "line": line.line,
                    "invoice": note.invoice,
                    "net_minor": line.net_minor,
                    "tax_minor": line.tax_minor,
                }
                for line in note.lines
            ],
        )

    def get(self, note: str) -> CreditNote:
        """Return one credit note by id or number. Raises NotFoundError."""
        found = self.find(note)
        if found is None:
            raise NotFoundError("no such credit note", field="credit_note", value=note, code="unknown_credit_note")
        return found

    def find(self, note: str) -> CreditNote | None:
        """Return one credit note by id or number, or None. Raises ConflictError for a number that several have."""
        query = select(_NOTE).where(_NOTE.c.tenant == self._uow.tenant, or_(_NOTE.c.id == note, _NOTE.c.number == note))
        found = self._read(self._uow.connection.execute(query).all())
        if len(found) > 1:
            raise ConflictError(
                "is the number of several: name it by its id", field="credit_note", value=note, code="ambiguous_number"
            )
        return found[0] if found else None

    def with_key(self, key: str) -> CreditNote | None:
        """Return the credit note with an idempotency key."""
        query = select(_NOTE).where(_NOTE.c.tenant == self._uow.tenant, _NOTE.c.key == key)
        return next(iter(self._read(self._uow.connection.execute(query).all())), None)

    def page(self, place: tuple[date, str] | None, limit: int, customer: str | None = None) -> list[CreditNote]:
        """Return the credit notes before a place (date of issue, id), newest first, of one customer where given."""
        query = select(_NOTE).where(_NOTE.c.tenant == self._uow.tenant)
        if customer is not None:
            query = query.where(_NOTE.c.customer == customer)
        if place is not None:
            query = query.where(earlier_than([_NOTE.c.issued_on, _NOTE.c.id], place))
        query = query.order_by(_NOTE.c.issued_on.desc(), _NOTE.c.id.desc()).limit(limit)
        rows = self._uow.connection.execute(query).all()
        found = {each.id: each for each in self._read(rows)}
        return [found[row.id] for row in rows]

    def many(self, notes: Collection[str]) -> list[CreditNote]:
        """Return credit notes by id."""
        query = select(_NOTE).where(_NOTE.c.tenant == self._uow.tenant, members(self._uow, _NOTE.c.id, notes))
        return self._read(self._uow.connection.execute(query).all())

    def of_invoice(self, invoice: str) -> list[CreditNote]:
        """Return the credit notes of one invoice, by number."""
        query = select(_NOTE).where(_NOTE.c.tenant == self._uow.tenant, _NOTE.c.invoice == invoice)
        return self._read(self._uow.connection.execute(query).all())

    def totals(self, customer: str, currency: str) -> Counter[str]:
        """Return what was credited of each of a customer's invoices, tax included, in minor units."""
        query = select(_NOTE.c.invoice, _NOTE.c.total_minor).where(
            _NOTE.c.tenant == self._uow.tenant, _NOTE.c.customer == customer, _NOTE.c.currency == currency
        )
        totals: Counter[str] = Counter()
        for invoice, total_minor in self._uow.connection.execute(query):
            totals[invoice] += total_minor
        return totals

    def of_charges(self, charges: Collection[str], until: datetime | None = None) -> dict[Source, Credited]:
        """Return by charge and position what notes took off; `until`: only those recorded up to then."""
        source = (_SOURCE.c.tenant == _LINE.c.tenant) & (_SOURCE.c.invoice == _LINE.c.invoice)
        query = (
            select(_SOURCE.c.charge, _SOURCE.c.position, _LINE.c.net_minor, _NOTE.c.currency)
            .select_from(_CHARGE)
            .join(_NOTE, (_NOTE.c.tenant == _CHARGE.c.tenant) & (_NOTE.c.invoice == _CHARGE.c.invoice))
            .join(_LINE, (_LINE.c.tenant == _NOTE.c.tenant) & (_LINE.c.credit_note == _NOTE.c.id))
            .join(_SOURCE, source & (_SOURCE.c.line == _LINE.c.line) & (_SOURCE.c.charge == _CHARGE.c.id))
            .where(_CHARGE.c.tenant == self._uow.tenant, members(self._uow, _CHARGE.c.id, charges))
        )
        if until is not None:
            query = query.where(_NOTE.c.recorded_at <= until)
        found: dict[Source, Credited] = {}
        for row in self._uow.connection.execute(query):
            before = found.get((row.charge, row.position), Credited(0, row.currency))
            found[row.charge, row.position] = Credited(before.minor + row.net_minor, row.currency)
        return found

    def _read(self, rows: Iterable[Any]) -> list[CreditNote]:
        heads = sorted(rows, key=lambda row: row.number)
        lines: dict[str, list[CreditedLine]] = {row.id: [] for row in heads}
        query = select(_LINE).where(
            _LINE.c.tenant == self._uow.tenant, members(self._uow, _LINE.c.credit_note, list(lines))
        )
        for row in sorted(self._uow.connection.execute(query), key=lambda row: row.line):
            lines[row.credit_note].append(CreditedLine(row.line, row.net_minor, row.tax_minor))
        return [
            CreditNote(lines=tuple(lines[row.id]), **{name: getattr(row, name) for name in _FIELDS}) for row in heads
        ]
