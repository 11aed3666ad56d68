"""Posting and verifying against bare database calls.

Posting is the whole of `ledger.post`: checks, accounts, balances, canonical bytes, hash chain, sealing triggers. Bare
inserts the same rows, made beforehand, into the same tables with the same keys, but without triggers and balances:
`executemany` on SQLite, COPY into a temporary table and `insert ... select ... on conflict do nothing` on PostgreSQL.
Batches of 1,000, one durable commit each. Verification is compared with a loop that reads the stored bytes in order
and hashes them. Both PostgreSQL legs begin with a loaded and analysed ledger, as one that has run for a minute is.
"""

from __future__ import annotations

import gc
import random
import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
from sqlalchemy import text

from benchmarks.harness import Benchmark, Clock, Ratio, run
from benchmarks.ingest import engines, postgresql_url, sqlite_url
from billing import ledger
from billing.chart_of_accounts import Account, Leg
from billing.database import Database
from billing.journals import GENESIS, JournalDraft
from billing.verification import verify
from models.values.ids import DEFAULT_TENANT

NOW = datetime(2026, 3, 31, tzinfo=UTC)
BATCH = 1_000
POSTED = 20_000
LOADED = 5_000
VERIFIED = 40_000
CUSTOMERS = 500

TABLES = {
    "journal": "tenant, id, key, kind, effective_at, recorded_at, reverses, memo, canonical",
    "entry": "tenant, journal, leg, account, asset, amount",
    "journal_seal": "tenant, journal, previous_hash, hash",
}
COUNT = text("select (select count(*) from journal), (select count(*) from entry), (select count(*) from journal_seal)")


def drafts(count: int) -> list[JournalDraft]:
    """Return accruals of 500 customers over 20 features, spread over a month."""
    draw = random.Random(11)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    made = []
    for number in range(count):
        units, customer = draw.randrange(1, 10**12), f"customer-{draw.randrange(CUSTOMERS):03}"
        revenue = Account("revenue", "USD", "", f"feature-{draw.randrange(20)}")
        legs = (Leg(Account("unbilled", "USD", customer), units), Leg(revenue, -units))
        at = start + timedelta(seconds=number)
        made.append(JournalDraft(f"charge:2026-03:{number:08}", "usage_accrual", at, legs))
    return made


def post(database: Database, made: Sequence[JournalDraft]) -> None:
    for start in range(0, len(made), BATCH):
        with database.writing(DEFAULT_TENANT) as uow:
            ledger.post(uow, made[start : start + BATCH], recorded_at=NOW)


def opened(url: str, made: Sequence[JournalDraft]) -> Database:
    """Return a database with a ledger in it, its statistics taken."""
    database = Database(url)
    database.migrate()
    post(database, made)
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("analyze"))
    return database


def posted_alone(url: str, made: list[JournalDraft]) -> Database:
    """Return the same, the drafts gone: whoever verifies has not just made all that is verified."""
    database = opened(url, made)
    made.clear()
    gc.collect()
    return database


def counted(url: str) -> list[int]:
    """Return what a connection of its own finds in the database."""
    database = Database(url)
    with database.reading(DEFAULT_TENANT) as uow:
        found = [int(each) for each in uow.connection.execute(COUNT).one()]
    database.close()
    return found


def ours(clock: Clock, url: str, made: list[JournalDraft]) -> object:
    database = opened(url, made[:LOADED])
    with clock:
        post(database, made[LOADED:])
    clock.facts["journals_a_second"] = round((len(made) - LOADED) / clock.seconds)
    database.close()
    return counted(url)


def bare(clock: Clock, url: str, made: list[JournalDraft]) -> object:
    with sqlite_url() as scratch:
        rows = _rows(scratch, made)
    database = opened(url, made[:LOADED])
    _open_accounts(database, made)
    _drop_triggers(database)
    is_sqlite = database.is_sqlite
    database.close()
    (_bare_sqlite if is_sqlite else _bare_postgresql)(clock, url, rows)
    clock.facts["journals_a_second"] = round((len(made) - LOADED) / clock.seconds)
    return counted(url)


def _rows(url: str, made: list[JournalDraft]) -> dict[str, list[list[tuple[Any, ...]]]]:
    """Return the rows that posting leaves beyond the loaded ones, by table and batch."""
    database = opened(url, made)
    database.close()
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    rows = {}
    for table, columns in TABLES.items():
        number = "id" if table == "journal" else "journal"
        query = f"select {columns} from {table} where {number} > ? and {number} <= ? order by {number}"  # noqa: S608
        rows[table] = [
            connection.execute(query, (start, start + BATCH)).fetchall() for start in range(LOADED, len(made), BATCH)
        ]
    connection.close()
    return rows


