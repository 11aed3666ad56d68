"""The whole bridge for tests: outbox, worker and provider against a twin, a listener that remembers."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from billing.collection import (
    CollectionEvent,
    CollectionMethod,
    CustomerToBill,
    InvoiceToCollect,
    LineTax,
    LineToCollect,
    PaymentReceived,
)
from billing.database import Database
from billing.repositories import stripe_events
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.repositories.stripe_mirror import Collecting
from billing.stripe.bridge import StripeBridge, open_bridge
from billing.stripe.currencies import stripe_currency
from billing.stripe.enqueue import enqueue_invoice
from billing.stripe.reconciliation import Reconciliation
from billing.stripe.settings import StripeSettings
from billing.stripe.worker import CONCURRENCY, LEASE, Drained
from billing.timing import Timing
from billing.unit_of_work import UnitOfWork
from models.values.ids import DEFAULT_TENANT
from models.values.period import Period
from tests.stripe_twin.clock import START, MovableClock
from tests.stripe_twin.twin import Twin

JANUARY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
ADA = CustomerToBill("ada", "Ada Lovelace", "ada@example.com")
AN_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Listener:
    """Remembers what it was told."""

    events: list[CollectionEvent] = field(default_factory=list)

    def begin(self, uow: UnitOfWork) -> None:
        """Nothing to lock."""

    def record(self, uow: UnitOfWork, event: CollectionEvent) -> None:
        self.events.append(event)

    def paid(self) -> Counter[str]:
        """Return minor units received by invoice."""
        received: Counter[str] = Counter()
        for event in self.events:
            if isinstance(event, PaymentReceived):
                received[event.invoice_id] += event.amount_minor
        return received


def settings_for(url: str, **changes: object) -> StripeSettings:
    """Settings of a test account at `url`."""
    chosen: dict[str, object] = {"api_key": "sk_test_twin", "base_address": url, "requests_per_second": 1e6}
    return StripeSettings(**{**chosen, **changes})  # type: ignore[arg-type]


@dataclass(slots=True)
class Bridge:
    """One tenant's bridge."""

    database: Database
    clock: MovableClock
    settings: StripeSettings
    listener: Listener = field(default_factory=Listener)
    tenant: str = DEFAULT_TENANT
    concurrency: int = CONCURRENCY
    lease: timedelta = LEASE

    def enqueue(self, *invoices: InvoiceToCollect) -> None:
        """Hand invoices over, each in a transaction."""
        for invoice in invoices:
            with self.database.writing(self.tenant) as uow:
                enqueue_invoice(uow, invoice, now=self.clock.now())

    def drain(self, patience: timedelta = AN_HOUR, *, name: str = "worker-1", seed: int = 1) -> Drained:
        """Run a worker until nothing is due within `patience`."""
        return asyncio.run(self.drain_async(patience, name=name, seed=seed))

    async def drain_async(self, patience: timedelta = AN_HOUR, *, name: str = "worker-1", seed: int = 1) -> Drained:
        """Do so on the running loop."""
        async with self.opened(name, seed) as bridge:
            return await bridge.worker.drain(patience)

    def read_events(self, patience: timedelta = AN_HOUR) -> int:
        """Read the notifications that were accepted."""

        async def _read() -> int:
            async with self.opened() as bridge:
                return await bridge.reader.drain(patience)

        return asyncio.run(_read())

    def reconcile(self, days: int = 35) -> Reconciliation:
        """Compare both sides."""

        async def _reconcile() -> Reconciliation:
            async with self.opened() as bridge:
                return await bridge.reconcile(self.clock.now() - timedelta(days=days))

        return asyncio.run(_reconcile())

    def repair(self, found: Reconciliation) -> int:
        """Queue repairs and perform them, with all they bring about; return what is left to a person."""

        async def _repair() -> int:
            async with self.opened() as bridge:
                left = bridge.queue_repairs(found)
                await bridge.sync(AN_HOUR)
            return left

        left = asyncio.run(_repair())
        self.settle_everything()
        return left

    def settle_everything(self) -> None:
        """Hear of every event so far, as if its webhook had come, and read it."""
        found = self._unheard()
        missed = replace(found, findings=())

        async def _settle() -> None:
            async with self.opened() as bridge:
                bridge.queue_repairs(missed)
                await bridge.sync(AN_HOUR)

        asyncio.run(_settle())

    def _unheard(self) -> Reconciliation:
        """Compare as late as it takes for every event so far to count as missed."""
        self.clock.advance(600)
        return self.reconcile()

    def forget_events(self) -> None:
        """Hear of every event so far, and lose it."""
        found = self._unheard()
        with self.database.writing(self.tenant) as uow:
            for event in found.events:
                stripe_events.add(
                    uow,
                    event_id=event.id,
                    type=event.type,
                    body=event.body,
                    source="webhook",
                    created_at=event.created_at,
                    now=self.clock.now(),
                )
            stripe_events.settle(uow, [event.id for event in found.events], "ignored")

    def opened(self, name: str = "worker-1", seed: int = 1) -> AbstractAsyncContextManager[StripeBridge]:
        """Open the bridge itself."""
        return open_bridge(
            self.database,
            self.tenant,
            self.settings,
            self.listener,
            Timing(self.clock.now, self.clock.sleep),
            name=name,
            random=Random(seed),
            concurrency=self.concurrency,
            lease=self.lease,
        )

    def row(self, invoice_id: str) -> Collecting:
        """Return where an invoice stands."""
        with self.database.reading(self.tenant) as uow:
            return mirror.invoice(uow, invoice_id)

    def states(self) -> Counter[str]:
        """Return how many operations stand in each state."""
        with self.database.reading(self.tenant) as uow:
            return outbox.counts(uow)


