"""Each kind of difference is planted, found under its name, put right through queued operations, and gone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest

from billing.collection import CollectionMethod
from billing.stripe.reconciliation import Difference, Reconciliation, Repair
from billing.stripe.reports import csv_of, html_of, lines_of
from billing.stripe.status import CollectionStatus
from tests.stripe.bridge import Bridge, an_invoice, assert_one_of_each
from tests.stripe_twin import invoices, payments
from tests.stripe_twin.form import Params
from tests.stripe_twin.twin import Phase, Recorded, Twin

_SENT = CollectionMethod.SEND


@pytest.fixture
def running(embedded_bridge: Bridge) -> Bridge:
    """One invoice paid, three open, all notifications read: nothing differs."""
    return _run(embedded_bridge)


@pytest.fixture
def running_on_each(bridge: Bridge) -> Bridge:
    """The same on both databases."""
    return _run(bridge)


def _run(bridge: Bridge) -> Bridge:
    bridge.enqueue(an_invoice(1), *(an_invoice(number, method=_SENT) for number in (2, 3, 4)))
    bridge.drain()
    bridge.settle_everything()
    assert bridge.reconcile().is_clean
    return bridge


def _remote(bridge: Bridge, twin: Twin, number: int) -> dict[str, object]:
    return twin.account.objects[str(bridge.row(f"inv-{number}").stripe_id)]


def _gone(bridge: Bridge, twin: Twin) -> None:
    """An open invoice cannot be deleted, but support can have a test account cleared."""
    _remote(bridge, twin, 2)["deleted"] = True


def _extra_draft(bridge: Bridge, twin: Twin) -> None:
    """Something else writes into the account under our reference."""
    customer = twin.account.all("customer")[0]["id"]
    invoices.create(twin.account, Params({"customer": customer, "metadata": {"ala_ref": "default/inv-99"}}))


def _extra_copy(bridge: Bridge, twin: Twin) -> None:
    customer = twin.account.all("customer")[0]["id"]
    copy = invoices.create(twin.account, Params({"customer": customer, "metadata": {"ala_ref": "default/inv-2"}}))
    invoices.add_lines(twin.account, Params({"lines": {"0": {"amount": "1250"}}}), copy["id"])
    invoices.finalize(twin.account, Params({}), copy["id"])


def _other_amount(bridge: Bridge, twin: Twin) -> None:
    remote = _remote(bridge, twin, 2)
    remote |= {"total": 1_251, "amount_due": 1_251, "amount_remaining": 1_251}


def _paid_unheard(bridge: Bridge, twin: Twin) -> None:
    remote = _remote(bridge, twin, 2)
    card = twin.account.objects[twin.account.by_kind["payment_method"][0]]
    intent = payments.charge_customer(twin.account, twin.account.all("customer")[0], 1_250, "usd", card)
    invoices.settle(twin.account, remote, intent, is_default=False)
    bridge.forget_events()


def _stale_draft(bridge: Bridge, twin: Twin) -> None:
    """A line is changed by hand before the check, and for hours nobody looks."""

    def meddle(recorded: Recorded, phase: Phase) -> None:
        if phase is Phase.COMMITTED and recorded.operation.endswith("/add_lines"):
            twin.account.lines[recorded.operation.split("/")[3]][0]["amount"] = 1
            twin.watchers.clear()

    twin.watchers.append(meddle)
    bridge.enqueue(an_invoice(5))
    bridge.drain()
    bridge.settle_everything()
    bridge.clock.advance(3 * 3_600)


def _unheard_event(bridge: Bridge, twin: Twin) -> None:
    twin.account.emit("invoice.updated", invoices.render(twin.account, _remote(bridge, twin, 1)))
    bridge.clock.advance(600)


_FAULTS: dict[str, tuple[Difference, Repair, Callable[[Bridge, Twin], None]]] = {
    "missing": (Difference.MISSING, Repair.CREATE, _gone),
    "extra_draft": (Difference.EXTRA, Repair.REMOVE, _extra_draft),
    "extra_copy": (Difference.EXTRA, Repair.REMOVE, _extra_copy),
    "amount": (Difference.AMOUNT, Repair.REPLACE, _other_amount),
    "status": (Difference.STATUS, Repair.READ, _paid_unheard),
    "stale_draft": (Difference.STALE_DRAFT, Repair.GO_ON, _stale_draft),
    "event_gap": (Difference.EVENT_GAP, Repair.FETCH, _unheard_event),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_planted_fault_is_found_repaired_and_gone(running: Bridge, twin: Twin, fault: str) -> None:
    difference, repair, plant = _FAULTS[fault]
    plant(running, twin)
    found = running.reconcile()
    expected = {(difference, repair)}
    gaps = {(Difference.EVENT_GAP, Repair.FETCH)}
    assert {(each.difference, each.repair) for each in found.findings} - gaps == expected - gaps
    assert expected <= {(each.difference, each.repair) for each in found.findings}
    assert running.repair(found) == 0
    after = running.reconcile()
    assert after.is_clean, after.findings
    assert all(each.ours == each.theirs and each.ours_paid == each.theirs_paid for each in after.totals.values())


def test_all_faults_at_once_are_told_apart(running_on_each: Bridge, twin: Twin) -> None:
    running = running_on_each
    _remote(running, twin, 3)["deleted"] = True
    remote = _remote(running, twin, 4)
    remote |= {"total": 9_999, "amount_due": 9_999, "amount_remaining": 9_999}
    _extra_draft(running, twin)
    _paid_unheard(running, twin)
    _stale_draft(running, twin)
    _unheard_event(running, twin)
    found = running.reconcile()
    counts = found.counts()
    assert counts.pop(Difference.EVENT_GAP) >= 1
    # The planted draft has aged as well, but is nobody's: it stays one difference.
    assert counts == {
        Difference.MISSING: 1,
        Difference.EXTRA: 1,
        Difference.AMOUNT: 1,
        Difference.STATUS: 1,
        Difference.STALE_DRAFT: 1,
    }
    assert running.repair(found) == 0
    assert running.reconcile().is_clean
    assert running.row("inv-2").status is CollectionStatus.PAID
    assert running.row("inv-5").status is CollectionStatus.PAID


def test_an_event_is_missed_only_once_its_delivery_had_time(running: Bridge, twin: Twin) -> None:
    _unheard_event(running, twin)
    running.clock.advance(-1)
    assert running.reconcile().is_clean
    running.clock.advance(1)
    assert running.reconcile().counts() == {Difference.EVENT_GAP: 1}


def test_an_invoice_that_waited_for_longer_than_the_window_is_ours_all_the_same(running: Bridge, twin: Twin) -> None:
    """Were it taken for somebody else's, the repair would void it."""
    running.enqueue(an_invoice(7, method=_SENT))
    running.clock.advance(timedelta(days=36).total_seconds())
    running.drain()
    found = running.reconcile(days=35)
    assert found.counts()[Difference.EXTRA] == 0
    assert running.row("inv-7").status is CollectionStatus.OPEN


