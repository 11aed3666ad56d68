"""Single events over HTTP: 32 clients, each waits for its answer before it sends the next; durable on PostgreSQL.

The server is `alacarte serve` with group commit and key checks as always: on PostgreSQL with a worker for each of two
cores, on SQLite, which has one writer at a time, with one. What is stored is counted by another connection afterwards:
every request must have been answered 201 and be there.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import text

from benchmarks.harness import Benchmark, Clock, LegRun, Row, Value, run
from benchmarks.http_load import CLIENTS, percentile_ms, post, program, send, serving
from benchmarks.ingest import NOW, engines, postgresql_url, set_up, sqlite_url
from billing.api_keys import Scope, create_key
from billing.database import Database
from models.values.ids import DEFAULT_TENANT

REQUESTS = 12_000
WARMING = 1_000
WORKERS = {"pg": 2, "sqlite": 1}


def leg(engine: str):  # noqa: ANN201 - a Leg
    def measure(clock: Clock) -> object:
        count = CLIENTS * 20 if clock.options.small else REQUESTS
        with sqlite_url() if engine == "sqlite" else postgresql_url() as url:
            database = set_up(url)
            with database.writing(DEFAULT_TENANT) as uow:
                token = create_key(uow, "bench", "sandbox", [Scope.INGEST], "be" * 8, "5e" * 32, datetime.now(UTC))[1]
            with tempfile.TemporaryDirectory() as folder:
                environment = {"ALACARTE_DATABASE_URL": url, "ALACARTE_SIGNING_KEY": str(Path(folder) / "key.pem")}
                with serving([program("alacarte"), "serve"], environment, WORKERS[engine]) as server:
                    warming = WARMING if count == REQUESTS else CLIENTS
                    asyncio.run(send(server.port, partial(_event, token, "warm"), warming, 201))
                    with clock:
                        seconds = asyncio.run(send(server.port, partial(_event, token, "timed"), count, 201))
            clock.facts["events_a_second"] = round(count / clock.seconds)
            clock.facts |= {"p50_ms": percentile_ms(seconds, 0.5), "p99_ms": percentile_ms(seconds, 0.99)}
            stored = _counted(database)
            database.close()
            return stored

    return measure


def _event(token: str, name: str, number: int) -> bytes:
    body = (
        f'{{"specversion":"1.0","id":"{name}-{number}","source":"gateway/eu-1","type":"llm.request",'
        f'"subject":"customer-{number % 200:03}","time":"{NOW.isoformat()}",'
        f'"data":{{"model":"small","input_tokens":{number},"output_tokens":40}}}}'
    )
    return post("/v1/events", body.encode(), {"authorization": f"Bearer {token}"})


def _counted(database: Database) -> int:
    with database.reading(DEFAULT_TENANT) as uow:
        return int(
            uow.connection.execute(text("select count(*) from usage_event where event_id like 'timed-%'")).scalar_one()
        )


def _rate(leg_run: LegRun) -> float:
    return leg_run.facts["events_a_second"]


def _p99(leg_run: LegRun) -> float:
    return leg_run.facts["p99_ms"]


def rows(engine: str) -> list[Row]:
    where = "PostgreSQL, two workers" if engine == "pg" else "SQLite, one worker"
    what = f"single events over HTTP, {CLIENTS} clients, durable on {where}"
    bar = 2_000 if engine == "pg" else None
    slowest = f"99th percentile of {what}"
    return [
        Value(f"api.ingest_{engine}_a_second", engine, "events/s", bar, "higher", what, of=_rate, rounds=3),
        Value(f"api.ingest_{engine}_p99_ms", engine, "ms", None, "lower", slowest, of=_p99, rounds=3),
    ]


FOUND = engines()
BENCHMARK = Benchmark(
    legs={engine: leg(engine) for engine in FOUND},
    rows=[row for engine in FOUND for row in rows(engine)],
    warm_up=False,
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
