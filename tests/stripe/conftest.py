"""The twin on a real socket, fresh for each test; no test may end with a schema violation on record."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import stripe

from billing.database import Database
from billing.stripe.transport import Transport
from tests.absent import absent
from tests.stripe.bridge import Bridge, settings_for
from tests.stripe_twin.clock import MovableClock, real_now
from tests.stripe_twin.fault_proxy import FaultProxy, breaking
from tests.stripe_twin.schema import DESCRIPTION
from tests.stripe_twin.server import application, serving
from tests.stripe_twin.twin import Twin

T = TypeVar("T")


@pytest.fixture
def clock() -> MovableClock:
    """The clock that twin and worker share."""
    return MovableClock()


@pytest.fixture(scope="session")
def twin_server() -> Iterator[tuple[list[Twin], str]]:
    """One listening server; the twin that answers is the last of the list."""
    twins: list[Twin] = []
    with serving(application(lambda: twins[-1])) as url:
        yield twins, url


@pytest.fixture
def twin(twin_server: tuple[list[Twin], str], clock: MovableClock) -> Iterator[Twin]:
    """A fresh account; its whole traffic must have been valid by Stripe's description."""
    fresh = Twin(clock.now)
    twin_server[0][:] = [fresh]
    yield fresh
    assert_schema_kept(fresh)


@pytest.fixture
def real_twin(twin_server: tuple[list[Twin], str]) -> Iterator[Twin]:
    """A twin on the wall clock, for workers in processes of their own."""
    fresh = Twin(real_now)
    fresh.account.card_on_file = "pm_card_visa"
    twin_server[0][:] = [fresh]
    yield fresh
    assert_schema_kept(fresh)


@pytest.fixture
def twin_url(twin: Twin, twin_server: tuple[list[Twin], str]) -> str:
    """Where the twin listens."""
    return twin_server[1]


@pytest.fixture
def proxy(twin_url: str) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy before the twin that breaks what it is told to break."""
    with breaking(twin_url) as running:
        yield running


@pytest.fixture
def call(twin_url: str) -> Callable[[Callable[[Any], Coroutine[Any, Any, T]]], T]:
    """Run a coroutine function on a plain SDK client that talks to the twin."""
    return lambda work: with_sdk(twin_url, work)


def with_sdk(url: str, work: Callable[[Any], Coroutine[Any, Any, T]], key: str = "sk_test_twin") -> T:
    """Open the SDK's client on `url`, run `work` on its v1 namespace, close it."""

    async def _no_limit() -> None:
        return

    async def _run() -> T:
        transport = Transport(_no_limit)
        client = stripe.StripeClient(key, base_addresses={"api": url}, http_client=transport, max_network_retries=0)
        try:
            return await work(client.v1)
        finally:
            await transport.close_async()

    return asyncio.run(_run())


def assert_schema_kept(twin: Twin) -> None:
    """Fail when anything the twin received or answered broke Stripe's description."""
    if twin.check is not None:
        assert twin.check.violations == []


@pytest.fixture
def bridge(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """The bridge on both databases, straight to the twin; every new customer has a working card."""
    twin.account.card_on_file = "pm_card_visa"
    return Bridge(database, clock, settings_for(twin_url))


@pytest.fixture
def embedded(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database, where the choice of database cannot matter."""
    path = tmp_path / "alacarte.db"
    shutil.copy(sqlite_template, path)
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def embedded_bridge(embedded: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """The bridge on SQLite alone, straight to the twin; every new customer has a working card."""
    twin.account.card_on_file = "pm_card_visa"
    return Bridge(embedded, clock, settings_for(twin_url))


@pytest.fixture
def broken_bridge(embedded: Database, twin: Twin, proxy: tuple[FaultProxy, str], clock: MovableClock) -> Bridge:
    """The bridge through the fault proxy, which is told later what to break."""
    twin.account.card_on_file = "pm_card_visa"
    return Bridge(embedded, clock, settings_for(proxy[1], timeout_seconds=2.0))


@pytest.fixture(scope="session")
def description() -> None:
    """Skip, or fail in CI, where Stripe's description does not stand beside the repository."""
    if not DESCRIPTION.exists():
        absent("Stripe's OpenAPI description is not beside the repository (shared/stripe)")
