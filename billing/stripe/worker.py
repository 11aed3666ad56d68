"""The outbox worker: takes operations that are due, performs them, writes down what came of it.

No transaction is open while a request is under way. Operations of one aggregate run in order, aggregates in
parallel; several workers, in one process or many, share the work by leases.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from billing.billing_provider import BillingProvider, NotAuthorisedError, ProviderError, RateLimitedError, RefusedError
from billing.database import Database, WriteConflictError
from billing.repositories import stripe_mirror as mirror
from billing.repositories import stripe_outbox as outbox
from billing.stripe.absorbing import Absorber
from billing.stripe.enqueue import enqueue_charge
from billing.stripe.operations import Aggregate, Kind, Move, Operation, State, after_absent, after_failure
from billing.stripe.performing import Done, Known, find, perform
from billing.stripe.shared_rate import SharedRate
from billing.timing import Timing, until_nothing_is_due
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError

LEASE = timedelta(seconds=120)
"""Longer than any operation takes, waits for the rate included; after it the operation is anybody's again."""

CONCURRENCY = 16
"""Requests under way at once: enough for 24 a second where an answer takes two thirds of one, and few enough that
those held up by a process that stood still do not come as a burst beyond a second's worth.
"""


@dataclass(slots=True)
class Drained:
    """What one run did: operations done, of these found done by an earlier attempt, failed tries, dead ones."""

    done: int = 0
    adopted: int = 0
    failed: int = 0
    dead: int = 0

    def add(self, other: Drained) -> None:
        """Count another run in."""
        self.done += other.done
        self.adopted += other.adopted
        self.failed += other.failed
        self.dead += other.dead


@dataclass(frozen=True, slots=True)
class _Leased:
    operation: Operation
    known: Known


