"""Closing a month at scale: 1,000 events a customer, so 10,000,000 events are those of 10,000 customers.

The month is prepared once (price book, customers, subscriptions, events appended as ingest appends them) and closed
by `billing.closing.close` as the command does: charging, posting, drafts, numbers, lock; on SQLite. `make bench`
closes 100,000 and 1,000,000 events, `--full` 3,000,000 and 10,000,000 as well. A leg tells its progress as it goes; its
peak memory is its own, and what it leaves (invoices, their sum, a sound chain) is its checksum.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import text

from benchmarks.harness import OUT, Benchmark, Clock, LegRun, Options, Row, Value, run
from billing.closing import CloseOptions, close
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.metering import event_store
from billing.metering.cloud_event import event_of
from billing.phases import Agreement
from billing.publishing import publish
from billing.repositories.customers import CustomerRepository
from billing.subscriptions import start
from billing.tax import FixedRate
from models.values.ids import DEFAULT_TENANT
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import parse_price_book
from pricing_engine.sealing import new_signer

EVENTS_A_CUSTOMER = 1_000
LOADED_AT_ONCE = 20
CACHE = OUT / "close_scale"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LOADED = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
CLOSED = datetime(2026, 2, 1, 1, tzinfo=UTC)
MEMORY_GIB = 4.0

BOOK = {
    "key": "gateway",
    "version": 1,
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "meters": [
        {"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"},
        {"key": "calls", "event_type": "llm.request", "aggregation": "count"},
    ],
    "features": [
        {"key": "tokens", "name": "Tokens", "kind": "metered", "meter": "tokens",
         "tariff": {"model": "graduated", "tiers": [
             {"up_to": "1000", "unit_amount": "0.003"}, {"up_to": None, "unit_amount": "0.0021"}]}},
        {"key": "calls", "name": "Calls", "kind": "metered", "meter": "calls",
         "tariff": {"model": "unit", "unit_amount": "0.0000007"}},
        {"key": "seats", "name": "Seats", "kind": "quantity", "tariff": {"model": "unit", "unit_amount": "10"}},
        {"key": "support", "name": "Support", "kind": "switch", "billed": "advance",
         "tariff": {"model": "flat", "amount": "62"}},
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """How much is closed."""

    customers: int

    @property
    def events(self) -> int:
        """How many events it has."""
        return self.customers * EVENTS_A_CUSTOMER

    @property
    def name(self) -> str:
        """The name of its leg."""
        return f"close_{self.events // 1000}k"

    @property
    def path(self) -> Path:
        """Where its month lies prepared."""
        return CACHE / f"{self.name}.db"


SMALL, USUAL = Size(20), (Size(100), Size(1_000))
LONG = (Size(3_000), Size(10_000))


def prepare(options: Options) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    for size in (SMALL,) if options.small else (*USUAL, *(LONG if options.full else ())):
        if not size.path.exists():
            _make(size)


def _make(size: Size) -> None:
    """Make the company and its month; under another name until it is whole."""
    making = size.path.with_suffix(".making")
    for left in CACHE.glob(f"{making.name}*"):
        left.unlink()
    database = Database(f"sqlite:///{making}")
    database.migrate()
    keys = [f"customer-{number:05}" for number in range(size.customers)]
    chosen = {"tokens": Decimal(1), "calls": Decimal(1), "seats": Decimal(3), "support": Decimal(1)}
    with database.writing(DEFAULT_TENANT) as uow:
        book = publish(uow, parse_price_book(BOOK), new_signer(), BEGAN, "bench").content_hash
        repository = CustomerRepository(uow)
        repository.save_legal_entity(LegalEntity("main", "Main", "IE"))
        repository.save([Customer(key, "main", f"{key} GmbH", "DE", "USD") for key in keys], BEGAN)
        agreement = Agreement(book, chosen, BillingCycle.calendar(Interval.MONTH, ZoneInfo("UTC")))
        for key in keys:
            start(uow, f"sub-{key}", key, "USD", agreement, BEGAN, BEGAN)
    draw = random.Random(23)
    for begin in range(0, size.customers, LOADED_AT_ONCE):
        some = keys[begin : begin + LOADED_AT_ONCE]
        with database.writing(DEFAULT_TENANT) as uow:
            event_store.append(uow, [_event(key, n, draw) for key in some for n in range(EVENTS_A_CUSTOMER)], LOADED)
        print(f"{size.name}: {(begin + len(some)) * EVENTS_A_CUSTOMER:,} events laid down", file=sys.stderr)
    with database.engine.connect() as connection:
        connection.execute(text("pragma wal_checkpoint(truncate)"))
    database.close()
    making.rename(size.path)


def _event(customer: str, number: int, draw: random.Random):  # noqa: ANN202 - a CloudEvent
    moment = BEGAN + timedelta(seconds=number * 2_600 + draw.randrange(2_600))
    return event_of(
        source="gateway/eu-1",
        event_id=f"{customer}/{number:06}",
        event_type="llm.request",
        customer=customer,
        time=moment.isoformat(),
        data={"model": "small", "tokens": draw.randrange(8_000)},
        now=LOADED,
    )


def leg(size: Size):  # noqa: ANN201 - a Leg
    def measure(clock: Clock) -> object:
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            copy = Path(folder) / "closing.db"
            shutil.copyfile(size.path, copy)
            database = Database(f"sqlite:///{copy}")
            options = CloseOptions(actor="bench", rates=FixedRate("none", Decimal(0)))
            with clock:
                result = close(database, DEFAULT_TENANT, "2026-01", CLOSED, options, progress=_tell)
            clock.facts["customers"] = size.customers
            clock.facts["events"] = size.events
            clock.facts["ms_a_customer"] = round(clock.seconds / size.customers * 1_000, 2)
            with database.reading(DEFAULT_TENANT) as uow:
                total = uow.connection.execute(text("select sum(total_minor) from invoice")).scalar_one()
            database.close()
            return [len(result.invoices), int(total)]

    return measure


def _tell(stage: str, done: int, of: int) -> None:
    print(f"  {stage} {done} of {of}", file=sys.stderr)


def rows() -> list[Row]:
    sizes = [SMALL] if "--small" in sys.argv else [*USUAL, *(LONG if "--full" in sys.argv else ())]
    made: list[Row] = []
    for size in sizes:
        what = f"a month of {size.customers:,} customers and {size.events:,} events, on SQLite"
        made.append(
            Value(f"ledger.{size.name}_s", size.name, "s", None, "lower", f"closing {what}", rounds=1),
        )
        made.append(
            Value(
                f"ledger.{size.name}_gib",
                size.name,
                "GiB",
                MEMORY_GIB,
                "lower",
                f"peak memory of closing {what}",
                of=_gib,
                rounds=1,
            )
        )
    return made


def _gib(leg_run: LegRun) -> float:
    return leg_run.rss_bytes / 2**30


BENCHMARK = Benchmark(
    legs={size.name: leg(size) for size in (SMALL, *USUAL, *LONG)},
    rows=rows(),
    prepare=prepare,
    warm_up=False,
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
