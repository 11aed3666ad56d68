"""Totals kept as events arrive: one cell for each customer, counter, group and UTC hour.

A cell holds count, exact sum and extremes, so usage of any period is the sum of its whole hours and a reading of the
events in its two broken ones: milliseconds, whatever the number of events. Cells change in the transaction that
stores the events. What a correction touches is counted anew from the events of its hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import delete, select

from billing.metering.counters import Absent, Counter, Number, Reading, read_value
from billing.metering.history import effective_events
from billing.metering.many_rows import ManyRows
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.usage import UsageTotalRow
from models.values.errors import DomainError
from models.values.period import Period
from models.values.quantity import EXACT, plain

TOTAL = table_of(UsageTotalRow)
HOUR = timedelta(hours=1)
HOUR_CHARS = 13
_HOUR_REST = ":00:00.000000Z"
_EXACT = "alacarte_exact_functions"

_SQLITE_HEAD = """
insert into usage_total (tenant, customer, counter, hour, group_key, event_count, total, highest, lowest)
"""
_SQLITE_ROW = ("?1", "?", "?", "?", "?", "?", "?")
_SQLITE_ADD = """
on conflict (tenant, customer, counter, hour, group_key) do update set
    event_count = event_count + excluded.event_count,
    total = exact_add(total, excluded.total)
"""
_SQLITE_SPREAD = """,
    highest = exact_max(highest, excluded.highest),
    lowest = exact_min(lowest, excluded.lowest)
"""
_SQLITE_UPSERT = ManyRows(_SQLITE_HEAD, (*_SQLITE_ROW, "null", "null"), _SQLITE_ADD, shared=1)
_SQLITE_UPSERT_EXTREMES = ManyRows(_SQLITE_HEAD, (*_SQLITE_ROW, "?", "?"), _SQLITE_ADD + _SQLITE_SPREAD, shared=1)
_POSTGRESQL_UPSERT = """
insert into usage_total (tenant, customer, counter, hour, group_key, event_count, total, highest, lowest)
select %s, cell.* from unnest(
    %b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::bigint[], %b::numeric[], %b::numeric[], %b::numeric[]
) as cell
on conflict (tenant, customer, counter, hour, group_key) do update set
    event_count = usage_total.event_count + excluded.event_count,
    total = usage_total.total + excluded.total,
    highest = greatest(usage_total.highest, excluded.highest),
    lowest = least(usage_total.lowest, excluded.lowest)
"""


CellKey = tuple[str, str, str, str]
"""Customer, counter, hour, group; the hour is the first 13 characters of its UTC time, 2026-01-31T23."""


class Cell(msgspec.Struct, gc=False):
    """What a cell holds, or what is to be added to it; `highest` and `lowest` only where its counter keeps extremes."""

    event_count: int = 0
    total: Number = 0
    highest: Number | None = None
    lowest: Number | None = None

    def add(self, number: Number, *, extremes: bool) -> None:
        """Count one more event."""
        self.event_count += 1
        self.total = add(self.total, number)
        if extremes:
            self.highest = number if self.highest is None else max(self.highest, number)
            self.lowest = number if self.lowest is None else min(self.lowest, number)

    def merge(self, other: Cell) -> None:
        """Count the events of another cell as well."""
        self.event_count += other.event_count
        self.total = add(self.total, other.total)
        if other.highest is not None and (self.highest is None or other.highest > self.highest):
            self.highest = other.highest
        if other.lowest is not None and (self.lowest is None or other.lowest < self.lowest):
            self.lowest = other.lowest


@dataclass(slots=True)
class Cells:
    """Cells by key, filled event by event."""

    cells: dict[CellKey, Cell] = field(default_factory=dict)

    def add(self, customer: str, counter: Counter, time_text: str, reading: Reading) -> None:
        """Count what `counter` read from one event."""
        key = (customer, counter.id, time_text[:HOUR_CHARS], reading.group)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.add(reading.number, extremes=counter.extremes)


def add(left: Number, right: Number) -> Number:
    """Add exactly; whole numbers stay integers."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return EXACT.add(Decimal(left), Decimal(right))


def add_to_totals(uow: UnitOfWork, cells: Mapping[CellKey, Cell]) -> None:
    """Add `cells` to the stored ones, in the order of their keys, so that two writers cannot wait for each other."""
    if not cells:
        return
    ordered = sorted(cells.items())
    driver = uow.connection.connection.driver_connection
    if uow.is_sqlite:
        if not uow.connection.info.get(_EXACT):  # Again would make SQLite compile its statements anew.
            _register_exact(driver)
            uow.connection.info[_EXACT] = True
        _add_sqlite(driver, uow.tenant, ordered)
        return
    columns = [
        [key[0] for key, _ in ordered],
        [key[1] for key, _ in ordered],
        [_instant_of(key[2]) for key, _ in ordered],
        [key[3] for key, _ in ordered],
        [cell.event_count for _, cell in ordered],
        [Decimal(cell.total) for _, cell in ordered],
        [_decimal(cell.highest) for _, cell in ordered],
        [_decimal(cell.lowest) for _, cell in ordered],
    ]
    driver.execute(_POSTGRESQL_UPSERT, (uow.tenant, *columns))  # type: ignore[union-attr]


