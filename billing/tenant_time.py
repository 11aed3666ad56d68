"""The time in force for a tenant: the system's, which a tenant may run ahead of in a sandbox.

Everything that happens to a tenant's quotes, subscriptions, usage and money happens at this time. What keeps others
in or out (keys, sign-ins, signed links) and what reaches others (webhooks, Stripe) goes by the system's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from billing.repositories.inserting import insert_new
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.sandbox import SandboxClockRow
from models.values.errors import InvalidValueError, LimitExceededError, RuleBrokenError

SANDBOX = "sandbox"
FURTHEST_AHEAD = timedelta(days=36_525)
_CLOCK = table_of(SandboxClockRow)
_MICROSECOND = timedelta(microseconds=1)
_NONE = timedelta(0)


class SandboxOnlyError(RuleBrokenError):
    """Time was to be moved where it is everybody's."""

    code = "sandbox_only"


@dataclass(frozen=True, slots=True)
class TenantTime:
    """Tells tenants' time: in a sandbox their clocks may run ahead of the system's, in live none does."""

    system: Callable[[], datetime]
    environment: str

    def now(self, uow: UnitOfWork) -> datetime:
        """Return the time in force for the tenant, as of this transaction."""
        return self.system() + self.ahead(uow)

    def ahead(self, uow: UnitOfWork) -> timedelta:
        """Return how far the tenant's clock runs ahead of the system's."""
        if self.environment != SANDBOX:
            return _NONE
        moved = uow.connection.scalar(select(_CLOCK.c.ahead_us).where(_CLOCK.c.tenant == uow.tenant))
        return timedelta(microseconds=moved or 0)

    def move(self, uow: UnitOfWork, to: datetime, actor: str) -> datetime:
        """Set the tenant's clock to `to`, from where it goes on, and return it.

        Raises SandboxOnlyError, InvalidValueError for a time that is past, LimitExceededError for one beyond a
        century.
        """
        self.check_movable()
        system = self.system()
        ahead = to - system
        if ahead > FURTHEST_AHEAD:
            raise LimitExceededError(f"at most {FURTHEST_AHEAD.days} days ahead", field="now", value=to.isoformat())
        row = {"ahead_us": ahead // _MICROSECOND, "moved_at": system, "moved_by": actor}
        mine = _CLOCK.c.tenant == uow.tenant
        uow.facts_change()
        if ahead >= _NONE and insert_new(uow, _CLOCK, {"tenant": uow.tenant, **row}):
            return to
        # Compared where it is written: of two that move it at once, none moves it back.
        moved = uow.connection.execute(update(_CLOCK).where(mine, _CLOCK.c.ahead_us <= row["ahead_us"]).values(row))
        if moved.rowcount != 1:
            raise InvalidValueError(
                f"must not be before {self.now(uow).isoformat()}: time goes forward only",
                field="now", value=to.isoformat(), code="time_goes_forward",
            )  # fmt: skip
        return to

    def check_movable(self) -> None:
        """Raise SandboxOnlyError where no tenant's clock may be moved."""
        if self.environment != SANDBOX:
            raise SandboxOnlyError("only a sandbox has a clock of its own", field="environment", value=self.environment)
