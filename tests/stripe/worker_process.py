"""A worker as a process of its own, so that it can be killed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Mapping
from datetime import timedelta
from multiprocessing.process import BaseProcess
from random import Random

from billing.collection import CollectionEvents
from billing.database import Database
from billing.ledger_collection import LedgerCollection
from billing.stripe.absorbing import Absorber
from billing.stripe.adapter import StripeProvider
from billing.stripe.settings import StripeSettings
from billing.stripe.shared_rate import SharedRate
from billing.stripe.timing import real_timing
from billing.stripe.worker import LEASE, Worker
from models.values.ids import DEFAULT_TENANT
from tests.stripe.bridge import Listener

SHORT_LEASE = timedelta(seconds=1)
_PATIENCE = timedelta(seconds=5)
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.stripe.worker_process"])


def start(
    name: str, database_url: str, settings: Mapping[str, object], *, books: bool, lease: timedelta = LEASE
) -> BaseProcess:
    """Start a worker that ends once there is nothing left to do. `books`: whether it posts to the ledger."""
    process = _processes.Process(target=_work, args=(name, database_url, dict(settings), books, lease))
    process.start()
    return process


def _work(name: str, database_url: str, settings: Mapping[str, object], books: bool, lease: timedelta) -> None:
    database = Database(database_url)
    try:
        asyncio.run(_drain(name, database, StripeSettings(**settings), lease, books=books))  # type: ignore[arg-type]
    finally:
        database.close()


async def _drain(name: str, database: Database, settings: StripeSettings, lease: timedelta, *, books: bool) -> None:
    timing = real_timing()
    rate = SharedRate(database, DEFAULT_TENANT, settings.requests_per_second, timing)
    provider = StripeProvider(settings, rate.take)
    listener: CollectionEvents = LedgerCollection(timing.now) if books else Listener()
    worker = Worker(
        database,
        DEFAULT_TENANT,
        provider,
        Absorber(listener, settings),
        rate,
        timing,
        name=name,
        random=Random(name),
        lease=lease,
    )
    try:
        await worker.drain(_PATIENCE)
    finally:
        await provider.close()
