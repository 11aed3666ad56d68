"""Invoices with their lines and parties, and what they carry on to the next ones: rows <-> values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from billing.invoices import Invoice, InvoiceLine, InvoiceState
from billing.metering.sets import members
from billing.rated_usage import Kind
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import (
    CarriedRemainderRow,
    InvoiceLineRow,
    InvoiceLineSourceRow,
    InvoicePartyRow,
    InvoiceRow,
)
from models.values.errors import ConflictError, NotFoundError
from models.values.period import Period

_INVOICE = table_of(InvoiceRow)
_LINE = table_of(InvoiceLineRow)
_SOURCE = table_of(InvoiceLineSourceRow)
_REMAINDER = table_of(CarriedRemainderRow)
_PARTY = table_of(InvoicePartyRow)
_LINE_FIELDS = (
    "line", "subscription", "feature", "description", "quantity", "unit_price", "list_amount", "exact", "net_minor",
    "tax_code", "tax_percent", "tax_minor", "cost", "in_advance", "book_hash", "corrects",
)  # fmt: skip
_INVOICE_FIELDS = (
    "id", "number", "legal_entity", "customer", "currency", "period", "issued_on", "due_on", "exact", "carried_in",
    "carried_out", "net_minor", "tax_minor", "total_minor", "settled_minor", "finalise_from",
)  # fmt: skip


class InvoiceRepository:
    """The invoices of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    # Drafts.

    def add_drafts(self, drafts: Sequence[Invoice], at: datetime) -> None:
        """Store new drafts with their lines and sources."""
        if not drafts:
            return
        heads = [{**_head(draft), "tenant": self._uow.tenant, "recorded_at": at} for draft in drafts]
        self._uow.connection.execute(insert(_INVOICE), heads)
        self._add_lines(drafts)

    def replace_draft(self, draft: Invoice) -> None:
        """Rewrite a draft's amounts and lines."""
        mine = self._is(draft.id)
        self._uow.connection.execute(
            delete(_SOURCE).where(_SOURCE.c.tenant == self._uow.tenant, _SOURCE.c.invoice == draft.id)
        )
        self._uow.connection.execute(
            delete(_LINE).where(_LINE.c.tenant == self._uow.tenant, _LINE.c.invoice == draft.id)
        )
        self._uow.connection.execute(update(_INVOICE).where(mine).values(_head(draft)))
        self._add_lines([draft])

    def discard_draft(self, invoice: str) -> None:
        """Remove a draft; the database refuses to remove anything else."""
        for table in (_SOURCE, _LINE):
            self._uow.connection.execute(
                delete(table).where(table.c.tenant == self._uow.tenant, table.c.invoice == invoice)
            )
        self._uow.connection.execute(delete(_INVOICE).where(self._is(invoice)))

    def _add_lines(self, drafts: Sequence[Invoice]) -> None:
        tenant = self._uow.tenant
        lines = [
            {
                "tenant": tenant,
                "invoice": draft.id,
                "kind": line.kind.value,
                "service_start": line.service.start,
                "service_end": line.service.end,
                **{name: getattr(line, name) for name in _LINE_FIELDS},
            }
            for draft in drafts
            for line in draft.lines
        ]
        sources = [
            {"tenant": tenant, "invoice": draft.id, "line": line.line, "charge": charge, "position": position}
            for draft in drafts
            for line in draft.lines
            for charge, position in line.sources
        ]
        if lines:
            self._uow.connection.execute(insert(_LINE), lines)
            self._uow.connection.execute(insert(_SOURCE), sources)

    # Reading.

    def get(self, invoice: str) -> Invoice:
        """Return one invoice, by id or number. Raises NotFoundError."""
        found = self.find(invoice)
        if found is None:
            raise NotFoundError("no such invoice", field="invoice", value=invoice, code="unknown_invoice")
        return found

    def find(self, invoice: str) -> Invoice | None:
        """Return one invoice by id or number, or None. Raises ConflictError for a number that several have."""
        for column in (_INVOICE.c.id, _INVOICE.c.number):
            query = select(_INVOICE).where(_INVOICE.c.tenant == self._uow.tenant, column == invoice)
            found = self._read(self._uow.connection.execute(query).all())
            if len(found) > 1:
                raise ConflictError(
                    "is the number of several: name it by its id",
                    field="invoice",
                    value=invoice,
                    code="ambiguous_number",
                )
            if found:
                return found[0]
        return None

    def many(self, invoices: Collection[str]) -> list[Invoice]:
        """Return invoices by id, in the order of customer, currency and id."""
        query = select(_INVOICE).where(
            _INVOICE.c.tenant == self._uow.tenant, members(self._uow, _INVOICE.c.id, invoices)
        )
        return self._read(self._uow.connection.execute(query).all())

    def of_customer(self, customer: str, currency: str | None = None) -> list[Invoice]:
        """Return a customer's invoices, oldest first."""
        query = select(_INVOICE).where(_INVOICE.c.tenant == self._uow.tenant, _INVOICE.c.customer == customer)
        if currency is not None:
            query = query.where(_INVOICE.c.currency == currency)
        return sorted(
            self._read(self._uow.connection.execute(query).all()),
            key=lambda each: (each.issued_on, each.number or "~", each.id),
        )

    def of_period(
        self, period: str, state: InvoiceState | None = None, customers: Collection[str] | None = None
    ) -> list[str]:
        """Return the ids of a period's invoices, by customer, currency and id."""
        query = select(_INVOICE.c.id, _INVOICE.c.customer, _INVOICE.c.currency).where(
            _INVOICE.c.tenant == self._uow.tenant, _INVOICE.c.period == period
        )
        if state is not None:
            query = query.where(_INVOICE.c.state == state.value)
        if customers is not None:
            query = query.where(members(self._uow, _INVOICE.c.customer, customers))
        rows = self._uow.connection.execute(query).all()
        return [row.id for row in sorted(rows, key=lambda row: (row.customer, row.currency, row.id))]

    def unpaid(self) -> list[Invoice]:
        """Return the finalised invoices of which something is open, by customer and currency."""
        open_minor = _INVOICE.c.total_minor - _INVOICE.c.settled_minor
        query = select(_INVOICE).where(
            _INVOICE.c.tenant == self._uow.tenant,
            _INVOICE.c.state == InvoiceState.FINALISED.value,
            open_minor > 0,
        )
        return self._read(self._uow.connection.execute(query).all())

    def drafts_due(self, at: datetime) -> list[str]:
        """Return the ids of all drafts that may be finalised at `at`, oldest period first, then by customer."""
        query = select(_INVOICE.c.id, _INVOICE.c.period, _INVOICE.c.customer, _INVOICE.c.currency).where(
            _INVOICE.c.tenant == self._uow.tenant, _INVOICE.c.state == "draft", _INVOICE.c.finalise_from <= at
        )
        rows = self._uow.connection.execute(query).all()
        return [row.id for row in sorted(rows, key=lambda row: (row.period, row.customer, row.currency, row.id))]

    def drafts_from(self, customers: Collection[str]) -> dict[tuple[str, str], list[datetime]]:
        """Return by customer and currency from when each draft may be finalised."""
        query = select(_INVOICE.c.customer, _INVOICE.c.currency, _INVOICE.c.finalise_from).where(
            _INVOICE.c.tenant == self._uow.tenant,
            _INVOICE.c.state == "draft",
            members(self._uow, _INVOICE.c.customer, customers),
        )
        found: dict[tuple[str, str], list[datetime]] = {}
        for row in self._uow.connection.execute(query):
            found.setdefault((row.customer, row.currency), []).append(row.finalise_from)
        return found

    def page(self, after: tuple[date, str] | None, limit: int, customer: str | None = None) -> list[Invoice]:
        """Return the invoices that follow a place (date of issue, id), newest first, of one customer where given."""
        query = select(_INVOICE).where(_INVOICE.c.tenant == self._uow.tenant)
        if customer is not None:
            query = query.where(_INVOICE.c.customer == customer)
        if after is not None:
            day, invoice = after
            same_day = (_INVOICE.c.issued_on == day) & (_INVOICE.c.id > invoice)
            query = query.where((_INVOICE.c.issued_on < day) | same_day)
        query = query.order_by(_INVOICE.c.issued_on.desc(), _INVOICE.c.id).limit(limit)
        rows = self._uow.connection.execute(query).all()
        found = {each.id: each for each in self._read(rows)}
        return [found[row.id] for row in rows]

    def recent(self, limit: int = 100) -> list[Invoice]:
        """Return the latest invoices, newest first."""
        return self.page(None, limit)

    def _read(self, rows: Iterable[Any]) -> list[Invoice]:
        heads = sorted(rows, key=lambda row: (row.customer, row.currency, row.id))
        ids = [row.id for row in heads]
        sources = self._sources(ids)
        lines: dict[str, list[InvoiceLine]] = {each: [] for each in ids}
        query = select(_LINE).where(_LINE.c.tenant == self._uow.tenant, members(self._uow, _LINE.c.invoice, ids))
        for row in sorted(self._uow.connection.execute(query), key=lambda row: (row.invoice, row.line)):
            lines[row.invoice].append(_line(row, sources.get((row.invoice, row.line), ())))
        return [
            Invoice(
                state=InvoiceState(row.state),
                service=Period(row.service_start, row.service_end),
                lines=tuple(lines[row.id]),
                **{name: getattr(row, name) for name in _INVOICE_FIELDS},
            )
            for row in heads
        ]

    def _sources(self, invoices: Collection[str]) -> dict[tuple[str, int], tuple[tuple[str, int], ...]]:
        query = select(_SOURCE).where(
            _SOURCE.c.tenant == self._uow.tenant, members(self._uow, _SOURCE.c.invoice, invoices)
        )
        found: dict[tuple[str, int], tuple[tuple[str, int], ...]] = {}
        for row in sorted(self._uow.connection.execute(query), key=lambda row: (row.charge, row.position)):
            place = (row.invoice, row.line)
            found[place] = (*found.get(place, ()), (row.charge, row.position))
        return found

    def numbered(self) -> Iterator[tuple[str, date, str]]:
        """Yield (legal entity, issue date, number) of every numbered invoice."""
        query = select(_INVOICE.c.legal_entity, _INVOICE.c.issued_on, _INVOICE.c.number).where(
            _INVOICE.c.tenant == self._uow.tenant, _INVOICE.c.number.is_not(None)
        )
        for row in self._uow.connection.execute(query):
            yield row.legal_entity, row.issued_on, row.number

    # Moving on.

    def finalise(self, invoices: Sequence[Invoice], at: datetime) -> None:
        """Give drafts their numbers and what of them is settled at once."""
        if not invoices:
            return
        statement = (
            update(_INVOICE)
            .where(_INVOICE.c.tenant == self._uow.tenant, _INVOICE.c.id == bindparam("invoice_id"))
            .values(number=bindparam("new_number"), state=bindparam("new_state"), finalised_at=at,
                    settled_minor=bindparam("new_settled"))
        )  # fmt: skip
        self._uow.connection.execute(
            statement,
            [
                {
                    "invoice_id": each.id,
                    "new_number": each.number,
                    "new_state": each.state.value,
                    "new_settled": each.settled_minor,
                }
                for each in invoices
            ],
        )

    def move(self, invoice: str, state: InvoiceState, settled_minor: int) -> None:
        """Change state and what is settled; the database refuses a move that the life of an invoice does not know."""
        self._uow.connection.execute(
            update(_INVOICE).where(self._is(invoice)).values(state=state.value, settled_minor=settled_minor)
        )

    def lock(self, invoice: str) -> None:
        """Keep others from moving this invoice until the transaction ends."""
        self._uow.connection.execute(select(_INVOICE.c.id).where(self._is(invoice)).with_for_update())

    def finalised_at(self, invoice: str) -> datetime | None:
        """Return when an invoice was finalised."""
        found: datetime | None = self._uow.connection.scalar(select(_INVOICE.c.finalised_at).where(self._is(invoice)))
        return found

    # Remainders.

    def remainders(self, customers: Collection[str]) -> dict[tuple[str, str], Decimal]:
        """Return by customer and currency what finalised invoices have left, exact, in major units."""
        query = select(_REMAINDER).where(
            _REMAINDER.c.tenant == self._uow.tenant, members(self._uow, _REMAINDER.c.customer, customers)
        )
        return {(row.customer, row.currency): row.exact for row in self._uow.connection.execute(query)}

    def save_remainders(self, remainders: Mapping[tuple[str, str], Decimal]) -> None:
        """Write what is carried on."""
        if not remainders:
            return
        statement = (sqlite if self._uow.is_sqlite else postgresql).insert(_REMAINDER)
        statement = statement.on_conflict_do_update(
            index_elements=["tenant", "customer", "currency"], set_={"exact": statement.excluded.exact}
        )
        self._uow.connection.execute(
            statement,
            [
                {"tenant": self._uow.tenant, "customer": customer, "currency": asset, "exact": exact}
                for (customer, asset), exact in sorted(remainders.items())
            ],
        )

    # Parties.

    def add_parties(self, parties: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Keep seller and buyer as they are now, by invoice."""
        if parties:
            self._uow.connection.execute(
                insert(_PARTY),
                [{"tenant": self._uow.tenant, "invoice": each, "document": document} for each, document in parties],
            )

    def party(self, invoice: str) -> dict[str, Any] | None:
        """Return seller and buyer as they were; None for a draft, or where they were erased."""
        query = select(_PARTY.c.document).where(_PARTY.c.tenant == self._uow.tenant, _PARTY.c.invoice == invoice)
        found: dict[str, Any] | None = self._uow.connection.scalar(query)
        return found

    def _is(self, invoice: str) -> Any:  # noqa: ANN401
        return (_INVOICE.c.tenant == self._uow.tenant) & (_INVOICE.c.id == invoice)


def _head(invoice: Invoice) -> dict[str, Any]:
    return {
        "state": invoice.state.value,
        "service_start": invoice.service.start,
        "service_end": invoice.service.end,
        **{name: getattr(invoice, name) for name in _INVOICE_FIELDS},
    }


def _line(row: Any, sources: tuple[tuple[str, int], ...]) -> InvoiceLine:  # noqa: ANN401
    return InvoiceLine(
        kind=Kind(row.kind),
        service=Period(row.service_start, row.service_end),
        sources=sources,
        **{name: getattr(row, name) for name in _LINE_FIELDS},
    )
