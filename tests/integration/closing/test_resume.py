"""However a close is interrupted, run side by side or stored, the books come out the same to the byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from billing.close_tasks import CloseOutcome, CloseTask, InProcesses, InTurn
from billing.closing import CloseOptions, close, reopen
from billing.database import Database
from billing.exports.register import documents, write_headers, write_lines
from billing.verification import verify
from models.values.errors import ConflictError, LimitExceededError
from tests.billing_story import NO_TAX, Company, at, event, repriced

CUSTOMERS = [f"c{i:02d}" for i in range(12)]
CLOSE = """
import sys
from billing.closing import CloseOptions, close
from billing.database import Database
from billing.tax import FixedRate
from datetime import datetime
from decimal import Decimal
database = Database(sys.argv[1])
print("begun", flush=True)
options = CloseOptions(rates=FixedRate("none", Decimal(0)))
close(database, "default", "2026-01", datetime.fromisoformat(sys.argv[2]), options)
print("done", flush=True)
"""


class StoppedError(Exception):
    """The close was stopped here."""


def month(database: Database) -> Company:
    """A company with usage of every kind, ready to be closed."""
    company = Company(database)
    company.found(*CUSTOMERS)
    book = company.publish()
    for number, customer in enumerate(CUSTOMERS):
        chosen = {"tokens": "1", "calls": "1", "seats": str(number + 1), **({"support": "1"} if number % 3 else {})}
        company.subscribe(customer, book, chosen, starts=f"2026-01-{number + 1:02d}")
    events = [
        event(f"{customer}-{i}", customer, f"2026-01-{i % 28 + 1:02d}T12:00", 37 * i + number)
        for number, customer in enumerate(CUSTOMERS)
        for i in range(40)
    ]
    company.ingest(events, "2026-01-31")
    return company


def register(company: Company) -> bytes:
    """Everything that was issued, headers and lines."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow).is_sound
        headers = b"".join(write_headers(documents(uow), "csv"))
        return headers + b"".join(write_lines(documents(uow), "jsonl"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> bytes:
    path = tmp_path_factory.mktemp("uninterrupted") / "alacarte.db"
    shutil.copy(sqlite_template, path)
    company = month(Database(f"sqlite:///{path}"))
    company.close("2026-01", "2026-02-01T01:00")
    found = register(company)
    company.database.close()
    return found


def test_both_databases_give_the_same_bytes(database: Database, uninterrupted: bytes) -> None:
    company = month(database)
    company.close("2026-01", "2026-02-03T09:00")
    assert register(company) == uninterrupted


def test_processes_side_by_side_give_the_same_bytes(
    tmp_path: Path, sqlite_template: Path, uninterrupted: bytes
) -> None:
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    database = Database(f"sqlite:///{tmp_path / 'alacarte.db'}")
    company = month(database)
    close(
        database, company.tenant, "2026-01", at("2026-02-01T01:00"), CloseOptions(rates=NO_TAX), executor=InProcesses(2)
    )
    assert register(company) == uninterrupted
    database.close()


@pytest.mark.parametrize("steps", [0, 7, 12])
def test_a_close_stopped_between_two_commits_goes_on(database: Database, uninterrupted: bytes, steps: int) -> None:
    company = month(database)
    told = 0

    def stop(stage: str, done: int, of: int) -> None:
        nonlocal told
        if told == steps:
            raise StoppedError
        told += 1

    with pytest.raises(StoppedError):
        close(database, company.tenant, "2026-01", at("2026-02-01T01:00"), CloseOptions(rates=NO_TAX), progress=stop)
    # What comes in between belongs to February's corrections, not to the close that goes on.
    company.ingest([event("late", "c00", "2026-01-10", 5)], "2026-02-01T02:00")
    company.close("2026-01", "2026-02-01T03:00")
    assert register(company) == uninterrupted


def test_a_close_killed_at_any_moment_goes_on(database: Database, database_url: str, uninterrupted: bytes) -> None:
    company = month(database)
    for number, delay in enumerate((0.15,)):
        moment = f"2026-02-0{number + 1}T01:00:00+00:00"
        with subprocess.Popen(
            [sys.executable, "-c", CLOSE, database_url, moment], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"begun\n"
            time.sleep(delay)
            os.kill(child.pid, signal.SIGKILL)
    company.close("2026-01", "2026-02-05")
    assert register(company) == uninterrupted


def test_a_close_that_cannot_be_finished_is_reopened(database: Database) -> None:
    """An amount beyond what the ledger keeps stops it; the correction is known to the next attempt only."""
    company = Company(database)
    company.found("acme", "beta")
    book = company.publish(repriced("tokens", {"model": "unit", "unit_amount": "1000000000000"}))
    company.subscribe("acme", book, {"tokens": "1"})
    company.subscribe("beta", book, {"seats": "1", "support": "1"})
    company.ingest([event(1, "acme", "2026-01-05", "9" * 26)], "2026-01-06")
    with pytest.raises(LimitExceededError):
        company.close("2026-01", "2026-02-01T01:00")
    cancelled = {**event("x", "acme", "2026-01-05"), "correctsid": "e1", "cancels": True}
    del cancelled["data"]
    company.ingest([cancelled], "2026-02-01T02:00")
    with pytest.raises(LimitExceededError):
        company.close("2026-01", "2026-02-01T03:00")
    with database.writing(company.tenant) as uow:
        reopen(uow, "2026-01", "a quantity was wrong", "ann", at("2026-02-01T04:00"))
    with database.reading(company.tenant) as uow:
        assert verify(uow).findings == ()
    assert company.close("2026-01", "2026-02-01T05:00").month.state == "closed"
    assert [each.exact for each in company.invoices("acme")] == []
    assert [each.exact for each in company.invoices("beta")] == [10 + 62 + 62]
    with database.reading(company.tenant) as uow:
        assert verify(uow).findings == ()


def test_a_close_that_was_given_up_does_not_go_on(database: Database) -> None:
    company = month(database)

    class GivenUp(InTurn):
        def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
            outcomes = list(super().run(tasks, database))
            yield from outcomes[:2]
            with database.writing(company.tenant) as uow:
                reopen(uow, "2026-01", "stuck", "ann", at("2026-02-01T02:00"))
            company.close("2026-01", "2026-02-01T03:00")
            yield from outcomes[2:]

    with pytest.raises(ConflictError) as refused:
        close(
            database, company.tenant, "2026-01", at("2026-02-01T01:00"), CloseOptions(rates=NO_TAX), executor=GivenUp()
        )
    assert refused.value.code == "period_reopened"
    with database.reading(company.tenant) as uow:
        assert verify(uow).findings == ()
