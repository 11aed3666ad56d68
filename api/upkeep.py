"""What a server does unasked: it ends what is over, bills usage at thresholds, and delivers the webhooks that are due.

For the configured tenant and every other one that has called. Several workers may do it side by side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from api.services import Services
from api.webhook_delivery import webhook_worker
from billing.database import UnansweredError, UnreachableError
from billing.progressive import bill_reached
from billing.upkeep import end_what_is_over
from billing.webhooks.worker import Delivered, WebhookWorker
from models.values.errors import DomainError

_log = logging.getLogger(__name__)

Work = Callable[[str, asyncio.Event], Awaitable[None]]
"""Does what there is to do for a tenant; soon gives up what is left once the event is set."""


@asynccontextmanager
async def upkeep(services: Services) -> AsyncIterator[None]:
    """Do it as long as the server runs."""
    stopping = asyncio.Event()
    settings = services.settings
    works = ((settings.upkeep_seconds, _ending(services)), (settings.webhook_seconds, _delivering(services)))
    tasks = [asyncio.create_task(_every(seconds, services, work, stopping)) for seconds, work in works if seconds]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)  # Not cancelled: their threads would go on without a database.


async def _every(seconds: float, services: Services, work: Work, stopping: asyncio.Event) -> None:
    while not await _is_set_within(seconds, stopping):
        await asyncio.gather(*(_logged(work, tenant, seconds, stopping) for tenant in [*services.tenants]))


async def _logged(work: Work, tenant: str, seconds: float, stopping: asyncio.Event) -> None:
    try:
        await work(tenant, stopping)
    except (UnreachableError, UnansweredError) as error:  # Every second, as long as the database is away: one line.
        _log.error("upkeep of %s failed, %s; it is tried again in %s seconds", tenant, _said(error), seconds)
    except Exception:  # Not swallowed: logged whole, and one tenant's failure must not end the upkeep of all.
        _log.exception("upkeep of %s failed; it is tried again in %s seconds", tenant, seconds)


def _said(error: DomainError) -> str:
    """Return what the database's driver says, in one line."""
    said = str(getattr(error.__cause__, "orig", "")).strip() or str(error)
    return " ".join(said.split())


async def _is_set_within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _ending(services: Services) -> Work:
    database = services.database.unhurried()

    def end(tenant: str) -> None:
        with database.reading(tenant) as uow:
            now = services.now(uow)
        end_what_is_over(database, tenant, now)
        for customer, error in bill_reached(database, tenant, now, services.collect).refused.items():
            _log.error("usage of %s of %s at a threshold is not billed: %s: %s", customer, tenant, error.code, error)

    async def work(tenant: str, _stopping: asyncio.Event) -> None:
        await asyncio.to_thread(end, tenant)

    return work


def _delivering(services: Services) -> Work:
    workers: dict[str, WebhookWorker] = {}

    async def work(tenant: str, stopping: asyncio.Event) -> None:
        if tenant not in workers:
            workers[tenant] = webhook_worker(services.settings, services.database, services.signer, tenant)
        turn_ends = time.monotonic() + services.settings.webhook_seconds
        # Those behind it wait, a slow receiver or thousands of events or not.
        await workers[tenant].deliver(Delivered(), lambda: not stopping.is_set() and time.monotonic() < turn_ends)

    return work
