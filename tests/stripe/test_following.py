"""What our books decide of an invoice that is being collected reaches the provider: once, and in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from psycopg.errors import DeadlockDetected

from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database, WriteConflictError
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import give_up, void
from billing.ledger_collection import LedgerCollection
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.settlements import Money, grant_customer_credit, pay
from billing.stripe.enqueue import BeingChargedError
from billing.stripe.following import follow, follow_missed
from billing.stripe.handing_over import HandOver
from billing.stripe.refunding import refund_invoice
from billing.stripe.status import CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError
from tests.billing_story import Company, at, event
from tests.stripe.bridge import Bridge, settings_for
from tests.stripe.company import balance, closed_month, invoices
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy
from tests.stripe_twin.twin import Twin

_NONE = timedelta(0)
Decide = Callable[[UnitOfWork, Invoice, MovableClock], object]


@pytest.fixture
def booked(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """A closed month of one customer, handed over and not sent yet; the real ledger listens."""
    return _booked(database, twin, twin_url, clock)


@pytest.fixture
def embedded_booked(embedded: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """The same on SQLite alone."""
    return _booked(embedded, twin, twin_url, clock)


def _booked(database: Database, twin: Twin, url: str, clock: MovableClock) -> Bridge:
    closed_month(database, customers=1)
    twin.account.card_on_file = "pm_card_visa"
    bridge = Bridge(database, clock, settings_for(url, retry_after=()))
    bridge.listener = LedgerCollection(clock.now)  # type: ignore[assignment]
    return bridge


def _void(uow: UnitOfWork, invoice: Invoice, clock: MovableClock) -> None:
    void(uow, invoice.id, "mistake", clock.now())


def _credit(uow: UnitOfWork, invoice: Invoice, clock: MovableClock) -> None:
    wanted = CreditRequest("note-1", invoice.id, "goodwill", date(2026, 2, 6), {1: 100})
    issue_credit_note(uow, wanted, clock.now())


def _pay_by_transfer(uow: UnitOfWork, invoice: Invoice, clock: MovableClock) -> None:
    pay(uow, invoice.id, Money("bank-1", invoice.total_minor, clock.now()), clock.now())


def _pay_a_part(uow: UnitOfWork, invoice: Invoice, clock: MovableClock) -> None:
    pay(uow, invoice.id, Money("bank-1", 400, clock.now()), clock.now())


def _give_up(uow: UnitOfWork, invoice: Invoice, clock: MovableClock) -> None:
    give_up(uow, invoice.id, clock.now())


def _decide(bridge: Bridge, decide: Decide, *, at_once: bool = True) -> Invoice:
    (invoice,) = invoices(bridge.database)
    with bridge.database.writing(bridge.tenant) as uow:
        decide(uow, invoice, bridge.clock)
        if at_once:
            follow(uow, invoice.id, bridge.clock.now())
            follow(uow, invoice.id, bridge.clock.now())
    if not at_once:
        for _ in range(2):
            with bridge.database.writing(bridge.tenant) as uow:
                follow_missed(uow, bridge.clock.now())
    return invoice


@pytest.mark.parametrize(
    ("decide", "status", "charged", "state", "at_once"),
    [
        (_void, None, 0, InvoiceState.VOID, True),
        (_void, None, 0, InvoiceState.VOID, False),
        (_credit, "paid", -100, InvoiceState.PAID, True),
        (_pay_by_transfer, "paid", 0, InvoiceState.PAID, True),
        (_pay_a_part, "paid", -400, InvoiceState.PAID, False),
        (_give_up, "uncollectible", 0, InvoiceState.UNCOLLECTIBLE, True),
    ],
)
def test_what_is_decided_before_the_charge_is_not_charged(
    embedded_booked: Bridge,
    twin: Twin,
    decide: Decide,
    status: str | None,
    charged: int,
    state: InvoiceState,
    *,
    at_once: bool,
) -> None:
    """`charged`: 0 for nothing, else by how much less than the total."""
    total = _decide(embedded_booked, decide, at_once=at_once).total_minor
    embedded_booked.drain()
    embedded_booked.settle_everything()
    assert [invoice["status"] for invoice in twin.account.all("invoice")] == ([] if status is None else [status])
    received = sum(payment["amount_paid"] for payment in twin.account.all("invoice_payment"))
    assert received == (total + charged if charged else 0)
    (mine,) = invoices(embedded_booked.database)
    assert (mine.state, mine.open_minor if state is InvoiceState.PAID else 0) == (state, 0)
    assert balance(embedded_booked.database, "receivable", "c1") == 0
    assert balance(embedded_booked.database, "customer_credit", "c1") == 0
    row = embedded_booked.row(mine.id)
    assert row.needs_review is None
    assert embedded_booked.reconcile().is_clean


@pytest.mark.parametrize(
    ("decide", "status"),
    [(_void, "void"), (_pay_by_transfer, "paid"), (_give_up, "uncollectible")],
)
def test_what_is_decided_of_an_open_invoice_ends_collecting(
    booked: Bridge, twin: Twin, decide: Decide, status: str
) -> None:
    twin.account.card_on_file = "pm_card_chargeCustomerFail"
    booked.settings = settings_for(booked.settings.base_address, retry_after=(timedelta(days=1),))
    booked.drain(_NONE)
    invoice = _decide(booked, decide)
    booked.drain()
    booked.clock.advance(timedelta(days=2).total_seconds())
    booked.drain()
    booked.settle_everything()
    (remote,) = twin.account.all("invoice")
    assert (remote["status"], remote["amount_paid"]) == (status, 0)
    assert booked.row(invoice.id).status is CollectionStatus(status)
    assert booked.row(invoice.id).needs_review is None
    assert twin.account.charges_made == 0
    assert booked.reconcile().is_clean


def test_what_had_settled_an_invoice_when_it_was_handed_over_is_not_told_again(embedded: Database, twin: Twin) -> None:
    """A customer's credit pays a part as the invoice is finalised: less is collected, and nothing is credited."""
    company = Company(embedded)
    company.found("c1")
    with embedded.writing("default") as uow:
        grant_customer_credit(uow, "c1", "USD", Money("gift", 500, at("2026-01-01")), at("2026-01-01"))
    company.subscribe("c1", company.publish(), {"seats": "1"})
    company.close("2026-01", "2026-02-05", collect=HandOver())
    (invoice,) = company.invoices("c1")
    with embedded.writing("default") as uow:
        follow(uow, invoice.id, at("2026-02-06"))
        follow_missed(uow, at("2026-02-06"))
        row = mirror.invoice(uow, invoice.id)
    assert (row.settled_minor, row.collect_minor) == (500, invoice.total_minor - 500)
    with embedded.reading("default") as uow:
        assert "credit" not in {each.kind for each in outbox.every(uow, outbox.Aggregate.INVOICE, invoice.id)}