def _open_accounts(database: Database, made: list[JournalDraft]) -> None:
    """Check that the loaded journals opened every account, under the numbers that the rows use."""
    loaded = {leg.account for draft in made[:LOADED] for leg in draft.legs}
    assert {leg.account for draft in made for leg in draft.legs} == loaded
    with database.reading(DEFAULT_TENANT) as uow:
        assert uow.connection.execute(text("select count(*) from account")).scalar_one() == len(loaded)


def _drop_triggers(database: Database) -> None:
    with database.engine.begin() as connection:
        if database.is_sqlite:
            for (name,) in connection.execute(text("select name from sqlite_master where type = 'trigger'")).all():
                connection.execute(text(f'drop trigger "{name}"'))
        else:
            for table in TABLES:
                connection.execute(text(f"alter table {table} disable trigger user"))


def _bare_sqlite(clock: Clock, url: str, rows: dict[str, list[list[tuple[Any, ...]]]]) -> None:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    for pragma in ("journal_mode=wal", "synchronous=full", "foreign_keys=on", "recursive_triggers=on"):
        connection.execute(f"pragma {pragma}")
    inserts = {
        table: f"insert into {table} ({columns}) values ({', '.join('?' * len(columns.split(', ')))})"  # noqa: S608
        for table, columns in TABLES.items()
    }
    with clock:
        for batch in range(len(rows["journal"])):
            connection.execute("begin immediate")
            for table, insert in inserts.items():
                connection.executemany(insert, rows[table][batch])
            connection.execute("commit")
    connection.close()


def _bare_postgresql(clock: Clock, url: str, rows: dict[str, list[list[tuple[Any, ...]]]]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("select set_config('app.tenant', 'default', false)")
        for table in TABLES:
            connection.execute(f"create temporary table {table}_stage (like {table}) on commit delete rows")
        connection.commit()
        with clock:
            for batch in range(len(rows["journal"])):
                for table, columns in TABLES.items():
                    copying = f"copy {table}_stage ({columns}) from stdin"
                    with connection.cursor() as cursor, cursor.copy(copying) as copy:
                        for row in rows[table][batch]:
                            copy.write_row(row)
                    connection.execute(
                        f"insert into {table} ({columns}) select {columns} from {table}_stage on conflict do nothing"  # noqa: S608
                    )
                connection.commit()


def verified(clock: Clock, url: str, made: list[JournalDraft]) -> object:
    database = posted_alone(url, made)
    with database.reading(DEFAULT_TENANT) as uow:
        with clock:
            report = verify(uow)
        assert report.is_sound
        found = [report.journals, ledger.head(uow).hash.hex()]
    clock.facts["journals_a_second"] = round(found[0] / clock.seconds)
    database.close()
    return found


def hashed(clock: Clock, url: str, made: list[JournalDraft]) -> object:
    database = posted_alone(url, made)
    passed, count = GENESIS, 0
    with database.reading(DEFAULT_TENANT) as uow:
        cursor = uow.connection.connection.cursor()
        with clock:
            cursor.execute("select canonical from journal where tenant = 'default' order by id")
            while some := cursor.fetchmany(BATCH):
                count += len(some)
                for (stored,) in some:
                    passed = sha256(passed + stored).digest()
    clock.facts["journals_a_second"] = round(count / clock.seconds)
    database.close()
    return [count, passed.hex()]


WORK = {"post": (ours, POSTED + LOADED), "insert": (bare, POSTED + LOADED),
        "verify": (verified, VERIFIED), "hash": (hashed, VERIFIED)}  # fmt: skip


def leg(engine: str, name: str):  # noqa: ANN201 - a Leg
    work, count = WORK[name]

    def measure(clock: Clock) -> object:
        made = drafts(LOADED + 2 * BATCH if clock.options.small else count)
        with sqlite_url() if engine == "sqlite" else postgresql_url() as url:
            return work(clock, url, made)

    return measure


def rows(engine: str) -> list[Ratio]:
    named = "" if engine == "sqlite" else f"_{engine}"
    what = "executemany" if engine == "sqlite" else "COPY to a temporary table + insert"
    return [
        Ratio(
            name=f"ledger.post{named}_ratio",
            numerator=f"{engine}_insert",
            denominator=f"{engine}_post",
            bar=0.4,
            better="higher",
            how=f"speed of posting with balances, triggers and chain / speed of {what} of the same rows into the same "
            f"tables; batches of {BATCH}, one durable commit each",
        ),
        Ratio(
            name=f"ledger.verify{named}_ratio",
            numerator=f"{engine}_hash",
            denominator=f"{engine}_verify",
            bar=0.2,
            better="higher",
            how="speed of verify / speed of a loop that only reads and hashes the stored bytes",
        ),
    ]


FOUND = engines()
BENCHMARK = Benchmark(
    legs={f"{engine}_{name}": leg(engine, name) for engine in FOUND for name in WORK},
    rows=[row for engine in FOUND for row in rows(engine)],
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
