"""From a handed-over invoice to money received, on both databases, over real sockets."""

from __future__ import annotations

import pytest

from billing.database import Database
from billing.stripe.status import CollectionStatus
from tests.stripe.bridge import Bridge, an_invoice, settings_for
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.twin import Twin


@pytest.fixture
def bridge(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    twin.account.card_on_file = "pm_card_visa"
    return Bridge(database, clock, settings_for(twin_url))


def test_an_invoice_is_collected(bridge: Bridge, twin: Twin) -> None:
    bridge.enqueue(an_invoice(tax_percent="19"))
    report = bridge.drain()
    (invoice,) = twin.account.all("invoice")
    row = bridge.row("inv-1")
    assert (invoice["status"], invoice["total"], invoice["amount_paid"]) == ("paid", 1_487, 1_487)
    assert (invoice["number"], invoice["auto_advance"]) == ("2026-00001", False)
    assert (row.status, row.paid_minor, row.stripe_id) == (CollectionStatus.PAID, 1_487, invoice["id"])
    assert bridge.listener.paid() == {"inv-1": 1_487}
    assert (report.failed, report.dead) == (0, 0)
