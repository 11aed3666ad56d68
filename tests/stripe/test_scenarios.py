"""What the bridge does, told without looking inside the other side: on the twin always, and on Stripe's test mode
where STRIPE_TEST_KEY is set. Each run is a tenant of its own, so an account can be used again and again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from billing.billing_provider import RemoteInvoice, RemoteLine, RemoteStatus
from billing.collection import CollectionMethod, CustomerToBill, InvoiceToCollect, PaymentFailed
from billing.database import Database
from billing.repositories import stripe_mirror as mirror
from billing.stripe.enqueue import enqueue_customer, enqueue_mark_uncollectible, enqueue_void
from billing.stripe.money_back import enqueue_credit_note, enqueue_refund
from billing.stripe.reconciliation import Difference
from billing.stripe.settings import LastStep
from billing.stripe.status import CollectionStatus
from tests.stripe.bridge import Bridge, an_invoice, settings_for
from tests.stripe.conftest import with_sdk
from tests.stripe_twin.clock import WallClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy, breaking
from tests.stripe_twin.twin import Twin

_STRIPE = "https://api.stripe.com"
_VISA, _FAILS = "pm_card_visa", "pm_card_chargeCustomerFail"
_NONE, _SECONDS = timedelta(0), timedelta(seconds=30)


@dataclass
class Place:
    """Where a scenario runs: an account behind a fault proxy, and a tenant of its own."""

    bridge: Bridge
    proxy: FaultProxy
    url: str
    key: str
    customer: CustomerToBill = field(init=False)

    def __post_init__(self) -> None:
        self.customer = CustomerToBill(f"ada-{self.bridge.tenant}", "Ada Lovelace", "ada@example.com")

    def with_card(self, method: str) -> None:
        """Have the customer known and let it register a card, as a checkout page would."""
        with self.bridge.database.writing(self.bridge.tenant) as uow:
            enqueue_customer(uow, self.customer, now=self.bridge.clock.now())
        self.bridge.drain(_NONE)
        with self.bridge.database.reading(self.bridge.tenant) as uow:
            customer = mirror.customer(uow, self.customer.key)
        assert customer is not None

        async def attach(v1: Any) -> None:
            card = await v1.payment_methods.attach_async(method, {"customer": customer.stripe_id})
            default = {"invoice_settings": {"default_payment_method": card.id}}
            await v1.customers.update_async(customer.stripe_id, default)

        with_sdk(self.url, attach, self.key)

    def invoice(self, number: int = 1, amounts: tuple[int, ...] = (1_000, 250), **more: Any) -> InvoiceToCollect:
        """An invoice under a number that no other run has used."""
        made = an_invoice(number, amounts, customer=self.customer, **more)
        return replace(made, number=f"{self.bridge.tenant}-{number}")

    def collect(self, *invoices: InvoiceToCollect) -> None:
        """Hand over and push."""
        self.bridge.enqueue(*invoices)
        assert self.bridge.drain(_SECONDS).dead == 0

    def do(self, enqueue: Callable[..., None], *arguments: Any) -> None:
        """Queue something and push it."""
        with self.bridge.database.writing(self.bridge.tenant) as uow:
            enqueue(uow, *arguments, now=self.bridge.clock.now())
        assert self.bridge.drain(_SECONDS).dead == 0

    def seen(self, invoice_id: str = "inv-1") -> tuple[RemoteInvoice, tuple[RemoteLine, ...]]:
        """Return an invoice as the other side shows it."""

        async def look() -> tuple[RemoteInvoice, tuple[RemoteLine, ...]]:
            async with self.bridge.opened() as bridge:
                stripe_id = str(self.bridge.row(invoice_id).stripe_id)
                return await bridge.provider.fetch_invoice(stripe_id), await bridge.provider.fetch_lines(stripe_id)

        return asyncio.run(look())

    def made(self) -> list[RemoteInvoice]:
        """Return every invoice of this tenant on the other side."""

        async def walk() -> list[RemoteInvoice]:
            async with self.bridge.opened() as bridge:
                since = self.bridge.clock.now() - timedelta(hours=1)
                every = [remote async for remote in bridge.provider.invoices_since(since)]
            return [remote for remote in every if remote.ref.startswith(f"{self.bridge.tenant}/")]

        return asyncio.run(walk())

    def agrees(self) -> bool:
        """Whether both sides agree; events are another matter, as nobody delivers them here."""
        counts = self.bridge.reconcile(days=1).counts()
        counts.pop(Difference.EVENT_GAP, None)
        return not counts


@pytest.fixture(params=["twin", "test_mode"])
def place(request: pytest.FixtureRequest, embedded: Database, twin_server: tuple[list[Twin], str]) -> Iterator[Place]:
    """The twin in real time, or Stripe's test mode."""
    clock, tenant = WallClock(), f"run-{uuid4().hex[:10]}"
    if request.param == "test_mode":
        key, upstream = os.environ.get("STRIPE_TEST_KEY", ""), _STRIPE
        if not key:
            pytest.skip("STRIPE_TEST_KEY is not set: Stripe's own test mode is not asked")
    else:
        request.getfixturevalue("real_twin").account.card_on_file = None
        key, upstream = "sk_test_twin", twin_server[1]
    with breaking(upstream) as (proxy, url):
        settings = settings_for(
            url, api_key=key, requests_per_second=24.0, retry_after=(), last_step=LastStep.LEAVE_OPEN
        )
        yield Place(Bridge(embedded, clock, settings, tenant=tenant), proxy, upstream, key)


