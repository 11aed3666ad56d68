"""Single events over HTTP: 32 clients, each waits for its answer before it sends the next; durable on PostgreSQL.

The server is `alacarte serve` in a process of its own, with group commit and key checks as always. The clients are
32 connections of one raw asyncio process, so that the load costs little beside the server. What is stored is counted by
another connection afterwards: every request must have been answered 201 and be there.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from benchmarks.harness import Benchmark, Clock, LegRun, Row, Value, run
from benchmarks.ingest import NOW, engines, postgresql_url, set_up, sqlite_url
from billing.api_keys import Scope, create_key
from billing.database import Database
from models.values.ids import DEFAULT_TENANT

CLIENTS = 32
REQUESTS = 12_000
WARMING = 1_000
STARTED_WITHIN_SECONDS = 60
HOST = "127.0.0.1"


def leg(engine: str):  # noqa: ANN201 - a Leg
    def measure(clock: Clock) -> object:
        count = CLIENTS * 20 if clock.options.small else REQUESTS
        with sqlite_url() if engine == "sqlite" else postgresql_url() as url:
            database = set_up(url)
            with database.writing(DEFAULT_TENANT) as uow:
                token = create_key(uow, "bench", "sandbox", [Scope.INGEST], "be" * 8, "5e" * 32, datetime.now(UTC))[1]
            with _serving(url) as port:
                asyncio.run(_send(port, token, "warm", WARMING if count == REQUESTS else CLIENTS))
                with clock:
                    seconds = asyncio.run(_send(port, token, "timed", count))
            seconds.sort()
            clock.facts["events_a_second"] = round(count / clock.seconds)
            for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99)):
                clock.facts[name] = round(seconds[int(part * (len(seconds) - 1))] * 1_000, 2)
            stored = _counted(database)
            database.close()
            return stored

    return measure


@contextmanager
def _serving(url: str) -> Iterator[int]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
        free.close()
        environment = {
            **os.environ,
            "ALACARTE_DATABASE_URL": url,
            "ALACARTE_SIGNING_KEY": str(Path(folder) / "key.pem"),
        }
        command = [str(Path(sys.executable).with_name("alacarte")), "serve", "--port", str(port)]
        server = subprocess.Popen(command, env=environment, stdout=sys.stderr)
        try:
            _wait_for(port)
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(port: int) -> None:
    until = time.monotonic() + STARTED_WITHIN_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server did not start")


async def _send(port: int, token: str, name: str, count: int) -> list[float]:
    """Send events over all connections; return how long each answer took."""
    parts = [range(first, count, CLIENTS) for first in range(CLIENTS)]
    return [
        each for part in await asyncio.gather(*(_client(port, token, name, part) for part in parts)) for each in part
    ]


async def _client(port: int, token: str, name: str, numbers: range) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    head = f"POST /v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n"
    head += "content-type: application/json\r\n"
    taken = []
    for number in numbers:
        body = (
            f'{{"specversion":"1.0","id":"{name}-{number}","source":"gateway/eu-1","type":"llm.request",'
            f'"subject":"customer-{number % 200:03}","time":"{NOW.isoformat()}",'
            f'"data":{{"model":"small","input_tokens":{number},"output_tokens":40}}}}'
        )
        began = time.perf_counter()
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        status = await reader.readline()
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer = await reader.readexactly(length)
        taken.append(time.perf_counter() - began)
        if b" 201" not in status:
            raise AssertionError(f"{status!r} {answer!r}")
    writer.close()
    return taken


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
    what = f"single events over HTTP, {CLIENTS} clients, durable on {'PostgreSQL' if engine == 'pg' else 'SQLite'}"
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
