"""Workers killed at any moment, several workers at once: the provider and the ledger agree to the minor unit."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from billing.database import Database
from billing.invoices import InvoiceState
from tests.postgres_server import PostgresServer
from tests.stripe import worker_process
from tests.stripe.bridge import Bridge, an_invoice, settings_for
from tests.stripe.company import balance, closed_month, invoices
from tests.stripe.worker_process import SHORT_LEASE
from tests.stripe_twin.clock import MovableClock, real_now
from tests.stripe_twin.problems import rate_limited
from tests.stripe_twin.twin import Phase, Recorded, Twin

_RUNS, _ALL_RUNS = 5, 100
_KILLS = 3
_REQUESTS = 30
_STEPS = (
    "POST /v1/customers",
    "POST /v1/invoices",
    "POST /v1/invoices/[^/]+/add_lines",
    "GET /v1/invoices/[^/]+/lines",
    "POST /v1/invoices/[^/]+/finalize",
    "POST /v1/invoices/[^/]+/pay",
    "GET /v1/payment_intents/[^/]+",
)
_MOMENTS = ("lost", "received", "committed", "replied")
"""On arrival and never obeyed, on arrival, after the work and before the reply, or shortly after the reply."""


class Killer:
    """Kills the worker on its way through one step, and at two more requests of any kind.

    Which step, and at which moment, goes by the seed, so that every step is met at every moment; the rest is chance.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._wanted = _STEPS[seed % len(_STEPS)]
        self._step: str | None = self._wanted
        self._step_moment = _MOMENTS[seed // len(_STEPS) % len(_MOMENTS)]
        self._left = self._random.sample(range(1, _REQUESTS), _KILLS - 1)
        self._seen = 0
        self._moment: str | None = None
        self.pid: int | None = None
        self.killed: list[str] = []

    def __call__(self, recorded: Recorded, phase: Phase) -> None:
        if phase is Phase.RECEIVED:
            self._seen += 1
            self._moment = self._planned(recorded.operation)
        if self._moment is None or self.pid is None:
            return
        if phase is Phase.RECEIVED and self._moment in {"lost", "received"}:
            self._kill(recorded.operation)
            if self._moment == "lost":
                raise rate_limited()
        elif phase is Phase.COMMITTED and self._moment == "committed":
            self._kill(recorded.operation)
        elif phase is Phase.COMMITTED and self._moment == "replied":
            threading.Timer(self._random.random() * 0.03, self._kill, [recorded.operation]).start()

    def _planned(self, operation: str) -> str | None:
        if self._step is not None and self.pid is not None and re.fullmatch(self._step, operation):
            self._step = None
            return self._step_moment
        return self._random.choice(_MOMENTS) if self._seen in self._left else None

    def _kill(self, operation: str) -> None:
        pid, self.pid = self.pid, None
        if pid is None:
            # It was dead already, killed by chance; the step is still to be met.
            self._step = self._wanted if re.fullmatch(self._wanted, operation) else self._step
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed.append(operation)


@pytest.fixture(scope="module")
def january(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with a closed month whose invoices wait for collection."""
    path = tmp_path_factory.mktemp("january") / "alacarte.db"
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    closed_month(database)
    database.close()
    return path


@pytest.fixture(scope="module")
def postgres_january(postgres_server: PostgresServer) -> Iterator[str]:
    """The same on PostgreSQL, as a template."""
    with postgres_server.database() as url:
        database = Database(url)
        closed_month(database)
        database.close()
        yield url


@pytest.fixture
def billed_url(seed: int, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh copy of the closed month, on SQLite and PostgreSQL in turn."""
    if seed % 2 == 0:
        path = tmp_path / "alacarte.db"
        shutil.copy(request.getfixturevalue("january"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database(copy_of=request.getfixturevalue("postgres_january")) as url:
        yield url


def _settings(url: str, rate: float = 1_000.0) -> dict[str, object]:
    return {"api_key": "sk_test_twin", "base_address": url, "requests_per_second": rate}


@pytest.mark.parametrize(
    "seed", [*range(_RUNS), *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(_RUNS, _ALL_RUNS))]
)
def test_a_killed_worker_leaves_provider_and_ledger_equal(
    real_twin: Twin, twin_server: tuple[list[Twin], str], billed_url: str, seed: int
) -> None:
    killer = Killer(seed)
    real_twin.watchers.append(killer)
    for attempt in range(_KILLS + 2):
        process = worker_process.start(
            f"worker-{attempt}", billed_url, _settings(twin_server[1]), books=True, lease=SHORT_LEASE
        )
        killer.pid = process.pid
        process.join(120)
        if process.exitcode == 0:
            break
    assert process.exitcode == 0
    assert killer.killed
    database = Database(billed_url)
    _assert_equal(database, real_twin)
    database.close()


def _assert_equal(database: Database, twin: Twin) -> None:
    ours = {f"default/{invoice.id}": invoice for invoice in invoices(database)}
    theirs = [invoice for invoice in twin.account.all("invoice")]
    assert sorted(invoice["metadata"]["ala_ref"] for invoice in theirs) == sorted(ours)
    for invoice in theirs:
        mine = ours[invoice["metadata"]["ala_ref"]]
        assert (invoice["status"], invoice["total"]) == ("paid", mine.total_minor)
        assert [line["amount"] for line in twin.account.lines[invoice["id"]]] == [line.net_minor for line in mine.lines]
        assert (mine.state, mine.open_minor) == (InvoiceState.PAID, 0)
        assert balance(database, "receivable", mine.customer) == 0
    paid = sum(invoice["amount_paid"] for invoice in theirs)
    fees = sum(transaction["fee"] for transaction in twin.account.all("balance_transaction"))
    assert twin.account.charges_made == len(theirs)
    assert balance(database, "processor_fee", detail="stripe") == fees
    assert balance(database, "processor_clearing", detail="stripe") == paid - fees


@pytest.mark.parametrize("number", [50, pytest.param(1_000, marks=pytest.mark.torture)])
def test_two_workers_execute_each_operation_once(
    database: Database, database_url: str, real_twin: Twin, twin_server: tuple[list[Twin], str], number: int
) -> None:
    clock = MovableClock(real_now())
    bridge = Bridge(database, clock, settings_for(twin_server[1]))
    bridge.enqueue(*(an_invoice(each, amounts=(each + 100,)) for each in range(1, number + 1)))
    url = _settings(twin_server[1])
    workers = [worker_process.start(f"worker-{each}", database_url, url, books=False) for each in (1, 2)]
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0, 0]
    sent = Counter(request.key for request in real_twin.requests if request.key is not None)
    assert len(sent) == 1 + 4 * number, "one customer; four steps an invoice"
    assert set(sent.values()) == {1}
    assert bridge.states().keys() == {"done"}
    remote = real_twin.account.all("invoice")
    assert sum(invoice["amount_paid"] for invoice in remote) == sum(range(101, number + 101))
    assert real_twin.account.charges_made == number
