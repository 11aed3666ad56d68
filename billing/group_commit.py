"""Group commit: requests that arrive together share one commit, and are answered after it is durable.

    with SomeWriter(database, ...) as group:
        answer = group.submit(tenant, request).result()        # on an event loop: await group.ask(tenant, request)

One thread writes. While it commits, requests gather; it takes them together, up to `max_group`, waiting at most 2 ms
for company. A single request so costs a share of a commit, not one of its own.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from models.values.errors import LimitExceededError, RuleBrokenError

LINGER_SECONDS = 0.002
MAX_WAITING_REQUESTS = 10_000

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Waiting:
    tenant: str
    asked: Any
    answer: Future[Any] | asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop | None = None
    """Where the answer is waited for; None where a thread waits."""

    def is_wanted(self) -> bool:
        """Tell whether somebody still waits. A thread can no longer cancel from then on."""
        if isinstance(self.answer, Future):
            return self.answer.set_running_or_notify_cancel()
        return not self.answer.cancelled()


class GroupWriter(ABC, Generic[Asked, Answer]):
    """A writer that commits requests in groups. Use as a context manager, or `close` it: what waits is written."""

    name = "group-commit"
    max_group = 1_000

    def __init__(self) -> None:
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(MAX_WAITING_REQUESTS)
        self._closing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    @abstractmethod
    def write(self, tenant: str, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        """Do what is asked in one transaction and return an answer, or a refusal, for each, once they are durable.

        What it raises is the answer of all: then nothing of the group is stored.
        """

    def size(self, _asked: Asked) -> int:
        """Return how much of a group one request fills."""
        return 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, tenant: str, asked: Asked) -> Future[Answer]:
        """Return the answer to come; durable once it is there.

        Raises LimitExceededError where too many requests wait already, RuleBrokenError after `close`. The answer
        raises what the database raised: then nothing of its group is stored, and sending again is safe.
        """
        answer: Future[Answer] = Future()
        self._enqueue(_Waiting(tenant, asked, answer))
        return answer

    async def ask(self, tenant: str, asked: Asked) -> Answer:
        """Return the answer, as `submit` does; the answers of one group wake an event loop once."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._enqueue(_Waiting(tenant, asked, answer, loop))
        return await answer

    def _enqueue(self, request: _Waiting) -> None:
        with self._closing:
            if self._is_closed:
                raise RuleBrokenError("takes no more requests: it is shutting down", field=self.name, code="closed")
            try:
                self._waiting.put_nowait(request)
            except queue.Full:
                raise LimitExceededError(
                    f"at most {MAX_WAITING_REQUESTS} requests wait; send again later", field=self.name, code="busy"
                ) from None

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, is_last = self._gather(first)
            by_tenant: dict[str, list[_Waiting]] = {}
            for request in group:
                by_tenant.setdefault(request.tenant, []).append(request)
            for tenant, requests in by_tenant.items():
                self._answer(tenant, requests)
            if is_last:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Return the requests to write together, and whether the writer is closed behind them."""
        group = [first]
        filled = self.size(first.asked)
        until = time.monotonic() + LINGER_SECONDS
        while filled < self.max_group:
            try:
                following = self._waiting.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if following is None:
                return group, True
            group.append(following)
            filled += self.size(following.asked)
        return group, False

    def _answer(self, tenant: str, requests: Sequence[_Waiting]) -> None:
        live = [request for request in requests if request.is_wanted()]
        try:
            answers = self.write(tenant, [request.asked for request in live])
        except Exception as error:  # Not swallowed: whoever waits for the answer gets it.
            answers = [error] * len(live)
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[_Waiting, Any]]] = {}
        for request, answer in zip(live, answers, strict=True):
            by_loop.setdefault(request.loop, []).append((request, answer))
        for loop, answered in by_loop.items():
            if loop is None:
                _settle(answered)
            else:
                with suppress(RuntimeError):  # The loop is closed: nobody waits there any more.
                    loop.call_soon_threadsafe(_settle, answered)


def _settle(answered: Iterable[tuple[_Waiting, Any]]) -> None:
    for request, answer in answered:
        if request.answer.cancelled():
            continue
        if isinstance(answer, Exception):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)
