"""Traffic as companies send it: usage, quotes and reads, over connections that each wait for their answer.

A request whose connection broke is sent again, the same bytes, until it is answered: what counts as acknowledged is
what an answer said.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.http_load import CLIENTS, HOST, get, post
from tests.billing_story import event

BATCH = 20
_REQUESTS_A_CONNECTION = 100
"""Connections are renewed, so that a worker that has just started gets its share."""
_ANSWERED_WITHIN_SECONDS = 30
_ATTEMPTS = 20
_REST_SECONDS = 0.1
_MIX = {"event": 50, "batch": 5, "preview": 15, "quote": 10, "entitlement": 10, "customer": 5, "cost": 5}
_KEPT_COMPLAINTS = 20


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, the status it is to be answered with, and the events it brings."""

    kind: str
    sent: bytes
    status: int
    events: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What was answered, what was acknowledged, and what went wrong. Times are of the monotonic clock."""

    answered: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    quotes: set[str] = field(default_factory=set)
    broken: list[float] = field(default_factory=list)
    server_errors: int = 0
    wrong: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, what: str) -> None:
        """Keep the first few for whoever looks into it."""
        self.wrong += 1
        if len(self.complaints) < _KEPT_COMPLAINTS:
            self.complaints.append(what)


def asks(token: str, customers: list[str], run: str, seed: int) -> Iterator[Ask]:
    """Return endless requests, mixed. `run` sets the ids of one sender apart from another's."""
    rng = random.Random(seed)
    headers = {"authorization": f"Bearer {token}"}
    kinds, weights = [*_MIX], [*_MIX.values()]
    for number in itertools.count():
        kind, customer = rng.choices(kinds, weights)[0], rng.choice(customers)
        yield _ask(kind, f"{run}-{number}", customer, headers, rng)


def _ask(kind: str, name: str, customer: str, headers: dict[str, str], rng: random.Random) -> Ask:
    now = datetime.now(UTC).isoformat()
    if kind == "event":
        sent = event(f"-{name}", customer, now, rng.randrange(1, 5_000))
        return Ask(kind, post("/v1/events", json.dumps(sent).encode(), headers), 201, (sent["id"],))
    if kind == "batch":
        many = [event(f"-{name}/{place}", customer, now, rng.randrange(1, 5_000)) for place in range(BATCH)]
        body = json.dumps(many).encode()
        return Ask(kind, post("/v1/events/batch", body, headers), 200, tuple(each["id"] for each in many))
    if kind in ("preview", "quote"):
        wanted = {"seats": str(rng.randrange(1, 500)), "sso": True, "tokens": str(rng.randrange(1, 10**6))}
        body = json.dumps({"customer": customer, "selection": wanted}).encode()
        if kind == "preview":
            return Ask(kind, post("/v1/quotes/preview", body, headers), 200)
        return Ask(kind, post("/v1/quotes", body, {**headers, "idempotency-key": name}), 201)
    ends = {"entitlement": "/entitlements/sso", "customer": "", "cost": "/cost"}
    return Ask(kind, get(f"/v1/customers/{customer}{ends[kind]}", headers), 200)


class Connection:
    """One connection at a time, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, sent: bytes) -> tuple[int, bytes]:
        """Return status and body. Raises ConnectionError or IncompleteReadError where the answer does not come."""
        if self._streams is None or self._left == 0:
            self.close()
            self._streams, self._left = await asyncio.open_connection(HOST, self._port), _REQUESTS_A_CONNECTION
        self._left -= 1
        reader, writer = self._streams
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        length = next(int(line[15:]) for line in lines if line.lower().startswith("content-length:"))
        return int(status.split()[1]), await reader.readexactly(length)

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def send(port: int, mixed: Iterator[Ask], tally: Tally, seconds: float, rate: float | None = None) -> float:
    """Send for a time, `rate` requests a second or as many as are answered; return how many were, a second."""
    began, answered = time.monotonic(), sum(tally.answered.values())
    turns = itertools.count()

    async def client() -> None:
        connection = Connection(port)
        while True:
            turn = began + (next(turns) / rate if rate else 0)
            if max(turn, time.monotonic()) >= began + seconds:
                break
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            await _put(connection, next(mixed), tally)
        connection.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return (sum(tally.answered.values()) - answered) / (time.monotonic() - began)


async def _put(connection: Connection, ask: Ask, tally: Tally) -> None:
    """Send one request until it is answered."""
    for attempt in range(_ATTEMPTS):
        began = time.monotonic()
        try:
            status, body = await asyncio.wait_for(connection.exchange(ask.sent), _ANSWERED_WITHIN_SECONDS)
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.broken.append(time.monotonic())
        except TimeoutError:
            tally.complain(f"{ask.kind}: no answer within {_ANSWERED_WITHIN_SECONDS} s")
        else:
            tally.seconds.append(time.monotonic() - began)
            tally.answered[ask.kind] += 1
            judge(ask, status, body, tally, is_resent=attempt > 0)
            return
        connection.close()
        await asyncio.sleep(_REST_SECONDS)
    tally.complain(f"{ask.kind}: not answered in {_ATTEMPTS} attempts")


def judge(ask: Ask, status: int, body: bytes, tally: Tally, *, is_resent: bool) -> None:
    is_duplicate = ask.kind == "event" and status == 200 and is_resent
    if status >= 500:
        tally.server_errors += 1
    if status != ask.status and not is_duplicate:
        tally.complain(f"{ask.kind}: {status} {body.decode(errors='replace')[:300]}")
        return
    answer: Any = json.loads(body)
    if ask.kind == "quote":
        tally.quotes.add(answer["id"])
    if ask.kind == "batch":
        wanted = {"accepted", "duplicate"} if is_resent else {"accepted"}
        if len(answer["outcomes"]) != BATCH or {each["status"] for each in answer["outcomes"]} - wanted:
            tally.complain(f"batch: {body.decode()[:300]}")
            return
    tally.events.update(ask.events)
