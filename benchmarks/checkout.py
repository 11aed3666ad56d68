"""The checkout's calls over HTTP: 32 clients, a catalog of 20 features, each request another selection or feature.

Ours is `alacarte serve` with keys, rules, prices and reasons; the other leg is Litestar on the same server, see
`bare_api`. Both run as many workers as the machine has cores, two here; the clients take their share of them. A ratio
is their time by ours: 0.5 is half as many requests a second.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import text

from api.schemas.quotes import preview_view, quote_view
from benchmarks.bare_api import FOLDER
from benchmarks.harness import Benchmark, Clock, Leg, LegRun, Ratio, Value, run
from benchmarks.http_load import CLIENTS, Request, get, percentile_ms, post, program, send, serving
from benchmarks.quotes import book
from billing.acceptance import accept_and_subscribe
from billing.api_keys import Scope, create_key
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import publish
from billing.quotes import QuoteRequest, create_quote, price_request
from billing.repositories.customers import CustomerRepository
from models.values.ids import DEFAULT_TENANT
from pricing_engine.sealing import Disclosure, Signer, disclose, new_signer

FEATURES = 20
REQUESTS = {"preview": 6_000, "quote": 3_000, "entitlement": 12_000}
WARMING = 640
WORKERS = 2
PATHS = {"preview": ("/v1/quotes/preview", 200), "quote": ("/v1/quotes", 201)}
STATUS = {call: status for call, (_, status) in PATHS.items()} | {"entitlement": 200}
START = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """A company with one customer, a key for its checkout, and a sample of each answer in `folder`."""

    folder: Path
    url: str
    token: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What `alacarte serve` is started with."""
        return {"ALACARTE_DATABASE_URL": self.url, "ALACARTE_SIGNING_KEY": str(self.folder / "key.pem")}


@contextmanager
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder, signer = Path(name), new_signer()
        (folder / "key.pem").write_bytes(signer.private_pem())
        url = f"sqlite:///{folder / 'bench.db'}"
        database = Database(url)
        database.migrate()
        with database.writing(DEFAULT_TENANT) as uow:
            publish(uow, book(FEATURES, 0), signer, START, "bench")
            customers = CustomerRepository(uow)
            customers.save_legal_entity(LegalEntity("main", "Main", "IE"))
            customers.save([Customer("acme", "main", "Acme", "IE", "USD")], START)
            token = create_key(uow, "bench", "sandbox", [Scope.QUOTE], "be" * 8, "5e" * 32, datetime.now(UTC))[1]
        _write_samples(database, folder, signer)
        database.close()
        yield World(folder, url, token)


def selection(number: int) -> dict[str, Any]:
    """Return what request `number` asks for: all features, other quantities each time."""
    return {f"f{feature}": str(1_000 + 37 * feature + number % 9_973) for feature in range(FEATURES)}


def _write_samples(database: Database, folder: Path, signer: Signer) -> None:
    request, now = QuoteRequest("acme", selection(0)), datetime.now(UTC)
    with database.writing(DEFAULT_TENANT) as uow:
        previewed = preview_view(price_request(uow, request, signer, now))
        quote = create_quote(uow, request, signer, now, "sample")
        quoted = quote_view(quote, disclose(quote.sealed, Disclosure.BUYER))
        accept_and_subscribe(uow, quote.id, "sample", now)
    (folder / "preview.json").write_bytes(msgspec.json.encode(previewed))
    (folder / "quote.json").write_bytes(msgspec.json.encode(quoted))


def requests(call: str, token: str, name: str) -> Request:
    """Return the requests of one call: checks of one feature after the other, or posts with a key of their own."""

    def check(number: int) -> bytes:
        path = f"/v1/customers/acme/entitlements/f{number % FEATURES}"
        return get(path, {"authorization": f"Bearer {token}"})

    def request(number: int) -> bytes:
        body = msgspec.json.encode({"customer": "acme", "selection": selection(number)})
        headers = {"authorization": f"Bearer {token}", "idempotency-key": f"{name}-{number}"}
        return post(PATHS[call][0], body, headers)

    return check if call == "entitlement" else request


def _load(clock: Clock, port: int, call: str, token: str) -> int:
    count = CLIENTS * 10 if clock.options.small else REQUESTS[call]
    status = STATUS[call]
    asyncio.run(send(port, requests(call, token, "warm"), CLIENTS if clock.options.small else WARMING, status))
    with clock:
        seconds = asyncio.run(send(port, requests(call, token, "timed"), count, status))
    clock.facts["requests_a_second"] = round(count / clock.seconds)
    clock.facts |= {"p50_ms": percentile_ms(seconds, 0.5), "p99_ms": percentile_ms(seconds, 0.99)}
    return count


def ours(call: str) -> Leg:
    def measure(clock: Clock) -> object:
        with world() as made:
            with serving([program("alacarte"), "serve"], made.environment, WORKERS) as server:
                count = _load(clock, server.port, call, made.token)
            return count if call != "quote" or _stored(made.url, count) else "quotes are missing"

    return measure


def bare(call: str) -> Leg:
    def measure(clock: Clock) -> object:
        options = ["--interface", "asgi", "--factory", "--no-access-log", "--host", "127.0.0.1"]
        command = [program("granian"), *options, "benchmarks.bare_api:create_app"]
        with world() as made, serving(command, {FOLDER: str(made.folder)}, WORKERS) as server:
            return _load(clock, server.port, call, made.token)

    return measure


def _stored(url: str, count: int) -> bool:
    with Database(url).reading(DEFAULT_TENANT) as uow:
        return int(uow.connection.execute(text("select count(*) from quote")).scalar_one()) >= count


def _p99(leg_run: LegRun) -> float:
    return leg_run.facts["p99_ms"]


BENCHMARK = Benchmark(
    legs={f"{kind}_{call}": leg(call) for kind, leg in (("ours", ours), ("bare", bare)) for call in PATHS}
    | {"ours_entitlement": ours("entitlement")},
    rows=[
        Ratio(
            "api.preview_ratio",
            "bare_preview",
            "ours_preview",
            bar=0.5,
            better="higher",
            how="POST /v1/quotes/preview, priced and explained, by a handler that only decodes and encodes",
        ),
        Ratio(
            "api.quote_ratio",
            "bare_quote",
            "ours_quote",
            bar=0.5,
            better="higher",
            how="POST /v1/quotes, sealed and committed, by one that decodes, encodes, signs and group-commits a row",
        ),
        Value(
            "api.preview_p99_ms",
            "ours_preview",
            "ms",
            bar=50.0,
            better="lower",
            how=f"99th percentile of POST /v1/quotes/preview, {CLIENTS} clients, two workers",
            of=_p99,
            rounds=3,
        ),
        Value(
            "api.quote_p99_ms",
            "ours_quote",
            "ms",
            bar=50.0,
            better="lower",
            how=f"99th percentile of POST /v1/quotes, {CLIENTS} clients, two workers",
            of=_p99,
            rounds=3,
        ),
        Value(
            "api.entitlement_p99_ms",
            "ours_entitlement",
            "ms",
            bar=10.0,
            better="lower",
            how=f"99th percentile of GET .../entitlements/..., usage included, {CLIENTS} clients, two workers",
            of=_p99,
            rounds=3,
        ),
    ],
    warm_up=False,
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
