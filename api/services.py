"""What request handlers work with: the database, the signing key and the clock, opened once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from api.known_keys import KnownKeys
from api.settings import Settings
from billing.database import Database
from billing.invoicing import Collect
from billing.metering.group_commit import GroupCommit
from billing.stripe.settings import StripeSettings
from pricing_engine.sealing import Signer

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the time now, aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """The shell's parts, wired together in the composition root. Where Stripe is not set up, nobody collects."""

    settings: Settings
    database: Database
    signer: Signer
    ingest: GroupCommit
    now: Clock = system_clock
    collect: Collect | None = None
    stripe: StripeSettings | None = None
    keys: KnownKeys = field(default_factory=KnownKeys)
