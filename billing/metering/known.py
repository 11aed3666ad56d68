"""What an ingesting transaction knows, read under the lock that keeps it true until the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Executable, func, select

from billing.metering import locks
from billing.metering.batch import Batch
from billing.metering.counters import Counter
from billing.metering.directory import MeterDirectory
from billing.metering.outcome import UnmatchedReason
from billing.metering.registry import COUNTER, begin_counters
from billing.metering.sets import AskedOften, OneOf
from billing.metering.worklists import RESOLVABLE, UNMATCHED
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.usage import UsageAlertRow

_ALERT = table_of(UsageAlertRow)


@dataclass(frozen=True, slots=True)
class Known:
    """What decides how a batch is stored.

    Counters by event type, and those this batch needs that do not count yet; for what reasons stored events wait;
    whether the tenant has alerts; whether the batch has corrections.
    """

    counters: Mapping[str, tuple[Counter, ...]]
    unbegun: list[Counter]
    waiting: frozenset[UnmatchedReason]
    has_alerts: bool
    corrects: bool

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
    sharing = None if uow.is_sqlite else uow.connection.begin_nested()
    locks.shared(uow)
    known = _load(uow, batch, directory)
    if not known.needs_to_be_alone:
        if sharing is not None:
            sharing.commit()
        return known
    if sharing is not None:
        sharing.rollback()
        locks.alone(uow)
        known = _load(uow, batch, directory)
    begin_counters(uow, known.unbegun, now)
    return known


def _standing(tenant: ColumnElement[str], _one_of: OneOf) -> Executable:
    waiting = (
        select(UNMATCHED.c.reason)
        .where(UNMATCHED.c.tenant == tenant, UNMATCHED.c.resolved_at.is_(None), UNMATCHED.c.reason == reason.value)
        .exists()
        for reason in RESOLVABLE
    )
    begun = select(func.aggregate_strings(COUNTER.c.id, ",")).where(COUNTER.c.tenant == tenant).scalar_subquery()
    alerts = select(_ALERT.c.key).where(_ALERT.c.tenant == tenant).exists()
    return select(begun, alerts, *waiting)


_STANDING = AskedOften(_standing)


def _load(uow: UnitOfWork, batch: Batch, directory: MeterDirectory) -> Known:
    counters = directory.counters(uow)
    begun, has_alerts, *waits = tuple(_STANDING(uow).one())
    known = frozenset((begun or "").split(","))
    unbegun = [
        counter
        for event_type in sorted(batch.types)
        for counter in counters.get(event_type, ())
        if counter.id not in known
    ]
    waiting = frozenset(reason for reason, is_open in zip(RESOLVABLE, waits, strict=True) if is_open)
    return Known(counters, unbegun, waiting, bool(has_alerts), batch.corrects)
