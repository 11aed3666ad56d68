"""Explaining an invoice line: line -> rated usage -> tariff and price-book version -> events, by their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.invoices import Invoice, InvoiceLine
from billing.metering.counters import Reading, counter_of, read_value
from billing.metering.history import StoredEvent, effective_events
from billing.rated_usage import Kind, RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError, NotFoundError
from models.values.quantity import EXACT
from pricing_engine.catalog import Meter
from pricing_engine.tariffs.tariff import tariff_document


@dataclass(frozen=True, slots=True)
class ExplainedEvent:
    """One event that a line counts: what the meter read of it, and whether it came after the first billing."""

    source: str
    event_id: str
    occurred_at: datetime
    recorded_at: datetime
    read: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class ExplainedUsage:
    """One rated usage behind a line: where its price stands, its steps, its meter and the knowledge it was rated at."""

    charge: str
    position: int
    row: RatedUsage
    known_at: datetime
    book_key: str | None
    book_version: int | None
    tariff: Mapping[str, Any]
    meter: Meter | None
    event_count: int


@dataclass(frozen=True, slots=True)
class LineExplanation:
    """A line of an invoice with all that is behind it. The amounts of `usages` sum to the line's exact amount."""

    invoice: Invoice
    line: InvoiceLine
    usages: tuple[ExplainedUsage, ...]

    @property
    def adds_up(self) -> bool:
        """Whether the rated usage sums to the line, exactly."""
        total = Decimal(0)
        for usage in self.usages:
            total = EXACT.add(total, usage.row.amount)
        return total == self.line.exact


def explain_line(uow: UnitOfWork, invoice: str, line: int) -> LineExplanation:
    """Explain one line of an invoice, named by id or number. Raises NotFoundError for an unknown invoice or line."""
    found = InvoiceRepository(uow).get(invoice)
    chosen = next((each for each in found.lines if each.line == line), None)
    if chosen is None:
        raise NotFoundError(
            f"has the lines 1 to {len(found.lines)}", field="line", value=line, code="unknown_invoice_line"
        )
    usages = tuple(_usage(uow, charge, position) for charge, position in chosen.sources)
    return LineExplanation(found, chosen, usages)


def events_behind(uow: UnitOfWork, customer: str, usage: ExplainedUsage) -> Iterator[ExplainedEvent]:
    """Yield the events that one rated usage counts, as they were known to its run, by time and id.

    For a correction these are all events of the corrected stretch; the late ones are marked.
    """
    if usage.meter is None:
        return
    corrected = usage.row.corrects
    known_before = None
    if corrected is not None:
        earlier = ChargeRepository(uow).find(corrected)
        known_before = None if earlier is None else earlier.known_at
    events = effective_events(
        uow,
        customer=customer,
        event_type=usage.meter.event_type,
        period=usage.row.service,
        known_at=usage.known_at,
    )
    for event in sorted(events, key=lambda each: (each.occurred_at, each.source, each.event_id)):
        read = _read(usage.meter, event)
        if read is not None:
            yield ExplainedEvent(
                source=event.source,
                event_id=event.event_id,
                occurred_at=event.occurred_at,
                recorded_at=event.recorded_at,
                read=read,
                is_late=known_before is not None and event.recorded_at > known_before,
            )


def _usage(uow: UnitOfWork, charge: str, position: int) -> ExplainedUsage:
    repository = ChargeRepository(uow)
    row = repository.row(charge, position)
    posted = repository.find(charge)
    if posted is None:
        raise NotFoundError("no such charge", field="charge", value=charge)
    book_key, version, tariff, meter = None, None, {}, None
    if row.book_hash is not None:
        book = PriceBookRepository(uow).get(row.book_hash).book
        book_key, version = book.key, book.version
        feature = next((each for each in book.features if each.key == row.feature), None)
        if feature is not None:
            tariff = dict(tariff_document(feature.tariff))
            meter = book.meter(feature.meter) if feature.meter and row.kind is Kind.USAGE else None
    return ExplainedUsage(
        charge=charge,
        position=position,
        row=row,
        known_at=posted.known_at,
        book_key=book_key,
        book_version=version,
        tariff=tariff,
        meter=meter,
        event_count=int(row.detail.get("events", 0)),
    )


def _read(meter: Meter, event: StoredEvent) -> str | None:
    """Return what the meter reads of an event as text, None where it reads nothing."""
    data = event.data
    try:
        reading = read_value(counter_of(meter), data)
    except DomainError:
        return None
    if not isinstance(reading, Reading):
        return None
    return "1" if meter.value_property is None else str(data.get(meter.value_property))
