"""What Stripe has yet to pay back counts: no refund beside it takes the same money. What Stripe made is posted."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import Row

from billing.books_checks import BOOKS_CHECKS
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import void
from billing.ledger_checks import CHECKS
from billing.ledger_collection import LedgerCollection
from billing.repositories import stripe_events
from billing.repositories import stripe_outbox as outbox
from billing.settlements import Money, pay, pay_back
from billing.stripe.operations import Aggregate, Kind
from billing.stripe.refunding import RefundOfInvoice, refund_invoice
from billing.verification import verify
from models.values.errors import DomainError
from tests.stripe.bridge import Bridge, settings_for
from tests.stripe.company import balance, closed_month, invoices
from tests.stripe_twin import payments
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.twin import Twin

_NONE = timedelta(0)


@pytest.fixture
def booked(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """One customer's invoice in the real ledger, paid at the twin."""
    return collected(Bridge(database, clock, settings_for(twin_url)), twin, customers=1)


def collected(bridge: Bridge, twin: Twin, customers: int) -> Bridge:
    """Bill some customers into the real ledger and let them pay at the twin."""
    closed_month(bridge.database, customers)
    twin.account.card_on_file = "pm_card_visa"
    bridge.listener = LedgerCollection(bridge.clock.now)  # type: ignore[assignment]
    bridge.drain()
    bridge.settle_everything()
    return bridge


def invoice(bridge: Bridge) -> Invoice:
    (found,) = invoices(bridge.database)
    return found


def ask(bridge: Bridge, key: str, amount: int, processor: str | None = None) -> RefundOfInvoice:
    found = invoice(bridge)
    with bridge.database.writing(bridge.tenant) as uow:
        return refund_invoice(uow, found.id, key, amount, bridge.clock.now(), processor=processor)


def refused(bridge: Bridge, key: str, amount: int, processor: str | None = None) -> str:
    """Return the code of a refusal that wrote nothing."""
    before, operations = invoice(bridge), bridge.states()
    with pytest.raises(DomainError) as refusal:
        ask(bridge, key, amount, processor)
    assert (invoice(bridge), bridge.states()) == (before, operations)
    return refusal.value.code


def at_stripe(twin: Twin) -> list[int]:
    return [refund["amount"] for refund in twin.account.all("refund")]


def waiting(bridge: Bridge) -> Row[object]:
    """Return the one refund that Stripe has yet to make."""
    with bridge.database.reading(bridge.tenant) as uow:
        (found,) = outbox.awaited(uow, Aggregate.INVOICE, [invoice(bridge).id], Kind.REFUND)
    return found


