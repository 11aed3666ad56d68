"""Sums that the provider would not charge wait in our books and are collected with the next invoice."""

from __future__ import annotations

import pytest

from billing.stripe.enqueue import enqueue_void
from billing.stripe.money_back import enqueue_credit_note
from billing.stripe.status import CollectionStatus
from models.values.errors import RuleBrokenError
from tests.stripe.bridge import Bridge, an_invoice
from tests.stripe_twin.twin import Twin


def test_small_sums_gather_until_they_can_be_charged(bridge: Bridge, twin: Twin) -> None:
    for number in (1, 2):
        bridge.enqueue(an_invoice(number, amounts=(20,)))
        bridge.drain()
        assert bridge.row(f"inv-{number}").status is CollectionStatus.SETTLED
    assert [request.operation for request in twin.requests] == ["POST /v1/customers"]
    bridge.enqueue(an_invoice(3, amounts=(15,)))
    bridge.drain()
    (invoice,) = twin.account.all("invoice")
    assert invoice["total"] == 55
    assert twin.account.lines[invoice["id"]][-1]["description"] == "Carried over from 2026-00002"
    assert bridge.listener.paid() == {"inv-1": 20, "inv-2": 20, "inv-3": 15}


def test_a_third_decimal_that_cannot_be_charged_is_carried(bridge: Bridge, twin: Twin) -> None:
    for number in (1, 2):
        bridge.enqueue(an_invoice(number, amounts=(1_234,), currency="KWD"))
        bridge.drain()
    assert [invoice["total"] for invoice in twin.account.all("invoice")] == [1_230, 1_230]
    assert bridge.listener.paid() == {"inv-1": 1_234, "inv-2": 1_226}
    assert bridge.row("inv-2").carried_out_minor == 8


def test_currencies_do_not_mix(embedded_bridge: Bridge, twin: Twin) -> None:
    embedded_bridge.enqueue(an_invoice(1, amounts=(20,)), an_invoice(2, amounts=(100,), currency="EUR"))
    embedded_bridge.drain()
    assert [(invoice["currency"], invoice["total"]) for invoice in twin.account.all("invoice")] == [("eur", 100)]


def test_a_void_gives_back_what_was_taken_over(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    bridge.enqueue(an_invoice(1, amounts=(20,)), an_invoice(2, amounts=(100,)))
    bridge.drain()
    assert bridge.row("inv-1").carried_into == "inv-2"
    with pytest.raises(RuleBrokenError), bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-1", now=bridge.clock.now())
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-2", now=bridge.clock.now())
    bridge.drain()
    assert bridge.row("inv-1").carried_into is None
    bridge.enqueue(an_invoice(3, amounts=(200,)))
    bridge.drain()
    assert [invoice["total"] for invoice in twin.account.all("invoice")] == [120, 220]


def test_a_carried_sum_is_voided_or_credited_without_the_provider(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    bridge.enqueue(an_invoice(1, amounts=(20,)), an_invoice(2, amounts=(20,)))
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_credit_note(uow, "inv-2", "credit-1", 5, now=bridge.clock.now())
    assert bridge.row("inv-2").carried_out_minor == 35
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-2", now=bridge.clock.now())
    assert bridge.row("inv-2").carried_out_minor == 20, "what it took over from the first is still owed"
    bridge.enqueue(an_invoice(3, amounts=(100,)))
    bridge.drain()
    assert [invoice["total"] for invoice in twin.account.all("invoice")] == [120]
    assert bridge.listener.paid() == {"inv-1": 20, "inv-3": 100}


def test_what_is_paid_otherwise_takes_nothing_off_what_others_carry_over(embedded_bridge: Bridge, twin: Twin) -> None:
    """The second is paid twice (it was paid back between): the first is still owed, and collected for itself."""
    bridge = embedded_bridge
    bridge.enqueue(an_invoice(1, amounts=(20,)), an_invoice(2, amounts=(15,)))
    for name in ("transfer-1", "transfer-2"):
        with bridge.database.writing(bridge.tenant) as uow:
            enqueue_credit_note(uow, "inv-2", name, 15, now=bridge.clock.now())
        assert bridge.row("inv-2").carried_out_minor == 20
    bridge.enqueue(an_invoice(3, amounts=(100,)))
    bridge.drain()
    assert [invoice["total"] for invoice in twin.account.all("invoice")] == [120]
    assert bridge.listener.paid() == {"inv-1": 20, "inv-3": 100}


def test_what_is_paid_otherwise_after_it_was_carried_over_is_not_collected(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    bridge.enqueue(an_invoice(1, amounts=(20,)), an_invoice(2, amounts=(15,)))
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_credit_note(uow, "inv-1", "transfer", 20, now=bridge.clock.now())
    assert (bridge.row("inv-2").carried_in_minor, bridge.row("inv-2").carried_out_minor) == (0, 15)
    bridge.enqueue(an_invoice(3, amounts=(100,)))
    bridge.drain()
    assert [invoice["total"] for invoice in twin.account.all("invoice")] == [115]
    assert bridge.listener.paid() == {"inv-2": 15, "inv-3": 100}
