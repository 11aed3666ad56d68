"""How long a request waits for its answer: not as long as the database hangs.

The database cuts off what takes too long, where it still can; a server that stands still, or a network that swallows
what is sent, tells nobody. So the request ends as well, somewhat later; what it started in a thread ends there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio.to_thread
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from api.services import Services
from billing.database import UnansweredError

TAKES_LONG = "takes_long"
"""The option of a handler that is waited for as long as it takes. Its work goes to `Database.unhurried`."""
GRACE = 1.5
"""How many times longer than a statement a request may take: a statement that is cut off says more."""

Answer = TypeVar("Answer")


class Patience(ASGIMiddleware):
    """Ends requests that are not answered in time."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on. Raises UnansweredError."""
        async with patience(scope, receive, send) as (receiving, sending):
            await next_app(scope, receiving, sending)


@asynccontextmanager
async def patience(scope: Scope, receive: Receive, send: Send) -> AsyncIterator[tuple[Receive, Send]]:
    """End what waits longer than the settings allow. The time in which a body arrives, or an answer leaves, is free.

    Raises UnansweredError.
    """
    services: Services = scope["litestar_app"].state.services
    seconds = services.settings.patience_seconds * GRACE
    if not seconds or scope["route_handler"].opt.get(TAKES_LONG):
        yield receive, send
        return
    now = asyncio.get_running_loop().time

    async def receiving() -> HTTPReceiveMessage:
        deadline.reschedule(None)
        message = await receive()
        deadline.reschedule(now() + seconds)
        return message

    async def sending(message: Message) -> None:
        deadline.reschedule(None)
        await send(message)

    try:
        async with asyncio.timeout(seconds) as deadline:
            yield receiving, sending
    except TimeoutError as error:
        if not deadline.expired():
            raise
        message = "has not answered in time; it may have been done: send it again"
        raise UnansweredError(message, field="database") from error


async def in_worker(work: Callable[..., Answer], *args: object) -> Answer:
    """Do what blocks in a thread. Whoever stops waiting leaves it there, and its place taken until it has ended."""
    return await asyncio.shield(asyncio.ensure_future(anyio.to_thread.run_sync(work, *args)))
