"""Meters, customers and events for metering tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from billing.database import Database
from billing.metering.cloud_event import CloudEvent, EventKey, event_of
from billing.metering.counters import Counter, counters_of
from billing.metering.ingest import ingest
from billing.metering.outcome import Outcome
from billing.metering.parsing import InvalidEvent
from billing.metering.totals import Cell, CellKey, count_events, stored_cells
from billing.unit_of_work import UnitOfWork
from pricing_engine.catalog import Meter

TENANT = "default"
NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)

INPUT = Meter(key="input", event_type="llm", value_property="input_tokens")
OUTPUT = Meter(key="output", event_type="llm", value_property="output_tokens", group_by=("model",))
REQUESTS = Meter(key="requests", event_type="llm", aggregation="count")
PEAK = Meter(key="peak", event_type="disk", aggregation="max", value_property="gib")
USERS = Meter(key="users", event_type="login", aggregation="unique_count", value_property="user")
EU_ONLY = Meter(key="eu", event_type="llm", value_property="input_tokens", filters={"region": ("eu",)})
METERS = (INPUT, OUTPUT, REQUESTS, PEAK, USERS, EU_ONLY)


class Directory:
    """Who is known, said outright."""

    def __init__(self, meters: Iterable[Meter] = METERS, customers: Collection[str] = ("acme", "bolt", "cora")) -> None:
        self.by_type = counters_of(meters)
        self.customers = set(customers)

    def counters(self, uow: UnitOfWork) -> Mapping[str, tuple[Counter, ...]]:
        return self.by_type

    def known_customers(self, uow: UnitOfWork, customers: Collection[str]) -> set[str]:
        return self.customers & set(customers)


def llm(
    event_id: str,
    tokens: object = 10,
    *,
    customer: str = "acme",
    time: str = "2026-03-04T05:06:07Z",
    corrects: EventKey | None = None,
    source: str = "gateway",
    **data: Any,
) -> CloudEvent:
    """One request to a language model; `data` is added to its properties."""
    return event_of(
        source=source,
        event_id=event_id,
        event_type="llm",
        customer=customer,
        time=time,
        data={"input_tokens": tokens, "output_tokens": 1, "model": "small", **data},
        now=NOW,
        corrects=corrects,
    )


def cancellation(event_id: str, corrects: EventKey, *, customer: str = "acme", event_type: str = "llm") -> CloudEvent:
    """The event that cancels another one."""
    return event_of(
        source="gateway",
        event_id=event_id,
        event_type=event_type,
        customer=customer,
        time="2026-03-05T00:00:00Z",
        data={},
        now=NOW,
        corrects=corrects,
        cancels=True,
    )


def send(
    database: Database,
    events: Sequence[CloudEvent | InvalidEvent],
    directory: Directory | None = None,
    now: datetime = NOW,
    tenant: str = TENANT,
) -> list[Outcome]:
    """Ingest in one transaction."""
    with database.writing(tenant) as uow:
        return ingest(uow, events, directory or Directory(), now)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    """The outcomes in a word each."""
    return [outcome.status.value for outcome in outcomes]


def totals(database: Database, tenant: str = TENANT) -> dict[CellKey, Cell]:
    """The stored totals, which must equal a recount from the events: both are read here."""
    with database.reading(tenant) as uow:
        stored = stored_cells(uow)
        every = [counter for of_type in Directory().by_type.values() for counter in of_type]
        counted = count_events(uow, every).cells
    assert stored == counted
    return stored