def test_an_invoice_is_charged_and_read_back_as_it_was_sent(place: Place) -> None:
    place.with_card(_VISA)
    place.collect(place.invoice(tax_percent="19"))
    remote, lines = place.seen()
    assert (remote.status, remote.currency, remote.total, remote.tax) == (RemoteStatus.PAID, "USD", 1_487, 237)
    assert sorted((line.ref, line.amount, line.tax) for line in lines) == [("1", 1_000, 190), ("2", 250, 47)]
    assert place.bridge.listener.paid() == {"inv-1": 1_487}
    assert place.agrees()


@pytest.mark.parametrize("step", ["/v1/invoices", "add_lines", "finalize", "pay"])
def test_a_lost_reply_leaves_one_invoice_one_set_of_lines_and_one_charge(place: Place, step: str) -> None:
    place.with_card(_VISA)
    place.proxy.plan(Breakage.CUT_AFTER_COMMIT, f"POST .*{step}", times=2)
    place.collect(place.invoice())
    assert place.proxy.broken == 2
    (remote,) = place.made()
    lines = place.seen()[1]
    assert (remote.status, remote.total, remote.amount_paid) == (RemoteStatus.PAID, 1_250, 1_250)
    assert sorted(line.ref for line in lines) == ["1", "2"]


def test_a_currency_without_decimals_is_charged_as_it_is(place: Place) -> None:
    place.with_card(_VISA)
    place.collect(place.invoice(amounts=(1_234,), currency="JPY"))
    assert place.seen()[0].amount_paid == 1_234


def test_many_lines_are_folded_below_the_cap_and_keep_their_sum(place: Place) -> None:
    place.with_card(_VISA)
    invoice = place.invoice(amounts=tuple(range(1, 301)), features=245)
    place.collect(invoice)
    remote, lines = place.seen()
    assert (remote.status, remote.amount_paid) == (RemoteStatus.PAID, invoice.total_minor)
    assert len(lines) <= 250


def test_a_sum_below_the_minimum_waits_for_the_next_invoice(place: Place) -> None:
    place.with_card(_VISA)
    place.collect(place.invoice(1, amounts=(20,)))
    assert place.made() == []
    place.collect(place.invoice(2, amounts=(100,)))
    assert place.seen("inv-2")[0].amount_paid == 120
    assert place.bridge.listener.paid() == {"inv-1": 20, "inv-2": 100}


def test_a_declined_card_leaves_the_invoice_open_until_it_is_voided(place: Place) -> None:
    place.with_card(_FAILS)
    place.collect(place.invoice())
    (failed,) = [event for event in place.bridge.listener.events if isinstance(event, PaymentFailed)]
    assert failed.attempt == 1
    assert place.seen()[0].status is RemoteStatus.OPEN
    place.do(enqueue_void, "inv-1")
    assert place.seen()[0].status is RemoteStatus.VOID
    assert place.agrees()


def test_an_invoice_that_is_sent_waits_and_can_be_given_up(place: Place) -> None:
    place.collect(place.invoice(method=CollectionMethod.SEND))
    assert place.seen()[0].status is RemoteStatus.OPEN
    place.do(enqueue_mark_uncollectible, "inv-1")
    assert place.bridge.row("inv-1").status is CollectionStatus.UNCOLLECTIBLE
    assert place.agrees()


def test_a_credit_note_lowers_what_is_left_and_a_refund_gives_back(place: Place) -> None:
    place.collect(place.invoice(1, method=CollectionMethod.SEND))
    place.do(enqueue_credit_note, "inv-1", f"note-{place.bridge.tenant}", 250)
    remote, _ = place.seen()
    assert (remote.amount_remaining, remote.credited) == (1_000, 250)
    place.with_card(_VISA)
    place.collect(place.invoice(2))
    place.do(enqueue_refund, "inv-2", "refund-1", 300)
    assert [event.amount_minor for event in place.bridge.listener.events if type(event).__name__ == "Refunded"] == [300]
    assert place.agrees()