def _add_sqlite(driver: Any, tenant: str, cells: Sequence[tuple[CellKey, Cell]]) -> None:  # noqa: ANN401 - sqlite3
    """Add cells; those of most counters have no extremes, and leave these alone."""
    plain_rows: list[tuple[Any, ...]] = []
    spread_rows: list[tuple[Any, ...]] = []
    for (customer, counter, hour, group), cell in cells:
        row = (customer, counter, hour + _HOUR_REST, group, cell.event_count, _text(cell.total))
        if cell.highest is None or cell.lowest is None:
            plain_rows.append(row)
        else:
            spread_rows.append((*row, _text(cell.highest), _text(cell.lowest)))
    cursor = driver.cursor()
    _SQLITE_UPSERT.execute(cursor, (tenant,), plain_rows)
    _SQLITE_UPSERT_EXTREMES.execute(cursor, (tenant,), spread_rows)


def recount(uow: UnitOfWork, places: Iterable[tuple[str, str]], counters: Iterable[Counter]) -> None:
    """Count anew, from the events, the cells of `counters` at each (customer, hour) of `places`.

    The caller holds the tenant's usage alone (`locks.alone`): what another writer adds meanwhile would count twice.
    """
    counters = list(counters)
    if not counters:
        return
    for customer, hour in sorted(set(places)):
        start = _instant_of(hour)
        clause = (
            TOTAL.c.tenant == uow.tenant,
            TOTAL.c.customer == customer,
            TOTAL.c.counter.in_(sorted(counter.id for counter in counters)),
            TOTAL.c.hour == start,
        )
        uow.connection.execute(delete(TOTAL).where(*clause))
        add_to_totals(uow, count_events(uow, counters, customer=customer, period=Period(start, start + HOUR)).cells)


def count_events(
    uow: UnitOfWork,
    counters: Iterable[Counter],
    *,
    customer: str | None = None,
    period: Period | None = None,
    known_at: datetime | None = None,
) -> Cells:
    """Count the events that counted at `known_at` (now if None) into cells, without looking at the stored totals."""
    by_type: dict[str, list[Counter]] = {}
    for counter in counters:
        by_type.setdefault(counter.event_type, []).append(counter)
    cells = Cells()
    for event_type, of_type in by_type.items():
        events = effective_events(uow, customer=customer, event_type=event_type, period=period, known_at=known_at)
        for event in events:
            data = event.data
            time = event.occurred_at.astimezone(UTC).isoformat()
            for counter in of_type:
                reading = read_or_none(counter, data)
                if reading is not None:
                    cells.add(event.customer, counter, time, reading)
    return cells


def read_or_none(counter: Counter, data: Mapping[str, Any]) -> Reading | None:
    """Return what counts of a stored event; an event stored before its meter was known may have a bad value."""
    try:
        reading = read_value(counter, data)
    except DomainError:
        return None  # It stands among the unmatched, with this as the reason.
    return None if isinstance(reading, Absent) else reading


def stored_cells(
    uow: UnitOfWork, *, customer: str | None = None, counter: str | None = None, period: Period | None = None
) -> dict[CellKey, Cell]:
    """Return the stored cells that hold an event, of one customer, counter and of hours in a period where given."""
    query = select(TOTAL).where(TOTAL.c.tenant == uow.tenant, TOTAL.c.event_count != 0)
    if customer is not None:
        query = query.where(TOTAL.c.customer == customer)
    if counter is not None:
        query = query.where(TOTAL.c.counter == counter)
    if period is not None:
        query = query.where(TOTAL.c.hour >= period.start, TOTAL.c.hour < period.end)
    return {
        (row.customer, row.counter, row.hour.isoformat()[:HOUR_CHARS], row.group_key): Cell(
            row.event_count, row.total, row.highest, row.lowest
        )
        for row in uow.connection.execute(query)
    }


def _register_exact(driver: Any) -> None:  # noqa: ANN401 - sqlite3.Connection
    driver.create_function("exact_add", 2, _add_texts, deterministic=True)
    driver.create_function("exact_max", 2, _max_text, deterministic=True)
    driver.create_function("exact_min", 2, _min_text, deterministic=True)


def _add_texts(left: str, right: str) -> str:
    if left.isdigit() and right.isdigit():
        return str(int(left) + int(right))
    return plain(EXACT.add(Decimal(left), Decimal(right)))


def _max_text(left: str | None, right: str | None) -> str | None:
    if left is None or right is None:
        return left or right
    return max(left, right, key=Decimal)


def _min_text(left: str | None, right: str | None) -> str | None:
    if left is None or right is None:
        return left or right
    return min(left, right, key=Decimal)


def _text(number: Number) -> str:
    return str(number) if isinstance(number, int) else plain(number)


def _decimal(number: Number | None) -> Decimal | None:
    return None if number is None else Decimal(number)


def _instant_of(hour: str) -> datetime:
    return datetime.fromisoformat(f"{hour}:00:00+00:00")
