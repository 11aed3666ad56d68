"""The credit that a customer's prepaid holds on usage keep together.

What a hold will cost depends on which of them settles first: tiers rise or fall, a package is begun once. So they keep
credit as one: at least what the usage of all of them adds. When one ends, what the others need of its credit stays
theirs, and what it lacks it gets from what they do not need, feature by feature. In whichever order they settle, the
differences sum to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from billing import holds
from billing.repositories import usage_holds as rows
from billing.repositories import wallets as wallet_rows
from billing.repositories.usage_holds import UsageHold
from billing.unit_of_work import UnitOfWork
from billing.usage_increment import UsagePricer

Slot = tuple[str, str]
"""Asset and feature."""


class HoldPool:
    """What is kept for a customer's holds on usage, under the lock of the wallets.

    By slot each is served by one hold on credit, `usage:<key>:<number>`. What those keep now counts, not what the
    holds began with: one may have ended by a clock that runs ahead.
    """

    def __init__(self, uow: UnitOfWork, customer: str) -> None:
        wallet_rows.lock_wallets(uow, customer)
        self._uow, self._customer = uow, customer
        self._credit: dict[str, dict[Slot, str]] = {}
        self._units: Counter[str] = Counter()
        for row in wallet_rows.kept_parts(uow, customer):
            owner, _, _ = row.key.rpartition(":")
            self._credit.setdefault(owner, {})[row.asset, row.feature] = row.key
            self._units[row.key] += row.units or 0

    def kept(self, pending: Iterable[UsageHold]) -> Counter[Slot]:
        """Return the ledger units that some holds keep together."""
        together: Counter[Slot] = Counter()
        for hold in pending:
            for slot, key in self._credit.get(_owner(hold), {}).items():
                together[slot] += self._units[key]
        return together

    def reserve(self, hold: UsageHold, slot: Slot, units: int) -> None:
        """Keep free credit for a new hold. Raises InsufficientCreditError."""
        holds.hold(self._uow, self._begin(hold, slot, units))

    def end(self, hold: UsageHold, costs: Mapping[Slot, int], at: datetime) -> dict[Slot, int]:
        """Pay what the usage of a hold costs, in ledger units; return what credit paid. The rest it kept is let go.

        What the others need of it goes to them, what they do not need pays first, then free credit. The usage is
        stored, or is not going to be.
        """
        self._even_out(hold, costs)
        paid: dict[Slot, int] = {}
        for slot in sorted({*self._credit.get(_owner(hold), {}), *costs}):
            units, key = costs.get(slot, 0), self._credit.get(_owner(hold), {}).get(slot)
            if key is None and units:
                key = self._receiver(hold, slot, units)
            if key is not None and units:
                ended = holds.settle(self._uow, key, units, at=at, recorded_at=at, partial=True)
                paid[slot] = ended.settled_units
            elif key is not None:
                holds.release(self._uow, key, at=at)
        return paid

    def _even_out(self, ending: UsageHold, costs: Mapping[Slot, int]) -> None:
        spare = self.kept([ending])
        spare.subtract(costs)
        others = [each for each in rows.pending_prepaid(self._uow, self._customer) if each.key != ending.key]
        if not others or not any(spare.values()):
            return
        unneeded = self.kept(others)
        for each in UsagePricer(self._uow, self._customer).added_by([other.as_event() for other in others]):
            unneeded[each.slot] -= each.units
        for slot, units in sorted(spare.items()):
            if units > 0 > unneeded[slot]:
                self._hand_over(ending, others[0], slot, min(units, -unneeded[slot]))
            elif units < 0 < unneeded[slot]:
                self._borrow(ending, others, slot, min(-units, unneeded[slot]))

    def _borrow(self, ending: UsageHold, others: Iterable[UsageHold], slot: Slot, units: int) -> None:
        for lender in others:
            lent = min(units, self.kept([lender])[slot])
            if lent > 0:
                self._hand_over(lender, ending, slot, lent)
                units -= lent

    def _hand_over(self, giver: UsageHold, taker: UsageHold, slot: Slot, units: int) -> None:
        source, target = self._credit[_owner(giver)][slot], self._receiver(taker, slot, units)
        holds.hand_over(self._uow, source, target, units)
        self._units[source] -= units
        self._units[target] += units

    def _receiver(self, hold: UsageHold, slot: Slot, units: int) -> str:
        """Return the hold on credit that serves a slot; it begins, for `units`, where there is none."""
        served = self._credit.setdefault(_owner(hold), {})
        if slot not in served:
            served[slot] = holds.begin(self._uow, self._begin(hold, slot, units)).key
        return served[slot]

    def _begin(self, hold: UsageHold, slot: Slot, units: int) -> holds.Hold:
        number = wallet_rows.count_holds(self._uow, f"{_owner(hold)}:")
        asset, feature = slot
        until = hold.expected.expires_at
        return holds.Hold(f"{_owner(hold)}:{number}", self._customer, asset, feature, units, hold.created_at, until)


def _owner(hold: UsageHold) -> str:
    return f"usage:{hold.key}"