def an_invoice(
    number: int = 1,
    amounts: tuple[int, ...] = (1_000, 250),
    *,
    customer: CustomerToBill = ADA,
    currency: str = "USD",
    tax_percent: str = "0",
    method: CollectionMethod = CollectionMethod.CHARGE,
    features: int = 3,
) -> InvoiceToCollect:
    """An invoice of some lines, each with its tax."""
    lines = tuple(
        LineToCollect(
            line_id=f"{position}",
            feature=f"feature-{position % features}",
            description=f"Line {position}",
            amount_minor=amount,
            period=JANUARY,
            quantity=f"{position} calls",
            taxes=_taxes(amount, Decimal(tax_percent)),
        )
        for position, amount in enumerate(amounts, 1)
    )
    total = sum(amounts) + sum(tax.amount_minor for line in lines for tax in line.taxes)
    return InvoiceToCollect(f"inv-{number}", f"2026-{number:05d}", customer, currency, lines, total, method)


def _taxes(amount: int, percent: Decimal) -> tuple[LineTax, ...]:
    return (LineTax("VAT", percent, int(amount * percent / 100)),) if percent else ()


def assert_one_of_each(bridge: Bridge, twin: Twin) -> None:
    """Every invoice handed over is at the provider once, line by line and to the minor unit, and charged once."""
    with bridge.database.reading(bridge.tenant) as uow:
        rows = [row for row in mirror.invoices_since(uow, START - timedelta(days=1)) if row.collect_minor]
    remote = {invoice["metadata"]["ala_ref"]: invoice for invoice in twin.account.all("invoice")}
    assert len(twin.account.all("invoice")) == len(remote) == len(rows)
    assert len(twin.account.all("customer")) == len({row.customer for row in rows})
    for row in rows:
        invoice = remote[f"{bridge.tenant}/{row.invoice_id}"]
        refs = [line["metadata"]["ala_line"] for line in twin.account.lines[invoice["id"]]]
        assert len(refs) == len(set(refs)), "a line was pushed twice"
        assert invoice["id"] == row.stripe_id
        assert invoice["total"] == stripe_currency(row.currency).to_wire([row.collect_minor])[0]
        assert row.status.value == invoice["status"]
        assert invoice["amount_paid"] == stripe_currency(row.currency).to_wire([row.paid_minor])[0]
    paid = [invoice for invoice in remote.values() if invoice["status"] == "paid"]
    assert twin.account.charges_made == len(paid)
    assert len(twin.account.all("invoice_payment")) == len(paid)
    assert sum(bridge.listener.paid().values()) == sum(row.paid_minor for row in rows)
