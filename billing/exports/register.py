"""The register: every document that was issued, one header row and its lines, in the order of issue.

Rows are made from what never changes, so the same request gives the same bytes for ever. A void takes its invoice
back with negative amounts, a credit note too. Exact amounts are full decimals in major units; `total` is in major
units of the currency's precision. Text that a spreadsheet would take for a formula is written behind an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from billing.invoices import Invoice, InvoiceLine
from billing.months import first_day
from billing.repositories.credit_notes import CreditNote, CreditNoteRepository
from billing.repositories.documents import DocumentRepository, Logged
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.values.errors import InvalidValueError
from models.values.money import Currency, currency, from_minor
from models.values.quantity import EXACT, plain

HEADER = (
    "cursor", "document", "invoice_number", "refers_to", "legal_entity", "customer", "currency", "period", "issued_on",
    "due_on", "carried_in", "exact_amount", "net", "tax", "total", "remainder", "carried_out",
)  # fmt: skip
LINES = (
    "cursor", "document", "invoice_number", "line", "subscription", "feature", "kind", "description", "service_start",
    "service_end", "quantity", "unit_price", "list_amount", "exact_amount", "net", "tax_code", "tax_percent", "tax",
    "cost", "price_book", "corrects",
)  # fmt: skip
FORMATS = ("csv", "jsonl")
_AT_ONCE = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS = frozenset(
    {"carried_in", "exact_amount", "net", "tax", "total", "remainder", "carried_out", "quantity", "unit_price",
     "list_amount", "tax_percent", "cost", "cursor", "line"}
)  # fmt: skip

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the register: its header and its lines, and its place in the order of issue."""

    cursor: int
    header: Row
    lines: tuple[Row, ...]


def documents(uow: UnitOfWork, *, period: str | None = None, since: int = 0) -> Iterator[Document]:
    """Yield what was issued in a period, or after a cursor, in order; a few hundred are held at a time.

    Raises InvalidValueError for a period that is no month.
    """
    if period is not None:
        first_day(period)
    invoices, notes = InvoiceRepository(uow), CreditNoteRepository(uow)
    documents = DocumentRepository(uow)
    while entries := documents.logged(period=period, since=since, limit=_AT_ONCE):
        by_id = {each.id: each for each in invoices.many([entry.document for entry in entries])}
        credited = {note.id: note for note in notes.many([entry.document for entry in entries])}
        of_notes = {each.id: each for each in invoices.many({note.invoice for note in credited.values()})}
        for entry in entries:
            if entry.kind == "credit_note":
                note = credited[entry.document]
                yield _credit_note(entry, note, of_notes[note.invoice])
            else:
                yield _invoice(entry, by_id[entry.document])
        since = entries[-1].cursor


def write_headers(found: Iterator[Document], form: str, columns: Sequence[str] = HEADER) -> Iterator[bytes]:
    """Yield one row a document, as CSV (with a title row) or JSON lines. Raises InvalidValueError for another form."""
    return _write((document.header for document in found), form, columns)


def write_lines(found: Iterator[Document], form: str, columns: Sequence[str] = LINES) -> Iterator[bytes]:
    """Yield one row a line."""
    return _write((line for document in found for line in document.lines), form, columns)


def _write(rows: Iterator[Row], form: str, columns: Sequence[str]) -> Iterator[bytes]:
    writers: dict[str, Callable[[Iterator[Row], Sequence[str]], Iterator[bytes]]] = {"csv": _csv, "jsonl": _json_lines}
    writer = writers.get(form)
    if writer is None:
        raise InvalidValueError(f"must be one of {', '.join(FORMATS)}", field="format", value=form)
    return writer(rows, columns)


def _csv(rows: Iterator[Row], columns: Sequence[str]) -> Iterator[bytes]:
    yield (",".join(columns) + "\n").encode()
    while batch := list(islice(rows, _AT_ONCE)):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([_cell(name, row[name]) for name in columns] for row in batch)
        yield text.getvalue().encode()


def _cell(name: str, value: str | None) -> str:
    if value is None:
        return ""
    return f"'{value}" if name not in _NUMBERS and value.startswith(_FORMULA) else value


