"""Workload: batches of usage events, each batch in one transaction; some events come twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from sqlalchemy import text

from billing.database import Database
from billing.metering.directory import PriceBookDirectory
from billing.metering.totals import count_events, stored_cells
from tests.billing_story import Company, event
from tests.metering_facts import TENANT
from tests.torture.harness import Step, Tell

_EVENTS = 50
_CUSTOMERS = ("acme", "bolt", "cora")


@dataclass(frozen=True, slots=True)
class Ingest:
    """Usage events, with their totals."""

    pause: float = 0.4

    def prepare(self, database: Database) -> None:
        company = Company(database)
        company.found(*_CUSTOMERS)
        company.publish()

    def steps(self, database: Database, number: int) -> Iterator[Step]:
        for batch in count():
            key = f"r{number}b{batch}"
            yield Step(key, _EVENTS, partial(_send, key), partial(_present, key))

    def problems(self, database: Database) -> list[str]:
        """Totals kept while ingesting must equal a recount of the events."""
        with database.reading(TENANT) as uow:
            stored = stored_cells(uow)
            counters = [each for of_type in PriceBookDirectory().counters(uow).values() for each in of_type]
            counted = count_events(uow, counters).cells
        return [] if stored == counted else ["totals differ from the events"]


def _send(key: str, database: Database, _tell: Tell) -> None:
    events = [
        event(f"-{key}/{i}", _CUSTOMERS[i % len(_CUSTOMERS)], f"2026-03-{i % 28 + 1:02d}T12:00", i)
        for i in range(_EVENTS)
    ]
    Company(database).ingest([*events, *events[:5]], "2026-03-31")


def _present(key: str, database: Database) -> int:
    query = text("select count(*) from usage_event where tenant = :tenant and event_id like :pattern")
    with database.reading(TENANT) as uow:
        return int(uow.connection.execute(query, {"tenant": TENANT, "pattern": f"e-{key}/%"}).scalar_one())


WORKLOAD = Ingest()