class Worker:
    """Performs the outbox of one tenant. `name` must be unique among the workers that run."""

    def __init__(
        self,
        database: Database,
        tenant: str,
        provider: BillingProvider,
        absorber: Absorber,
        rate: SharedRate,
        timing: Timing,
        *,
        name: str,
        random: Random,
        concurrency: int = CONCURRENCY,
        lease: timedelta = LEASE,
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._provider = provider
        self._absorber = absorber
        self._rate = rate
        self._timing = timing
        self._name = name
        self._random = random
        self._concurrency = concurrency
        self._lease = lease
        self._ready: deque[_Leased] = deque()
        self._active = 0
        self._changed = asyncio.Condition()
        self._stopped_by: NotAuthorisedError | None = None
        self._report = Drained()

    async def drain(self, patience: timedelta = timedelta(0)) -> Drained:
        """Work until nothing is due, and wait for what falls due within `patience` of the last thing done.

        Raises NotAuthorisedError where the provider refuses our key: nothing else would work either.
        """
        self._report = Drained()
        await until_nothing_is_due(self._work, self._next_due, self._timing, patience)
        return self._report

    async def _work(self) -> None:
        await asyncio.to_thread(self._charge_what_is_due)
        await asyncio.gather(*(self._run() for _ in range(self._concurrency)))
        if self._stopped_by is not None:
            raise self._stopped_by

    async def _run(self) -> None:
        """Take one aggregate after the other, each as far as it goes."""
        while (leased := await self._take()) is not None:
            try:
                following: _Leased | None = leased
                while following is not None:
                    following = await self._one(following)
            finally:
                async with self._changed:
                    self._active -= 1
                    self._changed.notify_all()

    async def _take(self) -> _Leased | None:
        """Return something to do; None once there is nothing and nobody is at work who could bring more."""
        async with self._changed:
            while self._stopped_by is None:
                if not self._ready:
                    self._ready.extend(await asyncio.to_thread(self._lease_some))
                if self._ready:
                    self._active += 1
                    return self._ready.popleft()
                if self._active == 0:
                    break
                await self._changed.wait()
            self._changed.notify_all()
            return None

    async def _one(self, leased: _Leased) -> _Leased | None:
        """Perform one operation; return the next of its aggregate."""
        operation = leased.operation
        try:
            done, adopted = await self._perform(leased)
        except ProviderError as error:
            await self._fail(operation, error)
            return None
        if done is None:
            self._report.failed += 1
            await asyncio.to_thread(self._write_move, operation, after_absent(self._timing.now()), None)
            return None
        try:
            following, was_ours = await asyncio.to_thread(self._write_done, operation, done, adopted)
        except WriteConflictError:
            raise  # Not a refusal: the lease runs out, and whoever takes it up next finds what was done.
        except DomainError as error:
            refusal = RefusedError(f"done, but our own books refuse it: {error}", reason=error.code)
            await self._fail(operation, refusal)
            return None
        self._report.done += was_ours
        self._report.adopted += was_ours and adopted
        return following

    async def _perform(self, leased: _Leased) -> tuple[Done | None, bool]:
        """Return what was done, and whether an earlier attempt had done it; nothing where a look-up found nothing."""
        operation, known = leased.operation, leased.known
        if operation.look_up_first:
            return await find(self._provider, operation, known), True
        try:
            return await perform(self._provider, operation, known), False
        except RefusedError:
            found = await find(self._provider, operation, known)
            if found is None:
                raise
            return found, True

    async def _fail(self, operation: Operation, error: ProviderError) -> None:
        if isinstance(error, RateLimitedError):
            await self._rate.back_off()
        move = after_failure(operation, error, self._timing.now(), self._random.random())
        self._report.failed += 1
        self._report.dead += move.state is State.DEAD
        await asyncio.to_thread(self._write_move, operation, move, error)
        if move.stops_worker and isinstance(error, NotAuthorisedError):
            self._stopped_by = error

    # What follows runs in threads: each call is one short transaction.

    def _charge_what_is_due(self) -> None:
        now = self._timing.now()

        def work(uow: UnitOfWork) -> None:
            for row in mirror.invoices_to_charge(uow, now):
                enqueue_charge(uow, row, now=now)

        self._database.write(self._tenant, work)

    def _lease_some(self) -> list[_Leased]:
        now = self._timing.now()

        def work(uow: UnitOfWork) -> list[_Leased]:
            operations = outbox.lease(uow, self._name, now, self._lease, self._concurrency)
            return [_Leased(operation, _known(uow, operation)) for operation in operations]

        return self._database.write(self._tenant, work)

    def _next_due(self, now: datetime) -> datetime | None:
        with self._database.reading(self._tenant) as uow:
            found = [outbox.next_due(uow, now), mirror.next_charge(uow)]
        return min((instant for instant in found if instant is not None), default=None)

    def _write_done(self, operation: Operation, done: Done, adopted: bool) -> tuple[_Leased | None, bool]:  # noqa: FBT001
        now = self._timing.now()

        def work(uow: UnitOfWork) -> tuple[_Leased | None, bool]:
            self._absorber.begin(uow)
            if not outbox.complete(uow, operation, self._name, now, stripe_id=done.stripe_id, adopted=adopted):
                return None, False
            self._take_in(uow, operation, done, now)
            following = outbox.lease_next(uow, operation, self._name, now, self._lease)
            return (None if following is None else _Leased(following, _known(uow, following))), True

        return self._database.write(self._tenant, work)

    def _write_move(self, operation: Operation, move: Move, error: ProviderError | None) -> None:
        now = self._timing.now()

        def work(uow: UnitOfWork) -> None:
            if move.state is State.DEAD:
                self._absorber.begin(uow)
            is_ours = outbox.move(uow, operation, self._name, move, error)
            if is_ours and move.state is State.DEAD and operation.aggregate is Aggregate.INVOICE:
                self._absorber.review(uow, operation.aggregate_id, f"{operation.kind}: {error}", now)

        self._database.write(self._tenant, work)

    def _take_in(self, uow: UnitOfWork, operation: Operation, done: Done, now: datetime) -> None:
        if operation.aggregate is Aggregate.CUSTOMER:
            mirror.change_customer(uow, operation.aggregate_id, stripe_id=done.stripe_id)
        elif operation.aggregate is Aggregate.PAYMENT and done.fee is not None:
            params = operation.params
            self._absorber.fee(uow, params["invoice_id"], params["payment"], done.fee, now)
        elif operation.aggregate is Aggregate.TRANSFER and done.transfer is not None:
            self._absorber.partner_paid(uow, operation.params["partner"], done.transfer, now)
        elif operation.aggregate is Aggregate.INVOICE:
            self._take_in_invoice(uow, operation, done, now)

    def _take_in_invoice(self, uow: UnitOfWork, operation: Operation, done: Done, now: datetime) -> None:
        invoice_id = operation.aggregate_id
        if operation.kind is Kind.CREATE_DRAFT:
            mirror.change_invoice(uow, invoice_id, stripe_id=done.stripe_id)
        if done.invoice is not None:
            self._absorber.invoice(uow, invoice_id, done.invoice, now)
        if done.reached is not None:
            self._absorber.status(uow, mirror.invoice(uow, invoice_id, lock=True), done.reached, now)
        if done.declined is not None:
            self._absorber.declined(uow, invoice_id, done.declined, now)
        if done.refund is not None:
            self._absorber.refund(uow, invoice_id, done.refund, now)


def _known(uow: UnitOfWork, operation: Operation) -> Known:
    """Return the ids that the operation needs."""
    if operation.aggregate is Aggregate.INVOICE:
        row = mirror.invoice(uow, operation.aggregate_id)
        return Known(_customer_id(uow, row.customer), row.stripe_id)
    if operation.aggregate is Aggregate.CUSTOMER:
        return Known(_customer_id(uow, operation.aggregate_id))
    if operation.aggregate is Aggregate.CLEANUP:
        return Known(invoice=operation.aggregate_id)
    if operation.kind is Kind.RECORD_USAGE:
        return Known(_customer_id(uow, operation.params["customer"]))
    return Known()


def _customer_id(uow: UnitOfWork, key: str) -> str | None:
    row = mirror.customer(uow, key)
    return None if row is None or row.stripe_id is None else str(row.stripe_id)
