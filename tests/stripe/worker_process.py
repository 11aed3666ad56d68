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
from billing.stripe.bridge import open_bridge
from billing.stripe.settings import StripeSettings
from billing.stripe.worker import LEASE
from billing.timing import real_timing
from models.values.ids import DEFAULT_TENANT
from tests.stripe.bridge import Listener

SHORT_LEASE = timedelta(seconds=1)
_PATIENCE = timedelta(seconds=90)
"""Longer than an operation waits to be tried again where a busy machine let several tries fail."""
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
    listener: CollectionEvents = LedgerCollection(timing.now) if books else Listener()
    async with open_bridge(
        database, DEFAULT_TENANT, settings, listener, timing, name=name, random=Random(name), lease=lease
    ) as bridge:
        await bridge.worker.drain(_PATIENCE)
