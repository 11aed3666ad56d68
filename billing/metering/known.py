"""What an ingesting transaction knows, read under the lock that keeps it true until the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Executable, and_, func, select

from billing.metering import locks
from billing.metering.batch import Batch
from billing.metering.counters import Counter
from billing.metering.directory import MeterDirectory
from billing.metering.outcome import UnmatchedReason
from billing.metering.registry import COUNTER, begin_counters
from billing.metering.sets import AskedOften, OneOf
from billing.metering.worklists import CUTOFF, RESOLVABLE, UNMATCHED, Cutoff
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import BillingPeriodRow
from models.tables.usage import UsageAlertRow

_ALERT = table_of(UsageAlertRow)
_MONTH = table_of(BillingPeriodRow)


@dataclass(frozen=True, slots=True)
class Known:
    """What decides how a batch is stored.

    Counters by event type, and those this batch needs that do not count yet; for what reasons stored events wait;
    whether the tenant has alerts; up to when the last close knew events; whether the batch has corrections; where
    customers of the batch are closed.
    """

    counters: Mapping[str, tuple[Counter, ...]]
    unbegun: list[Counter]
    waiting: frozenset[UnmatchedReason]
    has_alerts: bool
    close_knew: datetime | None
    corrects: bool
    closed: Mapping[str, Cutoff]

    def closes(self) -> list[datetime]:
        """Return what closes knew events up to: none is ever recorded before that again, whoever it is of."""
        known = [cutoff.recorded_at for cutoff in self.closed.values()]
        return known if self.close_knew is None else [*known, self.close_knew]

    @property
    def concerns_corrections(self) -> bool:
        """Whether an event may correct another one, in this batch or waiting."""
        return self.corrects or UnmatchedReason.UNKNOWN_CORRECTED_EVENT in self.waiting

    @property
    def needs_to_be_alone(self) -> bool:
        """Whether cells may have to be counted anew, or a counter begun."""
        return self.concerns_corrections or bool(self.unbegun)


def lock_and_load(uow: UnitOfWork, batch: Batch, directory: MeterDirectory, now: datetime) -> Known:
    """Take the lock this batch needs, begin counters that it needs, and return what is known."""
    # Two writers that share the lock and both want it alone would wait for each other for ever: whoever finds that
    # sharing is not enough lets go of it first, by rolling back to before it was taken. SQLite has one writer anyway.
    locks.shared(uow)
    known = _load(uow, batch, directory)
    if not known.needs_to_be_alone:
        return known
    if not uow.is_sqlite:
        locks.unshare(uow)
        locks.alone(uow)
        known = _load(uow, batch, directory)
    begin_counters(uow, known.unbegun, now)
    return known


def _standing(tenant: ColumnElement[str], one_of: OneOf) -> Executable:
    waiting = [
        select(UNMATCHED.c.reason)
        .where(UNMATCHED.c.tenant == tenant, UNMATCHED.c.resolved_at.is_(None), UNMATCHED.c.reason == reason.value)
        .exists()
        .label(reason.value)
        for reason in RESOLVABLE
    ]
    begun = select(func.aggregate_strings(COUNTER.c.id, ",")).where(COUNTER.c.tenant == tenant).scalar_subquery()
    alerts = select(_ALERT.c.key).where(_ALERT.c.tenant == tenant).exists()
    knew = select(func.max(_MONTH.c.known_at)).where(_MONTH.c.tenant == tenant).scalar_subquery()
    standing = select(begun.label("begun"), alerts.label("alerts"), knew.label("knew"), *waiting).subquery()
    of_batch = and_(CUTOFF.c.tenant == tenant, one_of(CUTOFF.c.customer))
    cutoffs = [CUTOFF.c[name] for name in ("customer", *Cutoff._fields)]
    return select(standing, *cutoffs).select_from(standing.outerjoin(CUTOFF, of_batch))


_STANDING = AskedOften(_standing)
_STANDINGS = 3 + len(RESOLVABLE)


def _load(uow: UnitOfWork, batch: Batch, directory: MeterDirectory) -> Known:
    counters = directory.counters(uow)
    rows = [tuple(row) for row in _STANDING(uow, {event.customer for event in batch.events})]
    (begun, has_alerts, knew, *waits), facts = rows[0][:_STANDINGS], [row[_STANDINGS:] for row in rows]
    closed = {customer: Cutoff(*cutoff) for customer, *cutoff in facts if customer is not None}
    known = frozenset((begun or "").split(","))
    unbegun = [
        counter
        for event_type in sorted(batch.types)
        for counter in counters.get(event_type, ())
        if counter.id not in known
    ]
    waiting = frozenset(reason for reason, is_open in zip(RESOLVABLE, waits, strict=True) if is_open)
    return Known(counters, unbegun, waiting, bool(has_alerts), knew, batch.corrects, closed)