def assert_posted(bridge: Bridge, *, back: int) -> None:
    """The invoice asks for what went back, nothing is left to a person, and the books are sound."""
    found = invoice(bridge)
    assert found.open_minor == balance(bridge.database, "receivable", found.customer) == back
    assert bridge.row(found.id).needs_review is None
    with bridge.database.reading(bridge.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_by_hand_no_more_goes_back_than_stripe_leaves(booked: Bridge, twin: Twin) -> None:
    total = invoice(booked).total_minor
    assert not ask(booked, "r1", total - 300).is_recorded
    assert refused(booked, "r2", total, "bank") == "refund_above_paid"
    assert refused(booked, "r2", 301, "bank") == "refund_above_paid"
    with pytest.raises(DomainError, match=r"^amount: .*, got '3\.01'$"):
        ask(booked, "r2", 301, "bank")
    with pytest.raises(DomainError, match=r"^amount: .*, got '3\.01'$"):
        ask(booked, "r2", 301)
    assert ask(booked, "r2", 300, "bank").is_recorded
    assert ask(booked, "r2", 300, "bank").is_recorded, "again it is no other refund"
    assert refused(booked, "r3", 1, "bank") == "refund_above_paid"
    booked.drain()
    assert at_stripe(twin) == [total - 300]
    assert_posted(booked, back=total)
    assert balance(booked.database, "processor_clearing", detail="bank") == -300


def test_stripe_is_asked_for_no_more_than_was_left_by_hand(booked: Bridge, twin: Twin) -> None:
    total = invoice(booked).total_minor
    ask(booked, "r1", total - 300, "bank")
    assert refused(booked, "r2", 301) == "refund_above_paid"
    assert not ask(booked, "r2", 300).is_recorded, "the key of a refusal is free"
    assert not ask(booked, "r2", 300).is_recorded
    assert refused(booked, "r3", 1) == "refund_above_paid"
    booked.drain()
    assert at_stripe(twin) == [300]
    assert_posted(booked, back=total)


@pytest.mark.parametrize("way", [None, "bank"])
def test_what_a_bank_holds_back_or_has_kept_does_not_go_back_besides(
    booked: Bridge, twin: Twin, way: str | None
) -> None:
    """It went back by the dispute, or may: also where a credit note left as much."""
    total = invoice(booked).total_minor
    (payment,) = twin.account.all("invoice_payment")
    dispute = payments.open_dispute(twin.account, payment["payment"]["payment_intent"], total - 300)
    booked.settle_everything()
    assert refused(booked, "r1", 301, way) == "payment_disputed"
    payments.close_dispute(twin.account, dispute["id"], "lost")
    booked.settle_everything()
    assert refused(booked, "r1", 301, way) == "payment_disputed"
    request = CreditRequest("c", invoice(booked).id, "goodwill", booked.clock.now().date())
    with booked.database.writing(booked.tenant) as uow:
        issue_credit_note(uow, request, booked.clock.now())
    assert refused(booked, "r1", total, way) == "payment_disputed"
    assert ask(booked, "r1", 300, way).is_recorded is (way is not None)
    assert refused(booked, "r2", 1, way) == "payment_disputed"


def test_what_was_disputed_and_won_goes_back_like_any_other(booked: Bridge, twin: Twin) -> None:
    total = invoice(booked).total_minor
    (payment,) = twin.account.all("invoice_payment")
    dispute = payments.open_dispute(twin.account, payment["payment"]["payment_intent"], total)
    payments.close_dispute(twin.account, dispute["id"], "won")
    booked.settle_everything()
    assert ask(booked, "r1", total, "bank").is_recorded


def test_a_key_stands_for_one_refund_whichever_way_it_went(booked: Bridge, twin: Twin) -> None:
    ask(booked, "by-hand", 300, "bank")
    assert refused(booked, "by-hand", 300) == "settlement_conflict"
    assert refused(booked, "by-hand", 300, "stripe") == "settlement_conflict"
    ask(booked, "asked", 300)
    assert refused(booked, "asked", 300, "bank") == "refund_key_reused"
    assert refused(booked, "asked", 301) == "refund_key_reused"
    booked.drain()
    assert not ask(booked, "asked", 300).is_recorded
    assert at_stripe(twin) == [300]


def test_a_refund_that_failed_for_good_frees_its_money(booked: Bridge, twin: Twin) -> None:
    """Stripe will not pay it back, so it goes back by hand."""
    total = invoice(booked).total_minor
    (charge,) = twin.account.all("charge")
    ask(booked, "r1", total)
    charge["amount_refunded"] = total  # As far as Stripe is concerned nothing is left.
    assert booked.drain(_NONE).dead == 1
    assert at_stripe(twin) == []
    assert ask(booked, "r2", total, "bank").is_recorded
    assert invoice(booked).open_minor == total


def test_a_refund_whose_news_came_before_its_answer_counts_once(booked: Bridge, twin: Twin) -> None:
    """The worker dies with the answer; the notification posts the refund before anybody takes it up again."""
    total = invoice(booked).total_minor
    ask(booked, "r1", total - 300)
    operation = waiting(booked)

    async def _made() -> None:
        async with booked.opened() as bridge:
            params = operation.params
            await bridge.provider.refund(params["intent"], params["ref"], params["amount"], operation.idem_key)
            booked.clock.advance(600)
            bridge.queue_repairs(await bridge.reconcile(booked.clock.now() - timedelta(days=35)))
            await bridge.reader.drain()

    asyncio.run(_made())
    assert waiting(booked).state == "pending"
    assert invoice(booked).open_minor == total - 300
    assert refused(booked, "r2", 301, "bank") == "refund_above_paid"
    assert refused(booked, "r2", 301) == "refund_above_paid"
    ask(booked, "r2", 100, "bank")
    ask(booked, "r3", 200)
    booked.drain()
    assert at_stripe(twin) == [total - 300, 200]
    assert_posted(booked, back=total)


@pytest.mark.parametrize("by_dashboard", [400, 4_000])
def test_a_refund_made_in_the_dashboard_is_posted_beside_one_on_its_way(
    booked: Bridge, twin: Twin, by_dashboard: int
) -> None:
    total = invoice(booked).total_minor
    (intent,) = twin.account.all("payment_intent")
    ask(booked, "r1", total - 500)
    payments.refund(twin.account, intent, by_dashboard, {})
    made = [by_dashboard, total - 500] if by_dashboard <= 500 else [by_dashboard]
    booked.settle_everything()
    assert at_stripe(twin) == made
    found = invoice(booked)
    assert found.open_minor == balance(booked.database, "receivable", found.customer) == sum(made)
    assert booked.states()["dead"] == (by_dashboard > 500), "Stripe itself refuses what is gone"


def test_a_refund_made_in_the_dashboard_beyond_what_was_paid_is_asked_for(booked: Bridge, twin: Twin) -> None:
    """A person pays back what went back by bank already: the money is gone, so the books say so."""
    total = invoice(booked).total_minor
    ask(booked, "r1", total, "bank")
    (intent,) = twin.account.all("payment_intent")
    payments.refund(twin.account, intent, 500, {})
    booked.settle_everything()
    assert_posted(booked, back=total + 500)
    assert refused(booked, "r2", 1, "bank") == "refund_above_paid"
    assert refused(booked, "r2", 1) == "refund_above_paid"


def test_what_was_paid_twice_goes_back_twice_in_whatever_order(booked: Bridge, twin: Twin) -> None:
    """A part was paid by bank as well and is credit; who is paid back first takes that."""
    found = invoice(booked)
    total = found.total_minor
    with booked.database.writing(booked.tenant) as uow:
        pay(uow, found.id, Money("wire", 700, booked.clock.now(), "bank"), booked.clock.now())
    assert balance(booked.database, "customer_credit", found.customer) == -700
    for key, amount in (("r1", 700), ("r2", total - 700)):
        ask(booked, key, amount)
    ask(booked, "r3", 700, "bank")
    booked.drain()
    assert at_stripe(twin) == [700, total - 700]
    assert_posted(booked, back=total)
    assert refused(booked, "r4", 1, "bank") == "refund_above_paid"


def test_news_that_our_books_refuse_is_left_to_a_person_and_holds_up_no_other(
    database: Database, twin: Twin, twin_url: str, clock: MovableClock
) -> None:
    """Somebody pays back in the dashboard what went back by bank before our side voided the invoice."""
    bridge = collected(Bridge(database, clock, settings_for(twin_url)), twin, customers=2)
    voided, other = invoices(database)
    with database.writing(bridge.tenant) as uow:
        pay_back(uow, voided.id, Money("wire", voided.total_minor, clock.now()), clock.now())
        void(uow, voided.id, "mistake", clock.now())
    for intent in twin.account.all("payment_intent"):
        payments.refund(twin.account, intent, 500, {})
    bridge.settle_everything()
    assert "our own books refuse it" in str(bridge.row(voided.id).needs_review)
    assert bridge.row(other.id).needs_review is None
    assert balance(database, "receivable", other.customer) == 500
    with database.reading(bridge.tenant) as uow:
        assert stripe_events.counts(uow)["waiting"] > 0, "it is read again later"


def test_a_refund_that_did_not_arrive_is_ours_again_and_a_person_is_told(booked: Bridge, twin: Twin) -> None:
    total = invoice(booked).total_minor
    ask(booked, "r1", 300)
    booked.drain()
    assert_posted(booked, back=300)
    (refund,) = twin.account.all("refund")
    payments.fail_refund(twin.account, refund["id"])
    booked.settle_everything()
    booked.settle_everything()
    found = invoice(booked)
    assert (found.open_minor, found.state) == (0, InvoiceState.PAID)
    assert balance(booked.database, "receivable", found.customer) == 0
    assert booked.row(found.id).needs_review == f"refund {refund['id']} of 3 USD did not arrive"
    assert not ask(booked, "r2", total).is_recorded, "all of it may go back once more"
    with booked.database.reading(booked.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_a_refund_that_failed_before_it_was_told_of_moves_nothing(booked: Bridge, twin: Twin) -> None:
    (paid,) = twin.account.all("invoice_payment")
    intent = twin.account.get("payment_intent", paid["payment"]["payment_intent"], "intent")
    payments.fail_refund(twin.account, payments.refund(twin.account, intent, 300, {})["id"])
    booked.settle_everything()
    assert_posted(booked, back=0)