def test_what_a_repair_left_behind_is_extra_when_it_turns_up_again(running: Bridge, twin: Twin) -> None:
    lost = _remote(running, twin, 2)
    _gone(running, twin)
    running.repair(running.reconcile())
    del lost["deleted"]
    found = running.reconcile()
    assert [(each.difference, each.repair, each.stripe_id) for each in found.findings] == [
        (Difference.EXTRA, Repair.REMOVE, lost["id"])
    ]
    assert running.repair(found) == 0
    assert running.reconcile().is_clean


def test_what_is_made_anew_has_the_same_content_and_collects_once(running: Bridge, twin: Twin) -> None:
    _gone(running, twin)
    running.repair(running.reconcile())
    row = running.row("inv-2")
    remote = twin.account.objects[str(row.stripe_id)]
    assert (row.incarnation, remote["metadata"]["ala_ref"], remote["status"]) == (2, "default/inv-2#2", "open")
    assert [line["amount"] for line in twin.account.lines[str(row.stripe_id)]] == [1_000, 250]


def test_a_paid_invoice_with_another_amount_is_left_to_a_person(running: Bridge, twin: Twin) -> None:
    _remote(running, twin, 1)["total"] = 1_300
    found = running.reconcile()
    assert [(each.difference, each.repair) for each in found.findings] == [(Difference.AMOUNT, Repair.PERSON)]
    assert running.repair(found) == 1
    assert twin.account.charges_made == 1


def test_other_peoples_invoices_in_the_account_are_none_of_our_business(running: Bridge, twin: Twin) -> None:
    customer = twin.account.all("customer")[0]["id"]
    for ref in ("", "other/inv-1", "defaultish/inv-1"):
        invoices.create(twin.account, Params({"customer": customer, "metadata": {"ala_ref": ref}}))
    running.settle_everything()
    assert running.reconcile().is_clean


def test_an_invoice_on_its_way_is_no_difference(running: Bridge, twin: Twin) -> None:
    running.enqueue(an_invoice(6))
    assert running.reconcile().is_clean


def test_voiding_here_and_there(running: Bridge, twin: Twin) -> None:
    from billing.stripe.enqueue import enqueue_void

    with running.database.writing(running.tenant) as uow:
        enqueue_void(uow, "inv-2", now=running.clock.now())
    running.drain()
    invoices.void(twin.account, Params({}), str(running.row("inv-3").stripe_id))
    running.settle_everything()
    assert [running.row(f"inv-{number}").status for number in (2, 3)] == [CollectionStatus.VOID] * 2
    assert running.reconcile().is_clean


def test_the_reports_say_what_was_found(running: Bridge, twin: Twin) -> None:
    _other_amount(running, twin)
    found = running.reconcile()
    (row,) = csv.DictReader(StringIO(csv_of(found)))
    assert (row["difference"], row["repair"], row["ours"], row["theirs"]) == ("amount", "replace", "1250", "1251")
    assert "amount 1" in list(lines_of(found))[-1]
    page = html_of(found)
    assert "1 difference." in page
    assert "<td>1251</td>" in page
    assert html_of(replace(found, findings=())).count("Everything agrees") == 1


def test_a_cell_never_becomes_a_formula_or_markup(running: Bridge, twin: Twin) -> None:
    found: Reconciliation = running.reconcile()
    finding = replace(_a_finding(running, twin), theirs="=1+1", ours="<script>")
    found = replace(found, findings=(finding,))
    assert "'=1+1" in csv_of(found)
    assert "<script>" not in html_of(found)


def _a_finding(bridge: Bridge, twin: Twin):  # noqa: ANN202
    _other_amount(bridge, twin)
    return bridge.reconcile().findings[0]


def test_what_was_collected_before_the_window_is_not_looked_at(running: Bridge) -> None:
    running.clock.advance(timedelta(days=40).total_seconds())
    assert running.reconcile(days=35).compared == 0


def test_one_of_each_remains_after_all_this(running: Bridge, twin: Twin) -> None:
    assert_one_of_each(running, twin)
