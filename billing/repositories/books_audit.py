"""Sums of charges, invoices and events as they lie, for the checks that compare them with each other."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import and_, exists, select

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.customer import CustomerRow
from models.tables.invoice import (
    CarriedRemainderRow,
    ChargeRow,
    InvoiceLineRow,
    InvoiceLineSourceRow,
    InvoiceRow,
    RatedUsageRow,
    SettlementRow,
)
from models.tables.usage import UsageCutoffRow, UsageEventRow, UsageLateRow, UsageUnmatchedRow
from models.values.quantity import EXACT

_CHARGE = table_of(ChargeRow)
_RATED = table_of(RatedUsageRow)
_INVOICE = table_of(InvoiceRow)
_LINE = table_of(InvoiceLineRow)
_SOURCE = table_of(InvoiceLineSourceRow)
_SETTLEMENT = table_of(SettlementRow)
_REMAINDER = table_of(CarriedRemainderRow)
_EVENT = table_of(UsageEventRow)
_UNMATCHED = table_of(UsageUnmatchedRow)
_LATE = table_of(UsageLateRow)
_CUTOFF = table_of(UsageCutoffRow)
_CUSTOMER = table_of(CustomerRow)
_CHUNK = 5_000

Stream = tuple[str, str]
"""Customer and currency."""


class AuditedCharge(NamedTuple):
    """A charge as stored."""

    id: str
    customer: str
    currency: str
    exact: Decimal
    units: int
    invoice: str | None


class AuditedInvoice(NamedTuple):
    """An invoice as stored, amounts in minor units."""

    id: str
    number: str | None
    customer: str
    currency: str
    state: str
    exact: Decimal
    carried_in: Decimal
    carried_out: Decimal
    net_minor: int
    tax_minor: int
    total_minor: int
    settled_minor: int

    @property
    def is_live(self) -> bool:
        """Whether it was finalised and stands."""
        return self.state not in {"draft", "void"}


def charges(uow: UnitOfWork) -> Iterator[AuditedCharge]:
    """Yield every charge, by id."""
    yield from (AuditedCharge(*row) for row in _stream(uow, _CHARGE, AuditedCharge._fields, _CHARGE.c.id))


def invoices(uow: UnitOfWork) -> Iterator[AuditedInvoice]:
    """Yield every invoice, by id."""
    yield from (AuditedInvoice(*row) for row in _stream(uow, _INVOICE, AuditedInvoice._fields, _INVOICE.c.id))


def rated_sums(uow: UnitOfWork) -> dict[str, Decimal]:
    """Return the exact sum of the rated usage of each charge."""
    return _sums(_stream(uow, _RATED, ("charge", "amount"), _RATED.c.charge))


def line_sums(uow: UnitOfWork) -> dict[str, tuple[Decimal, int, int]]:
    """Return the exact sum, the net and the tax of each invoice's lines."""
    found: dict[str, tuple[Decimal, int, int]] = {}
    for invoice, exact, net, tax in _stream(uow, _LINE, ("invoice", "exact", "net_minor", "tax_minor"), _LINE.c.line):
        known = found.get(invoice, (Decimal(0), 0, 0))
        found[invoice] = EXACT.add(known[0], exact), known[1] + net, known[2] + tax
    return found


def settled_sums(uow: UnitOfWork) -> dict[str, int]:
    """Return what the settlements of each invoice sum to, in minor units."""
    found: dict[str, int] = {}
    for invoice, minor in _stream(uow, _SETTLEMENT, ("invoice", "amount_minor"), _SETTLEMENT.c.invoice):
        found[invoice] = found.get(invoice, 0) + minor
    return found


def remainders(uow: UnitOfWork) -> dict[Stream, Decimal]:
    """Return what is carried, by customer and currency."""
    fields = ("customer", "currency", "exact")
    return {(row[0], row[1]): row[2] for row in _stream(uow, _REMAINDER, fields, _REMAINDER.c.customer)}


def billed_apart_from_charge(uow: UnitOfWork) -> Iterator[tuple[str, int, str]]:
    """Yield rated usage that stands on no line of the invoice that took its charge up: charge, position, invoice."""
    on_a_line = exists().where(
        _SOURCE.c.tenant == _CHARGE.c.tenant,
        _SOURCE.c.invoice == _CHARGE.c.invoice,
        _SOURCE.c.charge == _RATED.c.charge,
        _SOURCE.c.position == _RATED.c.position,
    )
    query = (
        select(_RATED.c.charge, _RATED.c.position, _CHARGE.c.invoice)
        .join(_CHARGE, and_(_CHARGE.c.tenant == _RATED.c.tenant, _CHARGE.c.id == _RATED.c.charge))
        .where(_RATED.c.tenant == uow.tenant, _CHARGE.c.invoice.is_not(None), ~on_a_line)
        .order_by(_RATED.c.charge, _RATED.c.position)
    )
    for row in uow.connection.execute(query):
        yield row.charge, row.position, row.invoice


