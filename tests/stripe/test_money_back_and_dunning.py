"""Failed charges, what follows them, credit notes, refunds, voids; the real ledger listens where books matter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billing.collection import CollectionEnded, CollectionMethod, CustomerToBill, FeeCharged, PaymentFailed
from billing.database import Database
from billing.invoices import InvoiceState
from billing.ledger_collection import LedgerCollection
from billing.repositories import stripe_outbox as outbox
from billing.stripe.enqueue import enqueue_void
from billing.stripe.money_back import enqueue_credit_note, enqueue_refund
from billing.stripe.operations import Aggregate
from billing.stripe.settings import LastStep
from billing.stripe.status import CollectionStatus
from models.values.errors import ConflictError, RuleBrokenError
from tests.stripe.bridge import Bridge, an_invoice, settings_for
from tests.stripe.company import balance, closed_month, invoices
from tests.stripe_twin import customers, payments
from tests.stripe_twin import invoices as twin_invoices
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.form import Params
from tests.stripe_twin.twin import Twin

_DAY = 86_400
_NONE = timedelta(0)


def _failures(bridge: Bridge) -> list[PaymentFailed]:
    return [event for event in bridge.listener.events if isinstance(event, PaymentFailed)]


def test_a_declined_card_is_tried_again_by_the_schedule_and_then_given_up(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    bridge.enqueue(an_invoice())
    bridge.drain(_NONE)
    for days in (1, 3, 5, 7):
        assert bridge.row("inv-1").next_attempt_at == bridge.clock.now() + timedelta(days=days)
        bridge.clock.advance(days * _DAY - 1)
        assert bridge.drain(_NONE).done == 0, "a second too early"
        bridge.clock.advance(1)
        bridge.drain(_NONE)
    assert [(event.attempt, event.code) for event in _failures(bridge)] == [
        (attempt, "generic_decline") for attempt in range(1, 6)
    ]
    assert _failures(bridge)[-1].next_attempt_at is None
    assert bridge.row("inv-1").status is CollectionStatus.UNCOLLECTIBLE
    assert isinstance(bridge.listener.events[-1], CollectionEnded)
    assert sum(1 for request in twin.requests if request.operation.endswith("/pay")) == 5
    assert twin.account.charges_made == 0


def test_a_new_card_pays_at_the_next_attempt_and_ends_dunning(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    twin.account.card_on_file = "pm_card_visa_chargeDeclinedInsufficientFunds"
    bridge.enqueue(an_invoice())
    bridge.drain(_NONE)
    (customer,) = twin.account.all("customer")
    card = customers.attach(twin.account, Params({"customer": customer["id"]}), "pm_card_visa")
    customer["invoice_settings"]["default_payment_method"] = card["id"]
    bridge.clock.advance(_DAY)
    bridge.drain()
    row = bridge.row("inv-1")
    assert (row.status, row.next_attempt_at, row.failed_attempts) == (CollectionStatus.PAID, None, 1)
    assert bridge.listener.paid() == {"inv-1": 1_250}
    assert bridge.drain(timedelta(days=30)).done == 0


def test_a_customer_without_a_card_is_a_failed_charge_and_no_fault(embedded_bridge: Bridge, twin: Twin) -> None:
    twin.account.card_on_file = None
    embedded_bridge.settings = replace(embedded_bridge.settings, retry_after=(), last_step=LastStep.LEAVE_OPEN)
    embedded_bridge.enqueue(an_invoice())
    assert embedded_bridge.drain(_NONE).dead == 0
    assert [event.code for event in _failures(embedded_bridge)] == ["no_payment_method"]
    assert embedded_bridge.row("inv-1").status is CollectionStatus.OPEN


def test_a_void_during_dunning_stops_it(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    bridge.enqueue(an_invoice())
    bridge.drain(_NONE)
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-1", now=bridge.clock.now())
    bridge.drain(timedelta(days=60))
    assert [invoice["status"] for invoice in twin.account.all("invoice")] == ["void"]
    assert len(_failures(bridge)) == 1


def test_a_void_before_anything_was_sent_sends_nothing(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    bridge.enqueue(an_invoice())
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-1", now=bridge.clock.now())
    bridge.drain()
    assert twin.account.all("invoice") == []
    assert bridge.row("inv-1").status is CollectionStatus.VOID
    with pytest.raises(RuleBrokenError, match="void"), bridge.database.writing(bridge.tenant) as uow:
        enqueue_void(uow, "inv-1", now=bridge.clock.now())


def test_a_paid_invoice_is_not_voided(embedded_bridge: Bridge) -> None:
    embedded_bridge.enqueue(an_invoice())
    embedded_bridge.drain()
    with pytest.raises(RuleBrokenError), embedded_bridge.database.writing("default") as uow:
        enqueue_void(uow, "inv-1", now=embedded_bridge.clock.now())


def test_a_refund_never_exceeds_what_was_paid_and_is_made_once(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    bridge.enqueue(an_invoice())
    bridge.drain()

    def ask(key: str, amount: int) -> None:
        with bridge.database.writing(bridge.tenant) as uow:
            enqueue_refund(uow, "inv-1", key, amount, now=bridge.clock.now())

    ask("refund-1", 1_000)
    ask("refund-1", 1_000)
    with pytest.raises(RuleBrokenError):
        ask("refund-2", 251)  # What is on its way back counts.
    with pytest.raises(ConflictError):
        ask("refund-1", 999)
    bridge.drain()
    with pytest.raises(RuleBrokenError):
        ask("refund-2", 251)
    ask("refund-2", 250)
    bridge.drain()
    assert [refund["amount"] for refund in twin.account.all("refund")] == [1_000, 250]


def test_a_refund_is_split_over_payments_latest_first(embedded_bridge: Bridge, twin: Twin) -> None:
    bridge = embedded_bridge
    bridge.enqueue(an_invoice(method=CollectionMethod.SEND))
    bridge.drain()
    (remote,) = twin.account.all("invoice")
    (customer,) = twin.account.all("customer")
    card = twin.account.objects[twin.account.by_kind["payment_method"][0]]
    for amount in (800, 450):
        intent = payments.charge_customer(twin.account, customer, amount, "usd", card)
        twin_invoices.settle(twin.account, remote, intent, is_default=False)
        bridge.clock.advance(60)
        bridge.settle_everything()
    assert bridge.listener.paid() == {"inv-1": 1_250}
    with bridge.database.writing(bridge.tenant) as uow:
        enqueue_refund(uow, "inv-1", "refund-1", 1_000, now=bridge.clock.now())
    bridge.drain()
    assert [refund["amount"] for refund in twin.account.all("refund")] == [450, 550]


@pytest.mark.parametrize("pays_first", [True, False])
def test_a_credit_note_reaches_the_invoice_at_the_provider(
    embedded_bridge: Bridge, twin: Twin, *, pays_first: bool
) -> None:
    bridge = embedded_bridge
    twin.account.card_on_file = "pm_card_visa" if pays_first else "pm_card_chargeCustomerFail"
    bridge.enqueue(an_invoice())
    bridge.drain(_NONE)
    for number in (1, 2):
        with bridge.database.writing(bridge.tenant) as uow:
            enqueue_credit_note(uow, "inv-1", f"credit-{number}", 100, now=bridge.clock.now())
        bridge.drain(_NONE)
    (invoice,) = twin.account.all("invoice")
    assert [note["amount"] for note in twin.account.all("credit_note")] == [100, 100]
    assert invoice["amount_remaining"] == (0 if pays_first else 1_050)
    assert invoice["post_payment_credit_notes_amount"] == (200 if pays_first else 0)


# With the real ledger.


@pytest.fixture
def booked(embedded: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Iterator[Bridge]:
    """A closed month of one customer who owes 41 USD, collected into the real ledger."""
    closed_month(embedded, customers=1)
    twin.account.card_on_file = "pm_card_visa"
    bridge = Bridge(embedded, clock, settings_for(twin_url))
    bridge.listener = LedgerCollection(clock.now)  # type: ignore[assignment]
    return bridge


def test_payment_fee_refund_and_dispute_reach_the_ledger(booked: Bridge, twin: Twin) -> None:
    booked.drain()
    (invoice,) = invoices(booked.database)
    total, fee = invoice.total_minor, invoice.total_minor * 29 // 1_000 + 30
    assert invoice.state is InvoiceState.PAID
    assert balance(booked.database, "processor_clearing", detail="stripe") == total - fee
    assert balance(booked.database, "processor_fee", detail="stripe") == fee
    with booked.database.writing(booked.tenant) as uow:
        enqueue_refund(uow, invoice.id, "refund-1", 300, now=booked.clock.now())
    booked.drain()
    assert balance(booked.database, "receivable", "c1") == 300, "without a credit note the invoice is open again"
    (payment,) = twin.account.all("invoice_payment")
    dispute = payments.open_dispute(twin.account, payment["payment"]["payment_intent"], 500)
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 500
    assert balance(booked.database, "processor_fee", detail="stripe") == fee + payments.DISPUTE_FEE
    payments.close_dispute(twin.account, dispute["id"], "won")
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 0
    assert balance(booked.database, "processor_fee", detail="stripe") == fee, "the fee came back with the money"
    assert balance(booked.database, "processor_clearing", detail="stripe") == total - fee - 300


def test_an_inquiry_holds_no_money_back_until_it_is_a_dispute(booked: Bridge, twin: Twin) -> None:
    booked.drain()
    (payment,) = twin.account.all("invoice_payment")
    inquiry = payments.open_dispute(twin.account, payment["payment"]["payment_intent"], 500, inquiry=True)
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 0
    payments.take_dispute(twin.account, inquiry["id"])
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 500
    closed = payments.open_dispute(twin.account, payment["payment"]["payment_intent"], 300, inquiry=True)
    payments.close_dispute(twin.account, closed["id"], "warning_closed")
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 500


def test_a_prevented_dispute_took_its_money_for_good_or_never(booked: Bridge, twin: Twin) -> None:
    booked.drain()
    (payment,) = twin.account.all("invoice_payment")
    blocked, resolved = (
        payments.open_dispute(twin.account, payment["payment"]["payment_intent"], amount, inquiry=True)
        for amount in (300, 500)
    )
    payments.close_dispute(twin.account, blocked["id"], "prevented")
    payments.take_dispute(twin.account, resolved["id"], "prevented")
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 0
    assert balance(booked.database, "dispute_loss") == 500


def test_partial_payments_and_a_lost_dispute_reach_the_ledger(booked: Bridge, twin: Twin) -> None:
    """The customer pays by the invoice's page, in two parts; the bank takes the second one back for good."""
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    booked.drain(_NONE)
    (invoice,), (remote,) = invoices(booked.database), twin.account.all("invoice")
    (customer,) = twin.account.all("customer")
    card = customers.attach(twin.account, Params({"customer": customer["id"]}), "pm_card_visa")
    total = invoice.total_minor
    for amount, still_open in ((1_000, total - 1_000), (total - 1_000, 0)):
        intent = payments.charge_customer(twin.account, customer, amount, "usd", card)
        twin_invoices.settle(twin.account, remote, intent, is_default=False)
        booked.settle_everything()
        assert balance(booked.database, "receivable", "c1") == still_open
    assert invoices(booked.database)[0].state is InvoiceState.PAID
    dispute = payments.open_dispute(twin.account, intent["id"], total - 1_000)
    payments.close_dispute(twin.account, dispute["id"], "lost")
    booked.settle_everything()
    assert balance(booked.database, "disputed", "c1") == 0
    assert balance(booked.database, "dispute_loss") == total - 1_000
    fees = balance(booked.database, "processor_fee", detail="stripe")
    assert balance(booked.database, "processor_clearing", detail="stripe") == 1_000 - fees


