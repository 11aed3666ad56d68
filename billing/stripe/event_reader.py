"""Reading notifications: each names an object, which is read from the provider as it is now and taken in.

So order, repetition and delay of notifications cannot matter: what counts is the object, and states only move on.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.billing_provider import (
    BillingProvider,
    MissingError,
    NotAuthorisedError,
    ProviderError,
    RemoteDispute,
    RemoteInvoice,
    RemoteRefund,
)
from billing.database import Database, WriteConflictError
from billing.repositories import stripe_events
from billing.repositories import stripe_mirror as mirror
from billing.stripe.absorbing import Absorber
from billing.stripe.webhooks import subject_of
from billing.timing import Timing
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError

_AT_ONCE = 200
_FIRST_WAIT = timedelta(seconds=2)
_LONGEST_DOUBLING = 10

Subject = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the provider shows of a subject; no invoice where it belongs to none."""

    invoice: RemoteInvoice | None = None
    refunds: tuple[RemoteRefund, ...] = ()
    dispute: RemoteDispute | None = None


class EventReader:
    """Reads the notifications of one tenant. Running it twice at a time does no harm, only work."""

    def __init__(
        self, database: Database, tenant: str, provider: BillingProvider, absorber: Absorber, timing: Timing
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._provider = provider
        self._absorber = absorber
        self._timing = timing

    async def drain(self, patience: timedelta = timedelta(0)) -> int:
        """Read what waits, and what falls due within `patience`; return how many notifications were settled.

        Raises NotAuthorisedError.
        """
        settled = 0
        while True:
            now = self._timing.now()
            subjects = await asyncio.to_thread(self._waiting, now)
            for subject, (event_ids, attempts) in subjects.items():
                settled += await self._read(subject, event_ids, attempts)
            if subjects:
                continue
            due = await asyncio.to_thread(self._next_due, now)
            if due is None or due > now + patience:
                return settled
            await self._timing.sleep((due - now).total_seconds())

    async def _read(self, subject: Subject | None, event_ids: list[str], attempts: int) -> int:
        try:
            seen = _Seen() if subject is None else await self._look(subject)
        except NotAuthorisedError:
            raise
        except ProviderError as error:
            await asyncio.to_thread(self._postpone, event_ids, attempts, str(error))
            return 0
        try:
            await asyncio.to_thread(self._take_in, seen, event_ids)
        except WriteConflictError:
            raise  # Not a refusal: it is read again.
        except DomainError as error:
            refusal = f"our own books refuse it: {error}"
            await asyncio.to_thread(self._postpone, event_ids, attempts, refusal, seen.invoice)
            return 0
        return len(event_ids)

    async def _look(self, subject: Subject) -> _Seen:
        """Read the object, and the invoice it belongs to. What is deleted belongs to none."""
        kind, identity = subject
        try:
            if kind == "invoice":
                return _Seen(await self._provider.fetch_invoice(identity))
            dispute = await self._provider.fetch_dispute(identity) if kind == "dispute" else None
            intent = identity if dispute is None else dispute.intent
            invoice = await self._provider.invoice_of_payment(intent)
            if invoice is None:
                return _Seen()
            refunds = await self._provider.fetch_refunds(intent)
            return _Seen(await self._provider.fetch_invoice(invoice), refunds, dispute)
        except MissingError:
            return _Seen()

    def _waiting(self, now: datetime) -> dict[Subject | None, tuple[list[str], int]]:
        """Return notifications by subject: an invoice's eight events cost one reading."""
        grouped: dict[Subject | None, list[str]] = defaultdict(list)
        attempts: dict[Subject | None, int] = {}
        with self._database.reading(self._tenant) as uow:
            for row in stripe_events.waiting(uow, now, _AT_ONCE):
                subject = subject_of(json.loads(row.body))
                grouped[subject].append(row.event_id)
                attempts[subject] = max(attempts.get(subject, 0), row.attempts)
        return {subject: (ids, attempts[subject]) for subject, ids in grouped.items()}

    def _next_due(self, now: datetime) -> datetime | None:
        with self._database.reading(self._tenant) as uow:
            return stripe_events.next_due(uow, now)

    def _postpone(self, event_ids: list[str], attempts: int, error: str, refused: RemoteInvoice | None = None) -> None:
        """Read them again later. A person has to look at an invoice whose news our books have `refused`."""
        now = self._timing.now()
        until = now + _FIRST_WAIT * 2 ** min(attempts, _LONGEST_DOUBLING)

        def work(uow: UnitOfWork) -> None:
            self._absorber.begin(uow)
            row = None if refused is None else mirror.invoice_by_stripe_id(uow, refused.id)
            if row is not None:
                self._absorber.review(uow, row.invoice_id, error, now)
            stripe_events.postpone(uow, event_ids, until, error)

        self._database.write(self._tenant, work)

    def _take_in(self, seen: _Seen, event_ids: list[str]) -> None:
        now = self._timing.now()

        def work(uow: UnitOfWork) -> None:
            self._absorber.begin(uow)
            row = None if seen.invoice is None else mirror.invoice_by_stripe_id(uow, seen.invoice.id)
            if seen.invoice is None or row is None:
                stripe_events.settle(uow, event_ids, "ignored")
                return
            self._absorber.invoice(uow, row.invoice_id, seen.invoice, now)
            for refund in seen.refunds:
                self._absorber.refund(uow, row.invoice_id, refund, now)
            if seen.dispute is not None:
                self._absorber.dispute(uow, row.invoice_id, seen.dispute, now)
            stripe_events.settle(uow, event_ids, "done")

        self._database.write(self._tenant, work)