def events_of_nobody(uow: UnitOfWork) -> Iterator[tuple[str, str, str]]:
    """Yield events whose customer is not known and which do not stand among the unmatched: source, id, customer."""
    is_known = exists().where(_CUSTOMER.c.tenant == _EVENT.c.tenant, _CUSTOMER.c.key == _EVENT.c.customer)
    query = _events(uow).where(~is_known, ~_is_listed()).order_by(_EVENT.c.source, _EVENT.c.event_id)
    for row in uow.connection.execute(query):
        yield row.source, row.event_id, row.customer


def corrections_of_nothing(uow: UnitOfWork) -> Iterator[tuple[str, str, str]]:
    """Yield corrections without their event that do not stand among the unmatched: source, id, corrected id."""
    target = _EVENT.alias("target")
    same = [target.c[name] == _EVENT.c[name] for name in ("tenant", "customer", "event_type")]
    meets = exists().where(
        *same, target.c.source == _EVENT.c.corrects_source, target.c.event_id == _EVENT.c.corrects_id
    )
    query = _events(uow).add_columns(_EVENT.c.corrects_id).where(
        _EVENT.c.corrects_id.is_not(None), ~meets, ~_is_listed()
    )  # fmt: skip
    for row in uow.connection.execute(query.order_by(_EVENT.c.source, _EVENT.c.event_id)):
        yield row.source, row.event_id, row.corrects_id


def event_types_unread(uow: UnitOfWork, read: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield events of a type that no meter reads and which do not stand among the unmatched: source, id, type."""
    query = select(_EVENT.c.event_type).where(_EVENT.c.tenant == uow.tenant).distinct()
    for event_type in sorted(set(uow.connection.execute(query).scalars()) - read):
        of_type = _events(uow).where(_EVENT.c.event_type == event_type, ~_is_listed())
        for row in uow.connection.execute(of_type.order_by(_EVENT.c.source, _EVENT.c.event_id)):
            yield row.source, row.event_id, event_type


def late_unmarked(uow: UnitOfWork) -> Iterator[tuple[str, str, str]]:
    """Yield events stored after a run billed their time and not marked late: source, id, run. Corrections aside."""
    is_marked = exists().where(
        _LATE.c.tenant == _EVENT.c.tenant, _LATE.c.source == _EVENT.c.source, _LATE.c.event_id == _EVENT.c.event_id
    )
    query = (
        _events(uow)
        .add_columns(_CUTOFF.c.run)
        .join(_CUTOFF, and_(_CUTOFF.c.tenant == _EVENT.c.tenant, _CUTOFF.c.customer == _EVENT.c.customer))
        .where(
            _EVENT.c.recorded_at > _CUTOFF.c.recorded_at,
            _EVENT.c.occurred_at < _CUTOFF.c.closed_through,
            _EVENT.c.corrects_id.is_(None),
            ~is_marked,
        )
        .order_by(_EVENT.c.source, _EVENT.c.event_id)
    )
    for row in uow.connection.execute(query):
        yield row.source, row.event_id, row.run


def _events(uow: UnitOfWork) -> Any:  # noqa: ANN401
    return select(_EVENT.c.source, _EVENT.c.event_id, _EVENT.c.customer).where(_EVENT.c.tenant == uow.tenant)


def _is_listed() -> Any:  # noqa: ANN401
    return exists().where(
        _UNMATCHED.c.tenant == _EVENT.c.tenant,
        _UNMATCHED.c.source == _EVENT.c.source,
        _UNMATCHED.c.event_id == _EVENT.c.event_id,
        _UNMATCHED.c.resolved_at.is_(None),
    )


def _stream(uow: UnitOfWork, table: Any, fields: tuple[str, ...], order: Any) -> Iterator[Any]:  # noqa: ANN401
    query = select(*(table.c[name] for name in fields)).where(table.c.tenant == uow.tenant).order_by(order)
    yield from uow.connection.execute(query.execution_options(yield_per=_CHUNK))


def _sums(rows: Iterator[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for key, amount in rows:
        found[key] = EXACT.add(found.get(key, Decimal(0)), amount)
    return found
