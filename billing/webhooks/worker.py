"""The webhook worker: takes deliveries that are due, sends them, writes down what came of it.

No transaction is open while a request is under way. Several workers, in one process or many, share the work by
leases; a delivery whose worker died falls due again, so receivers may see an event twice, under the same id.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from billing.database import Database
from billing.repositories import webhook_endpoints as endpoints
from billing.repositories import webhook_outbox as outbox
from billing.repositories.webhook_outbox import DELIVERED, FAILED, WAITING, Attempt, Leased, Share
from billing.timing import Timing, until_nothing_is_due
from billing.unit_of_work import UnitOfWork
from billing.webhooks.endpoints import disable, signing_secrets
from billing.webhooks.events import event_document
from billing.webhooks.schedule import is_given_up, next_try
from billing.webhooks.secret_box import SecretBox
from billing.webhooks.sending import Answer, Sender
from billing.webhooks.signatures import signed_headers
from models.values.canonical_json import canonical_bytes
from models.values.errors import RuleBrokenError

LEASE = timedelta(seconds=60)
"""Far longer than a try takes: every request ends within five seconds."""

SHARE = Share(in_all=16, to_one=8)
"""One endpoint that is slow leaves half to the others, one that fails all but one."""

_GONE = 410


@dataclass(slots=True)
class Delivered:
    """What one run did: deliveries made, tries that failed, deliveries given up, endpoints disabled."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    disabled: int = 0

    def add(self, more: Delivered) -> None:
        """Count what another try came to."""
        self.delivered += more.delivered
        self.failed += more.failed
        self.given_up += more.given_up
        self.disabled += more.disabled


class WebhookWorker:
    """Delivers the events of one tenant. `name` must be unique among the workers that run."""

    def __init__(
        self,
        database: Database,
        tenant: str,
        sender: Sender,
        box: SecretBox,
        timing: Timing,
        *,
        name: str,
        random: Random,
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._sender = sender
        self._box = box
        self._timing = timing
        self._name = name
        self._random = random

    async def drain(self, patience: timedelta = timedelta(0)) -> Delivered:
        """Work until nothing is due, and wait for what falls due within `patience` of the last thing done."""
        report = Delivered()
        await until_nothing_is_due(lambda: self.deliver(report), self._next_due, self._timing, patience)
        return report

    async def deliver(self, report: Delivered, go_on: Callable[[], bool] = lambda: True) -> None:
        """Try what is due and count it in `report`; return when nothing is, or within seconds of `go_on` being false.

        What a slow endpoint takes up is its own share: the next one to another is begun as soon as there is room.
        """
        under_way: dict[asyncio.Task[Delivered], str] = {}
        try:
            while True:
                if go_on():
                    for leased, secrets in await asyncio.to_thread(self._lease_some, Counter(under_way.values())):
                        under_way[asyncio.create_task(self._deliver(leased, secrets))] = leased.endpoint
                if not under_way:
                    return
                done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    del under_way[task]
                    report.add(task.result())
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)  # Each writes down how it went.

    async def _deliver(self, leased: Leased, secrets: Sequence[bytes] | None) -> Delivered:
        started_at, started = self._timing.now(), time.perf_counter()
        if secrets is None:
            answer = Answer(None, "its secret cannot be read with this signing key; rotate it")
        else:
            body = canonical_bytes(event_document(leased.event))
            headers = signed_headers(secrets, leased.event.id, started_at, body)
            answer = await self._sender.send(leased.url, headers, body)
        took_ms = round((time.perf_counter() - started) * 1000)
        attempt = Attempt(leased.attempts, answer.status, answer.error, answer.text, took_ms, started_at)
        return await asyncio.to_thread(self._record, leased, answer, attempt)

    # What follows runs in threads: each call is one short transaction.

    def _lease_some(self, under_way: Mapping[str, int]) -> list[tuple[Leased, list[bytes] | None]]:
        now = self._timing.now()
        full = [endpoint for endpoint, number in under_way.items() if number >= SHARE.to_one]
        with self._database.reading(self._tenant) as uow:
            if sum(under_way.values()) >= SHARE.in_all or not outbox.any_due(uow, now, full):
                return []

        def work(uow: UnitOfWork) -> list[tuple[Leased, list[bytes] | None]]:
            leased = outbox.lease(uow, self._name, now, LEASE, SHARE, under_way)
            return [(each, self._secrets(uow, each.endpoint, now)) for each in leased]

        return self._database.write(self._tenant, work)

    def _secrets(self, uow: UnitOfWork, endpoint: str, now: datetime) -> list[bytes] | None:
        try:
            return signing_secrets(uow, self._box, endpoint, now)
        except RuleBrokenError:
            return None

    def _next_due(self, now: datetime) -> datetime | None:
        with self._database.reading(self._tenant) as uow:
            return outbox.next_due(uow, now)

    def _record(self, leased: Leased, answer: Answer, attempt: Attempt) -> Delivered:
        now = self._timing.now()
        return self._database.write(self._tenant, lambda uow: self._finish(uow, leased, answer, attempt, now))

    def _finish(self, uow: UnitOfWork, leased: Leased, answer: Answer, attempt: Attempt, now: datetime) -> Delivered:
        """Write down how a try went; return what is to be reported of it once that is committed."""
        endpoint = endpoints.find(uow, leased.endpoint, lock=True)
        if endpoint is None:  # Deleted meanwhile, its log with it.
            return Delivered()
        if not outbox.finish(uow, leased, self._name, attempt, **self._outcome(leased, answer, now)):
            return Delivered()
        if answer.is_taken:
            if endpoint.failing_since is not None:
                endpoints.change(uow, endpoint.id, failing_since=None)
            return Delivered(delivered=1)
        since = endpoint.failing_since or now
        endpoints.change(uow, endpoint.id, failing_since=since)
        found = Delivered(failed=1, given_up=int(next_try(leased.tries, now, 0) is None))
        if endpoint.is_active and (answer.status == _GONE or is_given_up(since, now)):
            gone = "answered 410 Gone"
            disable(uow, endpoint.id, gone if answer.status == _GONE else f"nothing arrived since {since:%Y-%m-%d}")
            found.disabled = 1
        return found

    def _outcome(self, leased: Leased, answer: Answer, now: datetime) -> dict[str, Any]:
        if answer.is_taken:
            return {"state": DELIVERED, "delivered_at": now}
        again = next_try(leased.tries, now, self._random.random())
        return {"state": FAILED} if again is None else {"state": WAITING, "next_at": again}
