"""The server's own upkeep: what is over is ended every so often, in a thread, beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from api.services import Services
from billing.upkeep import end_what_is_over

_log = logging.getLogger(__name__)


@asynccontextmanager
async def upkeep(services: Services) -> AsyncIterator[None]:
    """Keep up the configured tenant as long as the server runs; several workers may do it side by side."""
    seconds = services.settings.upkeep_seconds
    stopping = asyncio.Event()
    task = asyncio.create_task(_every(seconds, services, stopping)) if seconds else None
    try:
        yield
    finally:
        stopping.set()
        if task is not None:
            await task  # Not cancelled: its thread would go on without a database.


async def _every(seconds: float, services: Services, stopping: asyncio.Event) -> None:
    while not await _is_set_within(seconds, stopping):
        try:
            await asyncio.to_thread(_end, services)
        except Exception:
            _log.exception("upkeep failed; it is tried again in %s seconds", seconds)


async def _is_set_within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


def _end(services: Services) -> None:
    tenant = services.settings.tenant
    with services.database.reading(tenant) as uow:
        now = services.now(uow)
    end_what_is_over(services.database, tenant, now)
