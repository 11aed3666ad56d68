"""The provider's limits: requests a second, lines an invoice, what it charges at the least."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from billing.database import Database
from billing.repositories import stripe_mirror as mirror
from tests.stripe.bridge import Bridge, an_invoice, assert_one_of_each, settings_for
from tests.stripe_twin.clock import MovableClock, WallClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy
from tests.stripe_twin.gates import Limiter
from tests.stripe_twin.twin import Twin

_LOG = logging.getLogger(__name__)
_ALLOWED, _OURS, _SHARE = 25, 24.0, 0.85


def _push(bridge: Bridge, twin: Twin, number: int) -> None:
    bridge.enqueue(*(an_invoice(each, amounts=(each + 100,)) for each in range(1, number + 1)))
    limiter = Limiter(twin.now, _ALLOWED)
    twin.limiter = limiter
    began = twin.now()
    bridge.drain()
    elapsed = (twin.now() - began).total_seconds()
    share = len(twin.requests) / elapsed / _ALLOWED
    _LOG.info(
        "%d requests in %.1f s, %.1f %% of the limit, %d refused",
        len(twin.requests),
        elapsed,
        100 * share,
        limiter.refused,
    )
    assert limiter.refused == 0
    assert share >= _SHARE
    assert twin.account.charges_made == number


def test_pushing_invoices_keeps_below_the_limit_and_uses_most_of_it(
    database: Database, twin: Twin, twin_url: str, clock: MovableClock
) -> None:
    """In the time of the movable clock, in which a wait passes at once and a request takes no time."""
    twin.account.card_on_file = "pm_card_visa"
    _push(Bridge(database, clock, settings_for(twin_url, requests_per_second=_OURS)), twin, 50)


@pytest.mark.torture
def test_a_thousand_invoices_in_real_time(embedded: Database, twin: Twin, twin_url: str) -> None:
    twin.account.card_on_file = "pm_card_visa"
    clock = WallClock()
    twin.now = twin.account.now = clock.now
    _push(Bridge(embedded, clock, settings_for(twin_url, requests_per_second=_OURS)), twin, 1_000)


def test_two_workers_keep_below_the_limit_together(
    database: Database, twin: Twin, twin_url: str, clock: MovableClock
) -> None:
    twin.account.card_on_file = "pm_card_visa"
    twin.limiter = limiter = Limiter(clock.now, _ALLOWED)
    bridge = Bridge(database, clock, settings_for(twin_url, requests_per_second=_OURS), concurrency=8)
    bridge.enqueue(*(an_invoice(each) for each in range(1, 21)))

    async def both() -> None:
        await asyncio.gather(bridge.drain_async(name="one"), bridge.drain_async(name="two", seed=2))

    asyncio.run(both())
    assert limiter.refused == 0
    assert_one_of_each(bridge, twin)


def test_a_storm_of_429_kills_no_operation(broken_bridge: Bridge, proxy: tuple[FaultProxy, str], twin: Twin) -> None:
    """Somebody else uses up the account's rate: everything waits, nothing is given up, nothing is looked up."""
    proxy[0].plan(Breakage.TOO_MANY, times=40)
    broken_bridge.enqueue(an_invoice(1), an_invoice(2))
    report = broken_bridge.drain()
    assert (report.dead, report.adopted, proxy[0].faults[0].times) == (0, 0, 0)
    assert_one_of_each(broken_bridge, twin)


@pytest.mark.parametrize("features", [7, 240, 241, 900])
def test_ten_thousand_lines_fold_and_keep_the_total_and_the_detail(
    embedded: Database, twin: Twin, twin_url: str, clock: MovableClock, features: int
) -> None:
    twin.account.card_on_file = "pm_card_visa"
    bridge = Bridge(embedded, clock, settings_for(twin_url))
    amounts = tuple((position * 7_919) % 1_000 - 100 for position in range(10_000))
    invoice = an_invoice(amounts=amounts, tax_percent="19", features=features)
    bridge.enqueue(invoice)
    bridge.drain()
    (remote,) = twin.account.all("invoice")
    lines = twin.account.lines[remote["id"]]
    assert len(lines) <= 250
    assert (remote["status"], remote["total"]) == ("paid", invoice.total_minor)
    behind: dict[str, list[Any]] = {line["metadata"]["ala_line"]: [] for line in lines}
    with embedded.reading(bridge.tenant) as uow:
        for mine in mirror.lines(uow, "inv-1"):
            behind[mine.remote_ref].append(mine)
    for line in lines:
        detail = behind[line["metadata"]["ala_line"]]
        assert sum(each.amount_minor for each in detail) == line["amount"]
        assert sum(each.tax_minor for each in detail) == sum(tax["amount"] for tax in line["taxes"])
    assert sum(len(detail) for detail in behind.values()) == 10_000
