"""What request handlers work with: the database, the signing key and the clocks, opened once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opentelemetry.sdk.trace import TracerProvider

from api.kept import Kept
from api.settings import Settings
from billing.database import Database
from billing.invoicing import Collect
from billing.metering.directory import PriceBookDirectory
from billing.metering.group_commit import GroupCommit
from billing.quote_desk import QuoteDesk
from billing.stripe.settings import StripeSettings
from billing.tenant_time import TenantTime
from billing.unit_of_work import UnitOfWork
from pricing_engine.sealing import Signer

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the time now, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The shell's parts, wired together in the composition root. Where Stripe is not set up, nobody collects.

    `system_now` is for what keeps others in or out: keys, sessions, links. All else asks `now` for the tenant's time.
    `tenants`: the configured one and those that have called, for whom this process does what nobody calls for.
    """

    settings: Settings
    database: Database
    signer: Signer
    system_now: Clock = system_clock
    collect: Collect | None = None
    stripe: StripeSettings | None = None
    tracer_provider: TracerProvider | None = None
    tenants: set[str] = field(init=False)
    time: TenantTime = field(init=False)
    kept: Kept = field(init=False)
    ingest: GroupCommit = field(init=False)
    quotes: QuoteDesk = field(init=False)

    def __post_init__(self) -> None:
        """Open what needs nothing but the parts above."""
        time = TenantTime(self.system_now, self.settings.environment)
        object.__setattr__(self, "tenants", {self.settings.tenant})
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "kept", Kept(self.database))
        object.__setattr__(self, "ingest", GroupCommit(self.database, PriceBookDirectory(), time.now))
        object.__setattr__(self, "quotes", QuoteDesk(self.database, self.signer, time.now))

    def now(self, uow: UnitOfWork) -> datetime:
        """Return the time in force for the tenant of a unit of work."""
        return self.time.now(uow)

    def close(self) -> None:
        """Write what waits, close the database and send the last spans."""
        self.ingest.close()
        self.quotes.close()
        self.database.close()
        if self.tracer_provider is not None:
            self.tracer_provider.shutdown()
