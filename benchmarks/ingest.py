"""Ingest against the bare database call: same table, indexes, rows and batches, one durable commit a batch.

Ours is the whole of `ingest` on parsed events: values read by two meters, customers looked up, duplicates told from
changed bodies (5 % resends, 0.5 % of them changed), totals and lists kept. Bare is `executemany ... on conflict do
nothing` on SQLite, COPY into a temporary table and `insert ... select ... on conflict do nothing` on PostgreSQL, with
the rows made beforehand. What both leave is counted by a second process.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg

from benchmarks.harness import Benchmark, Clock, Ratio, run
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.metering.cloud_event import CloudEvent, document_of, event_of
from billing.metering.directory import PriceBookDirectory
from billing.metering.event_store import COLUMNS, POSTGRESQL_COPY, POSTGRESQL_STAGE, POSTGRESQL_TYPES, rows_of
from billing.metering.ingest import ingest
from billing.metering.parsing import parse_batch
from billing.publishing import publish
from billing.repositories.customers import CustomerRepository
from models.values.ids import DEFAULT_TENANT
from pricing_engine.price_book import parse_price_book
from pricing_engine.sealing import new_signer

NOW = datetime(2026, 3, 31, tzinfo=UTC)
CUSTOMERS = 200
EVENTS = {1_000: 60_000, 10_000: 120_000}
RESENT = 0.05
CHANGED = 0.1  # Of what is resent.
LOCAL_SERVER = "postgresql:///postgres?host=/var/run/postgresql"

_NAMES = ", ".join(COLUMNS)
BARE_SQLITE = f"insert into usage_event ({_NAMES}) values ({', '.join('?' * len(COLUMNS))}) on conflict do nothing"  # noqa: S608
BARE_POSTGRESQL = f"insert into usage_event ({_NAMES}) select {_NAMES} from usage_incoming on conflict do nothing"  # noqa: S608
COUNT = """
import sys
from sqlalchemy import text
from billing.database import Database
with Database(sys.argv[1]).reading("default") as uow:
    query = "select count(*), count(distinct customer), min(event_id), max(event_id) from usage_event"
    print(list(uow.connection.execute(text(query)).one()))
