"""Group commit: requests that arrive together share one commit, and are answered after it is durable.

    with GroupCommit(database, directory, clock) as group:
        outcomes = group.submit(tenant, events).result()        # or: await asyncio.wrap_future(...)

One thread writes. While it commits, requests gather; it takes them together, up to 1,000 events, waiting at most
2 ms for company. A single event so costs a share of a commit, not one of its own.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from billing.database import Database
from billing.metering.cloud_event import CloudEvent
from billing.metering.directory import MeterDirectory
from billing.metering.ingest import ingest
from billing.metering.outcome import Outcome
from billing.metering.parsing import InvalidEvent
from models.values.errors import LimitExceededError, RuleBrokenError

MAX_GROUP_EVENTS = 1_000
LINGER_SECONDS = 0.002
MAX_WAITING_REQUESTS = 10_000

Received = Sequence[CloudEvent | InvalidEvent]


@dataclass(frozen=True, slots=True)
class _Request:
    tenant: str
    received: Received
    answer: Future[list[Outcome]] = field(default_factory=Future)


class GroupCommit:
    """A writer that commits requests in groups. Use as a context manager, or `close` it: what waits is written."""

    def __init__(self, database: Database, directory: MeterDirectory, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._directory = directory
        self._clock = clock
        self._waiting: queue.Queue[_Request | None] = queue.Queue(MAX_WAITING_REQUESTS)
        self._closing = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="usage-group-commit", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, tenant: str, received: Received) -> Future[list[Outcome]]:
        """Return the answer to come, one outcome an event, in order; durable once it is there.

        Raises LimitExceededError where too many requests wait already, RuleBrokenError after `close`. The answer
        raises what the database raised: then nothing of its group is stored, and sending again is safe.
        """
        request = _Request(tenant, received)
        with self._closing:
            if self._is_closed:
                raise RuleBrokenError("takes no more events: it is shutting down", field="ingest", code="closed")
            try:
                self._waiting.put_nowait(request)
            except queue.Full:
                raise LimitExceededError(
                    f"at most {MAX_WAITING_REQUESTS} requests wait; send again later", field="ingest", code="busy"
                ) from None
        return request.answer

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
            by_tenant: dict[str, list[_Request]] = {}
            for request in group:
                by_tenant.setdefault(request.tenant, []).append(request)
            for tenant, requests in by_tenant.items():
                self._write(tenant, requests)
            if is_last:
                return

    def _gather(self, first: _Request) -> tuple[list[_Request], bool]:
        """Return the requests to write together, and whether the writer is closed behind them."""
        group = [first]
        events = len(first.received)
        until = time.monotonic() + LINGER_SECONDS
        while events < MAX_GROUP_EVENTS:
            try:
                following = self._waiting.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if following is None:
                return group, True
            group.append(following)
            events += len(following.received)
        return group, False

    def _write(self, tenant: str, requests: Sequence[_Request]) -> None:
        live = [request for request in requests if request.answer.set_running_or_notify_cancel()]
        received = [each for request in live for each in request.received]
        try:
            written = self._database.write(tenant, lambda uow: ingest(uow, received, self._directory, self._clock()))
        except Exception as error:  # Not swallowed: whoever waits for the answer gets it.
            for request in live:
                request.answer.set_exception(error)
            return
        outcomes = iter(written)
        for request in live:
            request.answer.set_result([next(outcomes) for _ in request.received])