def test_a_debt_given_up_at_the_end_of_dunning_is_written_off(booked: Bridge, twin: Twin) -> None:
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    booked.settings = replace(booked.settings, retry_after=())
    booked.drain()
    (invoice,) = invoices(booked.database)
    assert invoice.state is InvoiceState.UNCOLLECTIBLE
    assert balance(booked.database, "receivable", "c1") == 0
    assert balance(booked.database, "bad_debt") == invoice.total_minor


def test_what_the_books_refuse_is_left_to_a_person(booked: Bridge, twin: Twin) -> None:
    """Money comes in for an invoice that our side has voided meanwhile: recorded nowhere by force, lost nowhere."""
    from billing.invoicing import void

    (invoice,) = invoices(booked.database)
    with booked.database.writing(booked.tenant) as uow:
        void(uow, invoice.id, "mistake", booked.clock.now())
    assert booked.drain().dead == 1
    row = booked.row(invoice.id)
    assert "our own books refuse it" in str(row.needs_review)
    with booked.database.reading(booked.tenant) as uow:
        (dead,) = outbox.dead(uow)
    assert (dead.aggregate, dead.kind) == (Aggregate.INVOICE, "pay")


def test_a_customer_whose_name_is_hangul_or_has_no_address_is_billed(embedded_bridge: Bridge, twin: Twin) -> None:
    customer = CustomerToBill("한국-고객", "주식회사 한국")
    embedded_bridge.enqueue(an_invoice(customer=customer))
    embedded_bridge.drain()
    (remote,) = twin.account.all("customer")
    assert (remote["name"], remote["email"]) == ("주식회사 한국", None)
    assert all(request.key is None or request.key.isascii() for request in twin.requests)


def test_fees_are_told_once_for_each_payment(embedded_bridge: Bridge) -> None:
    embedded_bridge.enqueue(an_invoice())
    embedded_bridge.drain()
    (fee,) = [event for event in embedded_bridge.listener.events if isinstance(event, FeeCharged)]
    assert fee.amount_minor == 1_250 * 29 // 1_000 + 30
