"""The bridge put together: one worker and one reader of notifications over one connection to Stripe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from billing.collection import CollectionEvents
from billing.database import Database
from billing.stripe.absorbing import Absorber
from billing.stripe.adapter import StripeProvider
from billing.stripe.event_reader import EventReader
from billing.stripe.reconciliation import Reconciliation, queue_repairs, reconcile
from billing.stripe.settings import StripeSettings
from billing.stripe.shared_rate import SharedRate
from billing.stripe.worker import CONCURRENCY, LEASE, Drained, Worker
from billing.timing import Timing


@dataclass(frozen=True, slots=True)
class StripeBridge:
    """What a process that talks to Stripe holds. Open it with `open_bridge`."""

    database: Database
    tenant: str
    provider: StripeProvider
    worker: Worker
    reader: EventReader
    timing: Timing

    async def sync(self, patience: timedelta = timedelta(0)) -> tuple[Drained, int]:
        """Perform what is due and read what has come in, until neither brings anything new.

        Returns what was done, and how many notifications were settled. Raises NotAuthorisedError.
        """
        whole, settled = Drained(), 0
        while True:
            read = await self.reader.drain()
            did = await self.worker.drain(patience)
            whole.add(did)
            settled += read
            if not read and not did.done:
                return whole, settled

    async def reconcile(self, since: datetime) -> Reconciliation:
        """Compare with the provider. Changes nothing."""
        return await reconcile(self.database, self.tenant, self.provider, since, self.timing.now())

    def queue_repairs(self, found: Reconciliation) -> int:
        """Queue what puts the differences right; return how many are left to a person. `sync` performs it."""
        return self.database.write(self.tenant, lambda uow: queue_repairs(uow, found, self.timing.now()))


@asynccontextmanager
async def open_bridge(
    database: Database,
    tenant: str,
    settings: StripeSettings,
    listener: CollectionEvents,
    timing: Timing,
    *,
    name: str,
    random: Random,
    concurrency: int = CONCURRENCY,
    lease: timedelta = LEASE,
) -> AsyncIterator[StripeBridge]:
    """Open a bridge; `name` must be unique among the workers that run."""
    rate = SharedRate(database, tenant, settings.requests_per_second, timing)
    provider = StripeProvider(settings, rate.take)
    absorber = Absorber(listener, settings)
    worker = Worker(
        database,
        tenant,
        provider,
        absorber,
        rate,
        timing,
        name=name,
        random=random,
        concurrency=concurrency,
        lease=lease,
    )
    reader = EventReader(database, tenant, provider, absorber, timing)
    try:
        yield StripeBridge(database, tenant, provider, worker, reader, timing)
    finally:
        await provider.close()
