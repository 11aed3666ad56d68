"""Mixed load for a long time on `alacarte serve` with two workers, one of which is killed every minute.

    python -m tests.torture.soak --minutes 30

Sends usage, quotes and reads at 70 % of what the server was first seen to answer. What must hold: no answer is a 5xx,
no connection breaks but by a kill, a killed worker is replaced, every acknowledged event and quote is in the database
afterwards, the totals kept are a recount of the events, and memory stays flat: that of the worker that is never
killed, and of the process that replaces the other. The last line is the verdict; exit status 1 if it failed. All of it
on this machine alone, which has to be a Linux: memory and processes are read from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from benchmarks.http_load import percentile_ms, program, serving
from billing.api_keys import Scope, create_key
from billing.database import Database
from tests.billing_story import Company
from tests.metering_facts import TENANT
from tests.quote_facts import SIGNER
from tests.torture.databases import NAMES, database_at
from tests.torture.harness import say
from tests.torture.ingest import WORKLOAD as INGEST
from tests.torture.soak_traffic import Tally, asks, send

WORKERS = 2
CUSTOMERS = [f"customer-{number:03}" for number in range(100)]
SHARE_OF_CAPACITY = 0.7
CAPACITY_SECONDS = 10
KILL_EVERY_SECONDS = 60
TOLD_EVERY_SECONDS = 30
READ_MEMORY_EVERY_SECONDS = 2
REPLACED_WITHIN_SECONDS = 20
BROKEN_WITHIN_SECONDS = 5
"""After a kill: what breaks later was not broken by it."""
MAX_GROWTH = 0.05
"""From the second quarter of the time, when all is warm, to the last."""


@dataclass(slots=True)
class Watch:
    """What happened to the server's processes. Times are of the monotonic clock."""

    kills: list[float] = field(default_factory=list)
    not_replaced: int = 0
    resident: dict[str, list[int]] = field(default_factory=lambda: {"eldest worker": [], "supervisor": []})

    def growth(self) -> dict[str, float]:
        """Return by how much each process has grown: 0.01 is one percent."""
        grown = {}
        for name, readings in self.resident.items():
            quarter = len(readings) // 4
            before, after = (statistics.median(part) for part in (readings[quarter : 2 * quarter], readings[-quarter:]))
            grown[name] = after / before - 1
        return grown


