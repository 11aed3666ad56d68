"""Ending what is over: quotes, holds, grants and units sold whose time has come. Run as often as you like.

Whatever is over counts as over wherever it is looked at; this frees what it kept for others and books what expired.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.database import Database
from billing.holds import expire_holds
from billing.quotes import expire_quotes
from billing.supply import free_units
from billing.usage_holds import expire_usage_holds
from billing.wallets import expire_credit


@dataclass(frozen=True, slots=True)
class Ended:
    """How many of each were ended; `sold_units`: how many subscriptions need no more what they kept."""

    quotes: int
    usage_holds: int
    credit_holds: int
    grants: int
    sold_units: int


def end_what_is_over(database: Database, tenant: str, now: datetime) -> Ended:
    """End everything of a tenant that is over by `now`, each kind in a transaction of its own.

    Holds end before grants, so that what they kept of an expired grant expires with it.
    """
    quotes = database.write(tenant, lambda uow: expire_quotes(uow, now))
    usage_holds = database.write(tenant, lambda uow: expire_usage_holds(uow, now))
    credit_holds = database.write(tenant, lambda uow: expire_holds(uow, at=now))
    takings = database.write(tenant, lambda uow: expire_credit(uow, at=now, recorded_at=now))
    sold_units = database.write(tenant, lambda uow: free_units(uow, now))
    return Ended(quotes, usage_holds, credit_holds, len({taking.grant.id for taking in takings}), sold_units)