def test_what_no_invoice_at_stripe_collects_any_more_stays_in_our_books(embedded: Database) -> None:
    """Too small to be charged and paid by transfer: it is credited, and paid again once it is open, as any other."""
    company = Company(embedded)
    company.found("c1")
    company.subscribe("c1", company.publish(), {"tokens": "1"})
    company.ingest([event(1, "c1", "2026-01-10", 10)], "2026-01-11")
    company.close("2026-01", "2026-02-05", collect=HandOver())
    (small,) = company.invoices("c1")
    now, total = at("2026-02-06"), small.total_minor
    with embedded.writing("default") as uow:
        pay(uow, small.id, Money("transfer", total, now), now)
        follow(uow, small.id, now)
        refund_invoice(uow, small.id, "back", 1, now, processor="bank")
        pay(uow, small.id, Money("again", 1, now), now)
        follow(uow, small.id, now)
        issue_credit_note(uow, CreditRequest("c", small.id, "goodwill", date(2026, 2, 6)), now)
        follow(uow, small.id, now)
        row = mirror.invoice(uow, small.id)
    assert (row.status, row.carried_out_minor, row.settled_minor) == (CollectionStatus.SETTLED, 0, total)
    with embedded.reading("default") as uow:
        assert outbox.every(uow, outbox.Aggregate.INVOICE, small.id) == []


def test_an_invoice_is_not_voided_while_it_may_be_charged(
    embedded_booked: Bridge, proxy: tuple[FaultProxy, str], twin: Twin
) -> None:
    """The answer to the charge is lost: voiding the books now would leave money that no invoice explains."""
    bridge = embedded_booked
    bridge.settings = settings_for(proxy[1], timeout_seconds=2.0)
    proxy[0].plan(Breakage.CUT_AFTER_COMMIT, "POST .*/pay")
    bridge.drain(_NONE)
    with pytest.raises(BeingChargedError):
        _decide(bridge, _void)
    bridge.drain()
    (invoice,) = invoices(bridge.database)
    assert (invoice.state, twin.account.charges_made) == (InvoiceState.PAID, 1)


def test_our_side_does_not_go_ahead_where_the_provider_cannot_follow(embedded: Database) -> None:
    """A small sum is collected by the next invoice: voiding it alone would leave it in there."""
    company = Company(embedded)
    company.found("c1")
    book = company.publish()
    company.subscribe("c1", book, {"tokens": "1"})
    company.ingest([event(1, "c1", "2026-01-10", 10)], "2026-01-11")
    company.close("2026-01", "2026-02-05", collect=HandOver())
    company.ingest([event(2, "c1", "2026-02-10", 1_000_000)], "2026-02-11")
    company.close("2026-02", "2026-03-05", collect=HandOver())
    small, _ = company.invoices("c1")

    def decide() -> None:
        with embedded.writing("default") as uow:
            void(uow, small.id, "mistake", at("2026-03-06"))
            follow(uow, small.id, at("2026-03-06"))

    with pytest.raises(RuleBrokenError, match="is collected by the invoice"):
        decide()
    assert company.invoices("c1")[0].state is InvoiceState.FINALISED


def test_a_result_that_other_writers_undo_is_written_again_and_never_taken_for_a_refusal(
    embedded_booked: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, undone = outbox.complete, []

    def undo_twice(*args: object, **kwargs: object) -> bool:
        if len(undone) < 2:
            undone.append(1)
            raise DeadlockDetected
        return complete(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(outbox, "complete", undo_twice)
    drained = embedded_booked.drain()
    assert (len(undone), drained.failed, drained.dead) == (2, 0, 0)
    assert [each.state for each in invoices(embedded_booked.database)] == [InvoiceState.PAID]


def test_a_result_that_cannot_be_written_stops_the_worker_and_leaves_the_work_to_the_next(
    embedded_booked: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undo(*_args: object, **_kwargs: object) -> bool:
        raise DeadlockDetected

    with monkeypatch.context() as always:
        always.setattr(outbox, "complete", undo)
        with pytest.raises(WriteConflictError):
            embedded_booked.drain()
    embedded_booked.clock.advance(3_600)
    drained = embedded_booked.drain()
    assert (drained.failed, drained.dead) == (0, 0)
    assert [each.state for each in invoices(embedded_booked.database)] == [InvoiceState.PAID]