def main() -> int:
    """Soak one database, PostgreSQL if there is one and nothing else was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--database", choices=NAMES, action="append")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    if not 1 <= options.minutes <= 24 * 60:
        parser.error("--minutes: at least 1, at most a day")
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    for name in options.database or reversed(NAMES):
        with database_at(name) as url:
            if url is None:
                say(f"{name}: not there, left out")
                continue
            say(f"{name}, {options.minutes:g} minutes, seed {seed}")
            return _soak(url, options.minutes * 60, seed)
    return 1


def _soak(url: str, seconds: float, seed: int) -> int:
    tally, watch = Tally(), Watch()
    with tempfile.TemporaryDirectory() as folder:
        token = _found(url)
        key = Path(folder) / "key.pem"
        key.write_bytes(SIGNER.private_pem())
        environment = {"ALACARTE_DATABASE_URL": url, "ALACARTE_SIGNING_KEY": str(key)}
        with serving([program("alacarte"), "serve"], environment, WORKERS) as server:
            asyncio.run(_run(server.port, server.pid, token, seconds, seed, tally, watch))
    problems = [*problems_of(tally, watch), *missing(url, tally)]
    for complaint in tally.complaints:
        say(complaint)
    grown = ", ".join(f"{name} {share:+.1%}" for name, share in watch.growth().items())
    say(
        f"{sum(tally.answered.values()):,} answers, {len(tally.events):,} events and {len(tally.quotes):,} quotes "
        f"acknowledged, {len(watch.kills)} kills broke {len(tally.broken)} requests; memory: {grown}"
    )
    say(f"soak FAILED: {'; '.join(problems)}" if problems else "soak held: 0 5xx, 0 lost, memory flat")
    return 1 if problems else 0


def _found(url: str) -> str:
    """Set up a company whose customers have subscribed this month; return a key for all of it."""
    database = Database(url)
    company, now = Company(database), datetime.now(UTC)
    company.found(*CUSTOMERS)
    book = company.publish()
    for customer in CUSTOMERS:
        company.subscribe(customer, book, {"tokens": "1", "calls": "1", "sso": "1"}, f"{now:%Y-%m}-01")
    with database.writing(TENANT) as uow:
        scopes = [Scope.INGEST, Scope.QUOTE, Scope.READ]
        token = create_key(uow, "soak", "sandbox", scopes, os.urandom(8).hex(), os.urandom(32).hex(), now)[1]
    database.close()
    return token


async def _run(port: int, pid: int, token: str, seconds: float, seed: int, tally: Tally, watch: Watch) -> None:
    mixed = asks(token, CUSTOMERS, "soak", seed)
    capacity = await send(port, mixed, tally, CAPACITY_SECONDS)
    say(f"answers {capacity:.0f} requests a second; {SHARE_OF_CAPACITY:.0%} of that from now on")
    tally.seconds.clear()
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(each) for each in (_kill(pid, watch), _read(pid, watch), _tell(tally, watch))]
        await send(port, mixed, tally, seconds, capacity * SHARE_OF_CAPACITY)
        for task in watching:
            task.cancel()


async def _kill(pid: int, watch: Watch) -> None:
    """Kill the youngest worker each minute, half a minute from now first, and see it replaced."""
    await asyncio.sleep(KILL_EVERY_SECONDS / 2)
    while True:
        began = time.monotonic()
        victim = _workers(pid)[-1]
        os.kill(victim, signal.SIGKILL)
        watch.kills.append(began)
        while len(alive := _workers(pid)) < WORKERS or victim in alive:
            if time.monotonic() > began + REPLACED_WITHIN_SECONDS:
                watch.not_replaced += 1
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(began + KILL_EVERY_SECONDS - time.monotonic())


async def _read(pid: int, watch: Watch) -> None:
    eldest = _workers(pid)[0]
    while True:
        for name, process in (("eldest worker", eldest), ("supervisor", pid)):
            watch.resident[name].append(_resident_bytes(process))
        await asyncio.sleep(READ_MEMORY_EVERY_SECONDS)


async def _tell(tally: Tally, watch: Watch) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(TOLD_EVERY_SECONDS)
        memory = ", ".join(f"{name} {readings[-1] / 2**20:.0f} MiB" for name, readings in watch.resident.items())
        slowest = percentile_ms(sorted(tally.seconds), 0.99)
        say(
            f"{(time.monotonic() - began) / 60:.1f} min: {len(tally.seconds) / TOLD_EVERY_SECONDS:.0f}/s, p99 "
            f"{slowest:.0f} ms, {len(watch.kills)} kills, {len(tally.broken)} broken, {tally.wrong} wrong; {memory}"
        )
        tally.seconds.clear()


def _workers(pid: int) -> list[int]:
    """Return the living workers of a server, eldest first."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    born = {}
    for child in children:
        state, *fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        if state != "Z":
            born[child] = int(fields[18])  # Field 22 of proc(5), starttime.
    return sorted(born, key=lambda child: (born[child], child))


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def problems_of(tally: Tally, watch: Watch) -> Sequence[str]:
    unexplained = sum(
        not any(kill <= broke <= kill + BROKEN_WITHIN_SECONDS for kill in watch.kills) for broke in tally.broken
    )
    counted = {
        "5xx": tally.server_errors,
        "answers that should not be": tally.wrong,
        "connections broken without a kill": unexplained,
        "workers not replaced": watch.not_replaced,
    }
    problems = [f"{count} {what}" for what, count in counted.items() if count]
    problems += [f"{name} grew by {share:.1%}" for name, share in watch.growth().items() if share > MAX_GROWTH]
    return problems if watch.kills and tally.quotes and tally.events else [*problems, "nothing was tried"]


def missing(url: str, tally: Tally) -> Sequence[str]:
    """Say what was acknowledged and is not in the database, read by another process than those that wrote it."""
    database = Database(url)
    with database.reading(TENANT) as uow:
        events, quotes = (
            set(uow.connection.execute(text(query), {"tenant": TENANT}).scalars())
            for query in (
                "select event_id from usage_event where tenant = :tenant",
                "select id from quote where tenant = :tenant",
            )
        )
    lost = {"events": tally.events - events, "quotes": tally.quotes - quotes}
    problems = [f"{len(names)} acknowledged {what} lost" for what, names in lost.items() if names]
    problems += INGEST.problems(database)
    database.close()
    return problems


if __name__ == "__main__":
    sys.exit(main())