def _json_lines(rows: Iterator[Row], columns: Sequence[str]) -> Iterator[bytes]:
    for row in rows:
        document = {name: row[name] for name in columns}
        yield (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _invoice(entry: Logged, invoice: Invoice) -> Document:
    sign = -1 if entry.kind == "void" else 1
    money = currency(invoice.currency)
    total = from_minor(sign * invoice.total_minor, money)
    exact = _signed(invoice.exact, sign)
    net = from_minor(sign * invoice.net_minor, money)
    header = {
        "cursor": str(entry.cursor),
        "document": entry.kind,
        "invoice_number": invoice.number,
        "refers_to": invoice.number if sign < 0 else None,
        "legal_entity": invoice.legal_entity,
        "customer": invoice.customer,
        "currency": invoice.currency,
        "period": entry.period,
        "issued_on": invoice.issued_on.isoformat(),
        "due_on": invoice.due_on.isoformat(),
        "carried_in": plain(_signed(invoice.carried_in, sign)),
        "exact_amount": plain(exact),
        "net": _money(net, money),
        "tax": _money(from_minor(sign * invoice.tax_minor, money), money),
        "total": _money(total, money),
        "remainder": plain(EXACT.subtract(exact, net)),
        "carried_out": plain(_signed(invoice.carried_out, sign)),
    }
    return Document(entry.cursor, header, tuple(_line(entry, invoice, line, sign, money) for line in invoice.lines))


def _line(entry: Logged, invoice: Invoice, line: InvoiceLine, sign: int, money: Currency) -> Row:
    return {
        "cursor": str(entry.cursor),
        "document": entry.kind,
        "invoice_number": invoice.number,
        "line": str(line.line),
        "subscription": line.subscription,
        "feature": line.feature,
        "kind": line.kind.value,
        "description": line.description,
        "service_start": utc_text(line.service.start),
        "service_end": utc_text(line.service.end),
        "quantity": plain(_signed(line.quantity, sign)),
        "unit_price": None if line.unit_price is None else plain(line.unit_price),
        "list_amount": plain(_signed(line.list_amount, sign)),
        "exact_amount": plain(_signed(line.exact, sign)),
        "net": _money(from_minor(sign * line.net_minor, money), money),
        "tax_code": line.tax_code,
        "tax_percent": plain(line.tax_percent),
        "tax": _money(from_minor(sign * line.tax_minor, money), money),
        "cost": plain(_signed(line.cost, sign)),
        "price_book": line.book_hash,
        "corrects": line.corrects,
    }


def _credit_note(entry: Logged, note: CreditNote, invoice: Invoice) -> Document:
    money = currency(note.currency)
    net = from_minor(-note.net_minor, money)
    header = {
        "cursor": str(entry.cursor),
        "document": entry.kind,
        "invoice_number": note.number,
        "refers_to": invoice.number,
        "legal_entity": note.legal_entity,
        "customer": note.customer,
        "currency": note.currency,
        "period": entry.period,
        "issued_on": note.issued_on.isoformat(),
        "due_on": None,
        "carried_in": "0",
        "exact_amount": plain(net),
        "net": _money(net, money),
        "tax": _money(from_minor(-note.tax_minor, money), money),
        "total": _money(from_minor(-note.total_minor, money), money),
        "remainder": "0",
        "carried_out": "0",
    }
    by_line = {line.line: line for line in invoice.lines}
    lines = []
    for credited in note.lines:
        line = by_line[credited.line]
        amount = from_minor(-credited.net_minor, money)
        lines.append(
            {
                **_line(entry, invoice, line, 1, money),
                "invoice_number": note.number,
                "quantity": "0",
                "unit_price": None,
                "list_amount": plain(amount),
                "exact_amount": plain(amount),
                "net": _money(amount, money),
                "tax": _money(from_minor(-credited.tax_minor, money), money),
                "cost": "0",
            }
        )
    return Document(entry.cursor, header, tuple(lines))


def _signed(amount: Decimal, sign: int) -> Decimal:
    return amount if sign > 0 else EXACT.minus(amount)


def _money(amount: Decimal, money: Currency) -> str:
    """Print with all digits of the currency's minor unit."""
    return format(amount.quantize(Decimal(1).scaleb(-money.exponent), context=EXACT), "f")