"""


def events(count: int) -> list[CloudEvent]:
    """Return six hours of requests of 200 customers, some much larger than others, by time; some sent again."""
    draw = random.Random(7)
    weights = [1 / (rank + 1) for rank in range(CUSTOMERS)]
    customers = draw.choices([f"customer-{n:03}" for n in range(CUSTOMERS)], weights, k=count)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    made: list[CloudEvent] = []
    for number, customer in enumerate(customers):
        if made and draw.random() < RESENT:
            again = made[-1 - draw.randrange(min(len(made), 5_000))]
            tokens = again.data["input_tokens"] + (draw.random() < CHANGED)
            made.append(_event(again.event_id, again.customer, again.time_text, tokens))
            continue
        instant = start + timedelta(seconds=number / count * 6 * 3_600)
        event_id = str(UUID(int=(number << 64) | draw.getrandbits(64)))
        made.append(_event(event_id, customer, instant.isoformat(), draw.randrange(8_000)))
    return made


def _event(event_id: str, customer: str, time: str, tokens: int) -> CloudEvent:
    return event_of(
        source="gateway/eu-1",
        event_id=event_id,
        event_type="llm.request",
        customer=customer,
        time=time,
        data={"model": "small", "input_tokens": tokens, "output_tokens": 40},
        now=NOW,
    )


def set_up(url: str) -> Database:
    """Make a database with a price book of two meters, and the customers."""
    database = Database(url)
    database.migrate()
    meters = [
        {"key": name, "event_type": "llm.request", "value_property": f"{name}_tokens"} for name in ("input", "output")
    ]
    features = [
        {"key": name, "name": name, "kind": "metered", "meter": name, "tariff": {"model": "unit", "unit_amount": "1"}}
        for name in ("input", "output")
    ]
    book = {"key": "llm", "version": 1, "currency": "USD", "effective_from": "2020-01-01T00:00:00Z"}
    with database.writing(DEFAULT_TENANT) as uow:
        publish(uow, parse_price_book({**book, "meters": meters, "features": features}), new_signer(), NOW, "bench")
        repository = CustomerRepository(uow)
        repository.save_legal_entity(LegalEntity("main", "Main", "IE"))
        repository.save([Customer(f"customer-{n:03}", "main", "C", "IE", "USD") for n in range(CUSTOMERS)], NOW)
    return database


def counted(url: str) -> list[object]:
    """Return what another process finds in the database."""
    output = subprocess.run([sys.executable, "-c", COUNT, url], check=True, capture_output=True, text=True).stdout
    return [output.strip()]


@contextmanager
def sqlite_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'bench.db'}"


def server_url() -> str:
    return os.environ.get("ALACARTE_TEST_POSTGRES_URL", LOCAL_SERVER)


@contextmanager
def postgresql_url() -> Iterator[str]:
    name = f"alacarte_test_bench_{uuid4().hex[:12]}"
    with psycopg.connect(server_url(), autocommit=True) as server:
        server.execute(f'create database "{name}" template template0')
        head, _, query = server_url().partition("?")
        try:
            yield f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
        finally:
            server.execute(f'drop database if exists "{name}" with (force)')


def timed(clock: Clock, write: Callable[[int], None], batch: int, count: int) -> None:
    """Write every batch; the first one warms the connection and is not timed."""
    write(0)
    with clock:
        for start in range(batch, count, batch):
            write(start)
    clock.facts["events_a_second"] = round((count - batch) / clock.seconds)


def ours(clock: Clock, url: str, batch: int, made: list[CloudEvent]) -> object:
    database = set_up(url)
    directory = PriceBookDirectory()

    def write(start: int) -> None:
        with database.writing(DEFAULT_TENANT) as uow:
            ingest(uow, made[start : start + batch], directory, NOW)

    timed(clock, write, batch, len(made))
    body = msgspec.json.encode([document_of(event) for event in made[:batch]])
    parsing = Clock(clock.options)
    with parsing:
        parse_batch(body, NOW)
    clock.facts["parsed_a_second"] = round(batch / parsing.seconds)
    database.close()
    return counted(url)


def bare_sqlite(clock: Clock, url: str, batch: int, made: list[CloudEvent]) -> object:
    set_up(url).close()
    rows = rows_of(DEFAULT_TENANT, made, [event.time_text for event in made], "2026-03-31T00:00:00.000000Z")
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    for pragma in ("journal_mode=wal", "synchronous=full", "foreign_keys=on", "recursive_triggers=on"):
        connection.execute(f"pragma {pragma}")

    def write(start: int) -> None:
        connection.execute("begin immediate")
        connection.executemany(BARE_SQLITE, rows[start : start + batch])
        connection.execute("commit")

    timed(clock, write, batch, len(made))
    connection.close()
    return counted(url)


def bare_postgresql(clock: Clock, url: str, batch: int, made: list[CloudEvent]) -> object:
    set_up(url).close()
    rows = rows_of(DEFAULT_TENANT, made, [event.occurred_at for event in made], NOW)
    with psycopg.connect(url) as connection:

        def write(start: int) -> None:
            connection.execute(POSTGRESQL_STAGE)
            with connection.cursor() as cursor, cursor.copy(POSTGRESQL_COPY) as copy:
                copy.set_types(POSTGRESQL_TYPES)
                for row in rows[start : start + batch]:
                    copy.write_row(row)
            connection.execute(BARE_POSTGRESQL)
            connection.commit()

        timed(clock, write, batch, len(made))
    return counted(url)


def leg(engine: str, is_ours: bool, batch: int):  # noqa: ANN201 - a Leg
    def measure(clock: Clock) -> object:
        made = events(5 * batch if clock.options.small else EVENTS[batch])
        with sqlite_url() if engine == "sqlite" else postgresql_url() as url:
            if is_ours:
                return ours(clock, url, batch, made)
            return (bare_sqlite if engine == "sqlite" else bare_postgresql)(clock, url, batch, made)

    return measure


def engines() -> list[str]:
    """Return the databases that can be measured here."""
    try:
        psycopg.connect(server_url(), connect_timeout=2).close()
    except psycopg.OperationalError:
        print("no PostgreSQL answers: its rows are left out")
        return ["sqlite"]
    return ["sqlite", "pg"]


def row(engine: str, batch: int) -> Ratio:
    what = "executemany ... on conflict do nothing" if engine == "sqlite" else "COPY to a temporary table + insert"
    return Ratio(
        name=f"ledger.ingest_{engine}_{batch // 1000}k_ratio",
        numerator=f"{engine}_bare_{batch}",
        denominator=f"{engine}_ours_{batch}",
        bar=0.6 if engine == "sqlite" else 0.5,
        better="higher",
        how=f"speed of ingest / speed of {what}: same rows, indexes, batches of {batch}, one durable commit each; "
        "rows counted by a second process",
    )


FOUND = engines()
BENCHMARK = Benchmark(
    legs={
        f"{engine}_{'ours' if is_ours else 'bare'}_{batch}": leg(engine, is_ours, batch)
        for engine in FOUND
        for is_ours in (True, False)
        for batch in EVENTS
    },
    rows=[row(engine, batch) for engine in FOUND for batch in EVENTS],
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
