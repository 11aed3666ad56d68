"""Whatever breaks on the way, and however late it is tried again: one invoice, one set of lines, one charge."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.billing_provider import NotAuthorisedError
from billing.repositories import stripe_outbox as outbox
from billing.stripe.operations import Kind
from billing.stripe.status import CollectionStatus
from tests.stripe.bridge import AN_HOUR, Bridge, an_invoice, assert_one_of_each, settings_for
from tests.stripe_twin.clock import START, PassingClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy
from tests.stripe_twin.twin import Phase, Recorded, StoredFailure, Twin

Proxy = tuple[FaultProxy, str]

_NONE = timedelta(0)
STEPS = {
    "create_customer": "POST /v1/customers",
    "create": "POST /v1/invoices",
    "add_lines": "POST /v1/invoices/[^/]+/add_lines",
    "finalise": "POST /v1/invoices/[^/]+/finalize",
    "pay": "POST /v1/invoices/[^/]+/pay",
}
_ROUTES = {
    "create_customer": "POST /v1/customers",
    "create": "POST /v1/invoices",
    "add_lines": "POST /v1/invoices/{invoice}/add_lines",
    "finalise": "POST /v1/invoices/{invoice}/finalize",
    "pay": "POST /v1/invoices/{invoice}/pay",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_reply_lost_after_the_commit_is_made_good_with_the_same_key(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin, step: str
) -> None:
    proxy[0].plan(Breakage.CUT_AFTER_COMMIT, STEPS[step], times=2)
    _collect_through(broken_bridge, proxy, twin)
    assert len(twin.count(_ROUTES[step])) == 1


@pytest.mark.parametrize("breakage", [each for each in Breakage if each is not Breakage.DELAY])
def test_every_step_is_made_good_whatever_breaks(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin, breakage: Breakage
) -> None:
    for step in STEPS.values():
        proxy[0].plan(breakage, step, times=2)
    _collect_through(broken_bridge, proxy, twin)
    assert all(len(twin.count(route)) == 1 for route in _ROUTES.values())


@pytest.mark.parametrize("left", [1.5, 2.5, 3.5, 4.5])
def test_a_lease_that_runs_out_behind_the_last_look_is_not_left(bridge: Bridge, left: float) -> None:
    bridge.enqueue(an_invoice())
    with bridge.database.writing(bridge.tenant) as uow:
        (held,) = outbox.lease(uow, "killed", START, timedelta(seconds=left), 9)
    assert held.kind is Kind.CREATE_CUSTOMER
    passing = replace(bridge, clock=PassingClock(START), concurrency=1)
    assert passing.drain(timedelta(seconds=10)).done == sum(bridge.states().values())
    assert bridge.states().keys() == {"done"}


def _collect_through(bridge: Bridge, proxy: Proxy, twin: Twin) -> None:
    bridge.enqueue(an_invoice(amounts=(600, 400)))
    assert bridge.drain().dead == 0
    assert proxy[0].broken > 0
    assert bridge.row("inv-1").status is CollectionStatus.PAID
    assert_one_of_each(bridge, twin)


@pytest.mark.parametrize("step", ["create", "pay"])
def test_a_reply_that_comes_after_the_timeout_counts_as_lost(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin, twin_url: str, step: str
) -> None:
    broken_bridge.settings = settings_for(proxy[1], timeout_seconds=0.3)
    proxy[0].plan(Breakage.DELAY, STEPS[step], seconds=1.0)
    broken_bridge.enqueue(an_invoice())
    assert broken_bridge.drain().failed >= 1
    assert_one_of_each(broken_bridge, twin)


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_25_hours_later_adopts_what_is_there(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin, step: str
) -> None:
    """The key is pruned by then: sent again it would create everything twice."""
    proxy[0].plan(Breakage.CUT_AFTER_COMMIT, STEPS[step])
    broken_bridge.enqueue(an_invoice())
    broken_bridge.drain(patience=_NONE)
    broken_bridge.clock.advance(25 * 3_600)
    report = broken_bridge.drain()
    assert report.adopted == 1
    assert_one_of_each(broken_bridge, twin)


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_25_hours_later_does_what_is_not_there(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin, step: str
) -> None:
    proxy[0].plan(Breakage.CUT_BEFORE_SENDING, STEPS[step])
    broken_bridge.enqueue(an_invoice())
    broken_bridge.drain(patience=_NONE)
    broken_bridge.clock.advance(25 * 3_600)
    assert broken_bridge.drain().adopted == 0
    assert_one_of_each(broken_bridge, twin)
    (key,) = twin.count(_ROUTES[step])
    assert key.endswith(":g2"), "a new key is taken after a look-up only"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("commits", [True, False])
def test_a_stored_500_is_looked_up_and_ends_right(
    broken_bridge: Bridge, twin: Twin, step: str, *, commits: bool
) -> None:
    """Stripe replays it for ever: the same key would never get anything else."""
    bridge = broken_bridge
    twin.failures.append(StoredFailure(_ROUTES[step], commits=commits))
    bridge.enqueue(an_invoice())
    report = bridge.drain()
    assert (report.dead, report.adopted) == (0, int(commits))
    assert_one_of_each(bridge, twin)
    assert bridge.row("inv-1").status is CollectionStatus.PAID


def test_a_provider_that_is_down_is_tried_for_as_long_as_it_takes(
    broken_bridge: Bridge, proxy: Proxy, twin: Twin
) -> None:
    proxy[0].plan(Breakage.CUT_BEFORE_SENDING, times=60)
    broken_bridge.enqueue(*(an_invoice(number) for number in range(1, 4)))
    report = broken_bridge.drain(patience=AN_HOUR)
    assert (report.dead, proxy[0].faults[0].times) == (0, 0)
    assert_one_of_each(broken_bridge, twin)


def test_a_refused_key_stops_the_worker_and_loses_nothing(bridge: Bridge, twin: Twin) -> None:
    twin.keys = ("sk_test_rotated",)
    bridge.enqueue(an_invoice())
    with pytest.raises(NotAuthorisedError):
        bridge.drain()
    assert bridge.states()["dead"] == 0
    twin.keys = ("sk_test_twin",)
    bridge.drain()
    assert_one_of_each(bridge, twin)


def test_an_invoice_changed_by_hand_is_not_finalised(bridge: Bridge, twin: Twin) -> None:
    """Somebody adds a line in the dashboard between our lines and our check."""

    def meddle(recorded: Recorded, phase: Phase) -> None:
        if phase is Phase.COMMITTED and recorded.operation.endswith("/add_lines"):
            (lines,) = twin.account.lines.values()
            if len(lines) == 2:
                lines.append({**lines[0], "id": "il_by_hand", "metadata": {}})

    twin.watchers.append(meddle)
    bridge.enqueue(an_invoice())
    assert bridge.drain().dead == 1
    row = bridge.row("inv-1")
    assert row.status is CollectionStatus.FILLED
    assert "1 lines are not ours" in str(row.needs_review)
    assert [invoice["status"] for invoice in twin.account.all("invoice")] == ["draft"]
    assert twin.account.charges_made == 0
