"""Billing periods, their close runs and the log of who closed and reopened them: rows <-> values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import BillingPeriodRow, CloseActionRow, CloseRunRow

_PERIOD = table_of(BillingPeriodRow)
_RUN = table_of(CloseRunRow)
_ACTION = table_of(CloseActionRow)
_FIELDS = ("key", "state", "attempt", "known_at", "issued_on", "finalise_from")


@dataclass(frozen=True, slots=True)
class BillingMonth:
    """A month being closed, or closed. See `models.tables.invoice.BillingPeriodRow`."""

    key: str
    state: str
    attempt: int
    known_at: datetime
    issued_on: date
    finalise_from: datetime

    @property
    def run(self) -> str:
        """The name of this attempt: 2026-01/1."""
        return f"{self.key}/{self.attempt}"


class CloseRepository:
    """The closes of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def find(self, key: str) -> BillingMonth | None:
        """Return one month, None where nobody began to close it."""
        query = select(_PERIOD).where(_PERIOD.c.tenant == self._uow.tenant, _PERIOD.c.key == key)
        row = self._uow.connection.execute(query).one_or_none()
        return None if row is None else BillingMonth(**{name: getattr(row, name) for name in _FIELDS})

    def all(self) -> list[BillingMonth]:
        """Return every month that was ever closed or begun, oldest first."""
        query = select(_PERIOD).where(_PERIOD.c.tenant == self._uow.tenant).order_by(_PERIOD.c.key)
        return [
            BillingMonth(**{name: getattr(row, name) for name in _FIELDS})
            for row in self._uow.connection.execute(query)
        ]

    def save(self, month: BillingMonth) -> None:
        """Write a month's state."""
        values = {name: getattr(month, name) for name in _FIELDS}
        statement = (sqlite if self._uow.is_sqlite else postgresql).insert(_PERIOD)
        changed = {name: statement.excluded[name] for name in _FIELDS if name != "key"}
        statement = statement.on_conflict_do_update(index_elements=["tenant", "key"], set_=changed)
        self._uow.connection.execute(statement, [{"tenant": self._uow.tenant, **values}])

    def move(self, key: str, state: str) -> None:
        """Change the state alone."""
        self._uow.connection.execute(
            update(_PERIOD).where(_PERIOD.c.tenant == self._uow.tenant, _PERIOD.c.key == key).values(state=state)
        )

    def log(self, key: str, action: str, actor: str, reason: str, at: datetime) -> None:
        """Append to the log of actions."""
        last = self._uow.connection.execute(
            select(func.coalesce(func.max(_ACTION.c.sequence), 0)).where(
                _ACTION.c.tenant == self._uow.tenant, _ACTION.c.period == key
            )
        ).scalar_one()
        self._uow.connection.execute(
            insert(_ACTION).values(
                tenant=self._uow.tenant,
                period=key,
                sequence=int(last) + 1,
                action=action,
                actor=actor,
                reason=reason,
                recorded_at=at,
            )
        )

    def actions(self, key: str) -> list[tuple[str, str, str, datetime]]:
        """Return (action, actor, reason, time) of a month, oldest first."""
        query = select(_ACTION).where(_ACTION.c.tenant == self._uow.tenant, _ACTION.c.period == key)
        rows = self._uow.connection.execute(query.order_by(_ACTION.c.sequence))
        return [(row.action, row.actor, row.reason, row.recorded_at) for row in rows]

    def begun_at(self, key: str) -> datetime:
        """Return when the last attempt to close a month began."""
        return [at for action, _, _, at in self.actions(key) if action == "begin"][-1]

    def was_finished(self, key: str) -> bool:
        """Whether the last attempt to close a month came to its end, whether or not the month was reopened since."""
        return [action for action, _, _, _ in self.actions(key) if action in {"begin", "lock"}][-1] == "lock"

    def posted_buckets(self, month: BillingMonth) -> set[int]:
        """Return the buckets that this attempt has posted."""
        query = select(_RUN.c.bucket).where(
            _RUN.c.tenant == self._uow.tenant, _RUN.c.period == month.key, _RUN.c.attempt == month.attempt
        )
        return set(self._uow.connection.execute(query).scalars())

    def posted(self) -> set[tuple[str, int]]:
        """Return (month, bucket) of all that any attempt has posted."""
        query = select(_RUN.c.period, _RUN.c.bucket).where(_RUN.c.tenant == self._uow.tenant).distinct()
        return {(row.period, row.bucket) for row in self._uow.connection.execute(query)}

    def claim(
        self, month: BillingMonth, bucket: int, *, input_hash: str, customers: int, charges: int, at: datetime
    ) -> bool:
        """Say that this transaction posts a bucket; False where it was posted before, whoever did it."""
        statement = (sqlite if self._uow.is_sqlite else postgresql).insert(_RUN).on_conflict_do_nothing()
        result = self._uow.connection.execute(
            statement.values(
                tenant=self._uow.tenant,
                period=month.key,
                attempt=month.attempt,
                bucket=bucket,
                input_hash=input_hash,
                customers=customers,
                charges=charges,
                recorded_at=at,
            ).returning(_RUN.c.bucket)
        )
        return result.first() is not None
