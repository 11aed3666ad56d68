"""The model's wallets: grants as plain records, holds as what they keep of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Grant:
    """Credit handed out. `features`: None for all.

    `rollover`: units that may live on at expiry, for ten days; `rolled` of them have, of all that is of one `origin`,
    the number of the grant of which voids gave back.
    """

    customer: str
    wallet: str
    kind: str
    remaining: int
    sequence: int
    starts_at: datetime
    expires_at: datetime | None
    priority: int = 0
    wallet_priority: int = 0
    features: frozenset[str] | None = None
    rollover: int = 0
    rolled: int = 0
    held: int = 0
    origin: int = 0

    @property
    def free(self) -> int:
        """What is neither used nor held."""
        return self.remaining - self.held

    @property
    def order(self) -> tuple[int, int, datetime, bool, int]:
        """Wallet, priority, expiry, promotional first, age."""
        return self.wallet_priority, self.priority, self.expires_at or _NEVER, self.kind == "paid", self.sequence

    def in_force(self, at: datetime) -> bool:
        """Tell whether it pays at a time."""
        return self.starts_at <= at and (self.expires_at is None or at < self.expires_at)


@dataclass
class Hold:
    """Units kept, by the number of their grant."""

    customer: str
    expires_at: datetime
    parts: dict[int, int]
    settled: int = 0
    state: str = "pending"


@dataclass
class Wallets:
    """All grants by number, all holds by key, and by customer and feature what was used before its invoice."""

    grants: dict[int, Grant] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    used: dict[str, dict[str, int]] = field(default_factory=dict)

    def give(self, grant: Grant) -> None:
        """Add a grant with the next number."""
        grant.sequence = len(self.grants) + 1
        self.grants[grant.sequence] = grant

    def paying(self, customer: str, feature: str, at: datetime) -> list[Grant]:
        """Return the grants that pay for a feature, in order."""
        found = [
            grant
            for grant in self.grants.values()
            if grant.customer == customer
            and grant.in_force(at)
            and (grant.features is None or feature in grant.features)
        ]
        return sorted(found, key=lambda each: each.order)

    def plan(self, customer: str, feature: str, units: int, at: datetime) -> dict[int, int]:
        """Return what each grant pays of some units."""
        parts: dict[int, int] = {}
        for grant in self.paying(customer, feature, at):
            part = min(grant.free, units)
            if part > 0:
                parts[grant.sequence], units = part, units - part
        return parts

    def burn(self, customer: str, feature: str, parts: Mapping[int, int]) -> None:
        """Use credit for usage that is not invoiced yet."""
        for number, units in parts.items():
            self.grants[number].remaining -= units
        used = self.used.setdefault(customer, {})
        used[feature] = used.get(feature, 0) + sum(parts.values())

    def hold(self, key: str, customer: str, parts: dict[int, int], until: datetime) -> None:
        """Keep credit."""
        self.holds[key] = Hold(customer, until, parts)
        for number, units in parts.items():
            self.grants[number].held += units

    def end(self, hold: Hold, state: str) -> None:
        """End a hold: what it kept is free."""
        hold.state = state
        for number, units in hold.parts.items():
            self.grants[number].held -= units

    def expire_holds(self, at: datetime, customer: str | None = None) -> None:
        """Free what holds keep beyond their time."""
        for hold in self.holds.values():
            if hold.state == "pending" and hold.expires_at <= at and customer in {None, hold.customer}:
                self.end(hold, "expired")

    def revive(self, key: str) -> None:
        """Take an expiry back, as the database did."""
        hold = self.holds[key]
        if hold.state == "expired":
            hold.state = "pending"
            for number, units in hold.parts.items():
                self.grants[number].held += units

    def settling(self, hold: Hold, units: int, at: datetime) -> dict[int, int]:
        """Return what each grant pays when a hold is settled: what is kept, in order, then what is free."""
        parts: dict[int, int] = {}
        for grant in sorted((self.grants[number] for number in hold.parts), key=lambda each: each.order):
            parts[grant.sequence] = min(hold.parts[grant.sequence], units - sum(parts.values()))
        for number, more in self.plan(hold.customer, "tokens", units - sum(parts.values()), at).items():
            parts[number] = parts.get(number, 0) + more
        return {number: part for number, part in parts.items() if part}

    def expire(self, at: datetime, to_pay: Collection[tuple[str, datetime]]) -> None:
        """End what has expired and pays none of the drafts, a customer and a time each; what may roll over lives on."""
        for grant in [each for each in self.grants.values() if each.expires_at and each.expires_at <= at]:
            if any(grant.customer == customer and grant.in_force(since) for customer, since in to_pay):
                continue
            origin = grant.origin or grant.sequence
            family = [each for each in self.grants.values() if origin in {each.sequence, each.origin}]
            kept = min(grant.free, grant.rollover - sum(each.rolled for each in family))
            if kept > 0 and grant.expires_at is not None:
                until = grant.expires_at + timedelta(days=10)
                terms = replace(grant, starts_at=grant.expires_at, expires_at=until, rollover=0, rolled=0, held=0)
                self.give(replace(terms, remaining=kept, origin=0))
                grant.rolled += kept
            grant.remaining -= grant.free

    def pay(
        self, customer: str, left: dict[str, int], total: int, at: datetime, per_minor: int
    ) -> dict[int | str, Fraction]:
        """Pay an invoice in minor units, by feature what is left of it; return what each grant paid.

        What was used for a feature before pays first, and is returned under its name.
        """
        paid: dict[int | str, Fraction] = {
            feature: Fraction(units, per_minor)
            for feature, units in self._pay_used(customer, left, total, per_minor).items()
        }
        of_customer = [each for each in self.grants.values() if each.customer == customer and each.in_force(at)]
        for grant in sorted(of_customer, key=lambda each: each.order):
            mine = [key for key in left if grant.features is None or key in grant.features]
            open_minor = total - int(sum(paid.values()))
            minor = max(min(grant.free // per_minor, sum(left[key] for key in mine), open_minor), 0)
            if minor:
                _lower(left, mine, minor)
                paid[grant.sequence] = Fraction(minor)
                grant.remaining -= minor * per_minor
        return paid

    def _pay_used(self, customer: str, left: dict[str, int], total: int, per_minor: int) -> dict[str, int]:
        """Pay for its own features, then for the others; return the units that were taken."""
        used = self.used.setdefault(customer, {})
        minor = max(min(sum(used.values()) // per_minor, total), 0)
        taken: dict[str, int] = {}
        for feature in left:
            own = min(used.get(feature, 0) // per_minor, left[feature], minor)
            _lower(left, [feature], own)
            taken[feature] = own * per_minor
            minor -= own
        _lower(left, list(left), minor)
        units = minor * per_minor
        for feature in sorted(used):
            more = min(used[feature] - taken.get(feature, 0), units)
            taken[feature] = taken.get(feature, 0) + more
            units -= more
        for feature in used:
            used[feature] -= taken.get(feature, 0)
        return {feature: part for feature, part in taken.items() if part}

    def give_back(self, customer: str, paid: Mapping[int | str, Fraction], per_minor: int) -> None:
        """Give back what paid an invoice, as grants on the same terms."""
        for feature in [name for name in paid if isinstance(name, str)]:
            self.used[customer][feature] += int(paid[feature] * per_minor)
        numbers = sorted((name for name in paid if isinstance(name, int)), key=lambda each: self.grants[each].order)
        for number in numbers:
            units = int(paid[number] * per_minor)
            grant = self.grants[number]
            self.give(replace(grant, remaining=units, held=0, rolled=0, origin=grant.origin or number))

    def held_in(self, customer: str, wallet: str, kind: str) -> int:
        """Return what the grants of a wallet hold."""
        return sum(
            each.remaining
            for each in self.grants.values()
            if (each.customer, each.wallet, each.kind) == (customer, wallet, kind)
        )


def _lower(left: dict[str, int], features: Iterable[str], minor: int) -> None:
    """Pay for some features, one after the other."""
    for feature in features:
        part = min(left[feature], minor)
        left[feature] -= part
        minor -= part
