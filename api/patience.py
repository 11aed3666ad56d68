"""How long a request waits for its answer: not as long as the database hangs.

The database cuts off what takes too long, where it still can; a server that stands still, or a network that swallows
what is sent, tells nobody. So the request ends as well, somewhat later; what it started in a thread ends there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import anyio.to_thread
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

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
        async with Wait(scope, receive, send) as wait:
            await next_app(scope, wait.receive, wait.send)


class Wait:
    """Ends what it surrounds when that takes longer than the settings allow, with UnansweredError.

    The time in which a body arrives, or an answer leaves, does not count. One timer a request, looked at when it is up:
    setting `asyncio.timeout` anew with each message cost more than all other checks of a request.
    """

    __slots__ = ("_handle", "_is_free", "_is_over", "_receive", "_seconds", "_send", "_task", "_until")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services: Services = scope["litestar_app"].state.services
        is_long = scope["route_handler"].opt.get(TAKES_LONG, False)
        self._seconds = 0.0 if is_long else services.settings.patience_seconds * GRACE
        self._receive, self._send = receive, send
        self._is_free = self._is_over = False
        self._until = 0.0
        self._handle: asyncio.TimerHandle | None = None

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """Return what the client sends next."""
        self._is_free = True
        message = await self._receive()
        self._is_free = False
        self._until = asyncio.get_running_loop().time() + self._seconds
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; from the first one on nothing ends it."""
        self._is_free = True
        await self._send(message)

    async def __aenter__(self) -> Self:
        if self._seconds:
            loop = asyncio.get_running_loop()
            self._task = asyncio.current_task(loop)
            self._until = loop.time() + self._seconds
            self._handle = loop.call_later(self._seconds, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._is_over and kind is asyncio.CancelledError and self._task is not None and not self._task.uncancel():
            message = "has not answered in time; it may have been done: send it again"
            raise UnansweredError(message, field="database") from error

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._seconds if self._is_free else self._until - loop.time()
        if left > 0:
            self._handle = loop.call_later(left, self._look)
        elif self._task is not None:
            self._is_over = True
            self._task.cancel()


async def in_worker(work: Callable[..., Answer], *args: object) -> Answer:
    """Do what blocks in a thread. Whoever stops waiting leaves it there, and its place taken until it has ended."""
    return await asyncio.shield(asyncio.ensure_future(anyio.to_thread.run_sync(work, *args)))
