"""Accruals: exact amounts enter the ledger so that nothing below a ledger unit is ever lost.

Per customer and asset, in ledger units, at any time:

    exact sum of accruals = posted + residue,  |residue| <= 1/2
    posted = unbilled account + invoiced net + remainder account        (what is invoiced in arrears)

An invoice takes whole minor units and leaves the rest in the remainder account, for the next one:

    accrue(uow, [Accrual(...)], recorded_at=now)                        # at the close, or as events are rated
    net_minor, change = take_minor_units(unbilled, remainder, usd)      # balances of the customer's two accounts
    ledger.post(uow, [journal(key, at, InvoiceInArrears(customer, "USD", net_minor * usd.units_per_minor, taxes),
                              RemainderCarry(customer, "USD", change))], recorded_at=now)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing import ledger
from billing.carrying import Accrual, Carried, Parts, carry
from billing.posting_rules import UsageAccrual, journal
from billing.repositories import accruals as rows
from billing.repositories import journals
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError
from models.values.money import currency

_NOTHING = Carried(Decimal(0), 0)


class AccrualConflictError(ConflictError):
    """An accrual key was used again for other content."""

    code = "accrual_conflict"


@dataclass(frozen=True, slots=True)
class Accrued:
    """What an accrual came to in ledger units, by feature, and whether this call posted it."""

    key: str
    by_feature: Parts
    is_new: bool


def accrue(uow: UnitOfWork, accruals: Sequence[Accrual], *, recorded_at: datetime) -> list[Accrued]:
    """Post `accruals` in order, each once for ever by its key; return one outcome each.

    An amount that rounds to nothing is kept and posts no journal. Raises AccrualConflictError for a key used for
    other content, and what `ledger.post` raises.
    """
    journals.lock(uow)
    known = rows.by_key(uow, [accrual.key for accrual in accruals])
    sums = rows.carried(uow, {(accrual.customer, accrual.asset) for accrual in accruals})
    outcomes: list[Accrued] = []
    fresh: list[tuple[Accrual, Parts]] = []
    for accrual in accruals:
        earlier = known.get(accrual.key)
        if earlier is None:
            stream = (accrual.customer, accrual.asset)
            sums[stream], units = carry(sums.get(stream, _NOTHING), accrual.by_feature, currency(accrual.asset))
            known[accrual.key] = accrual, units
            fresh.append((accrual, units))
        elif earlier[0] != accrual:
            raise AccrualConflictError("key is accrued with other content", field="key", value=accrual.key)
        outcomes.append(Accrued(accrual.key, known[accrual.key][1], is_new=earlier is None))
    drafts = [
        journal(accrual.key, accrual.effective_at, UsageAccrual(accrual.customer, accrual.asset, units))
        for accrual, units in fresh
    ]
    ledger.post(uow, [draft for draft in drafts if draft.legs], recorded_at=recorded_at)
    rows.write(uow, fresh, sums)
    return outcomes


def carried(uow: UnitOfWork, customer: str, asset: str) -> Carried:
    """Return the exact sum of a customer's accruals in `asset`, and what is posted for it."""
    return rows.carried(uow, {(customer, asset)}).get((customer, asset), _NOTHING)
