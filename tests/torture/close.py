"""Workload: a month's usage comes in and the month is closed, month after month; killed, the close goes on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from itertools import count
from pathlib import Path

from billing.closing import CloseOptions, close
from billing.database import Database
from billing.exports.register import documents, write_headers, write_lines
from billing.ledger_checks import CHECKS
from billing.months import day_after
from billing.repositories.closes import CloseRepository
from billing.repositories.invoices import InvoiceRepository
from billing.verification import verify
from tests.billing_story import NO_TAX, Company, at, event
from tests.metering_facts import TENANT
from tests.torture.harness import Step, Tell

_CUSTOMERS = [f"c{i}" for i in range(6)]
_FIRST_MONTH = date(2026, 1, 1)
_EVENTS = 12


@dataclass(slots=True)
class Close:
    """Closes beside which a second company, never interrupted, shows what they must come to."""

    pause: float = 1.5
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None)

    def prepare(self, database: Database) -> None:
        self.folder = tempfile.TemporaryDirectory()
        reference = self._reference()
        reference.migrate()
        for each in (database, reference):
            company = Company(each)
            company.found(*_CUSTOMERS)
            book = company.publish()
            for number, customer in enumerate(_CUSTOMERS):
                chosen = {
                    "tokens": "1",
                    "calls": "1",
                    "seats": str(number + 1),
                    **({"support": "1"} if number % 2 else {}),
                }
                company.subscribe(customer, book, chosen)
        reference.close()

    def steps(self, database: Database, number: int) -> Iterator[Step]:
        with database.reading(TENANT) as uow:
            done = sum(month.state == "closed" for month in CloseRepository(uow).all())
        return (_step(_month(place)) for place in count(done))

    def problems(self, database: Database) -> list[str]:
        """The books are sound, and issue to the byte what the company issued that nobody interrupted."""
        reference = self._reference()
        with database.reading(TENANT) as uow:
            findings = [": ".join(finding) for finding in verify(uow, CHECKS).findings]
            months = [month.key for month in CloseRepository(uow).all()]
        with reference.reading(TENANT) as uow:
            known = {month.key for month in CloseRepository(uow).all()}
        for month in months:
            if month not in known:
                _close(month, reference, lambda _rows: None)
        if _register(database) != _register(reference):
            findings.append("the register differs from that of an uninterrupted company")
        reference.close()
        return findings

    def _reference(self) -> Database:
        assert self.folder is not None
        return Database(f"sqlite:///{Path(self.folder.name) / 'reference.db'}")


def _step(month: str) -> Step:
    return Step(month, len(_CUSTOMERS), partial(_close, month), partial(_present, month), atomic=False)


def _month(place: int) -> str:
    year, month = divmod(_FIRST_MONTH.month - 1 + place, 12)
    return f"{_FIRST_MONTH.year + year}-{month + 1:02d}"


def _close(month: str, database: Database, tell: Tell) -> None:
    after = day_after(month)
    before = (after - timedelta(days=40)).isoformat()[:8]
    events = [
        event(f"-{month}/{customer}/{i}", customer, f"{month}-{i + 1:02d}T12:00", 97 * i + number)
        for number, customer in enumerate(_CUSTOMERS)
        for i in range(_EVENTS)
    ]
    late = [event(f"-{month}/late", _CUSTOMERS[0], f"{before}15", 1000)]
    company = Company(database)
    company.ingest([*events, *late], (after - timedelta(days=1)).isoformat())

    def progress(stage: str, done: int, _of: int) -> None:
        if stage == "finalising":
            tell(done)

    close(database, TENANT, month, at(f"{after}T01:00"), CloseOptions(rates=NO_TAX), progress=progress)


def _present(month: str, database: Database) -> int:
    with database.reading(TENANT) as uow:
        repository = InvoiceRepository(uow)
        return sum(repository.get(each).number is not None for each in repository.of_period(month))


def _register(database: Database) -> bytes:
    with database.reading(TENANT) as uow:
        return b"".join(write_headers(documents(uow), "csv")) + b"".join(write_lines(documents(uow), "jsonl"))


WORKLOAD = Close()
