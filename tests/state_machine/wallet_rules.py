"""Prepaid credit: granted, burnt, expired, held."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing import holds, wallets
from billing.burn_down import Grant, GrantKind
from billing.wallets import BurnRequest
from tests.state_machine.telling import DAY, TICK, Telling, chosen, customers, picks
from tests.state_machine.wallets import Grant as ModelGrant


class WalletRules(Telling):
    """What is told of wallets."""

    @rule(
        customer=customers,
        limited=st.booleans(),
        kind=st.sampled_from(GrantKind),
        minor=st.integers(1, 9_000),
        below=st.sampled_from([0, 0, 1, 7]),
        priority=st.integers(0, 1),
        days=st.sampled_from([None, 5, 20, 40]),
        rollover=st.sampled_from([0, 300]),
    )
    def grant(
        self, customer: str, limited: bool, kind: GrantKind, minor: int, below: int, priority: int,
        days: int | None, rollover: int,
    ) -> None:  # fmt: skip
        """Hand out credit, some of it below the minor unit."""
        wallet = f"{customer}-{'tokens' if limited else 'any'}"
        per_minor = self.money.units_per_minor
        units, rolls = minor * per_minor + below, rollover * per_minor
        starts = self.now
        expires = None if days is None else starts + days * DAY
        given = Grant(
            self.next_id("g"), wallet, "", "", kind, units, starts, 0, units=units, priority=priority,
            expires_at=expires, rollover_units=rolls, rollover_days=10,
        )  # fmt: skip
        processor = "stripe" if kind is GrantKind.PAID else None
        self.write(lambda uow: wallets.grant_credit(uow, given, recorded_at=self.now, processor=processor).sequence)
        features = frozenset({"tokens"}) if limited else None
        self.model.wallets.give(
            ModelGrant(customer, wallet, kind.value, units, 0, starts, expires, priority, not limited, features, rolls)
        )

    @rule(customer=customers, feature=st.sampled_from(["tokens", "seats"]), units=st.integers(1, 5 * 10**9))
    def burn(self, customer: str, feature: str, units: int) -> None:
        """Use credit for usage; what there is less than that is refused."""
        at = self.now + TICK
        request = BurnRequest(self.next_id("b"), customer, self.money.code, feature, units, at)
        code = self.refusal(lambda uow: wallets.burn(uow, request, recorded_at=self.now))
        parts = self.model.wallets.plan(customer, feature, units, at)
        if sum(parts.values()) < units:
            assert code == "insufficient_credit"
            return
        assert code is None
        self.model.wallets.burn(customer, feature, parts)

    @rule()
    def expire(self) -> None:
        """End what has expired."""
        self.write(lambda uow: len(wallets.expire_credit(uow, at=self.now, recorded_at=self.now)))
        self.model.expire_credit(self.now)

    @rule(customer=customers, units=st.integers(1, 5 * 10**9), hours=st.integers(1, 24 * 9))
    def hold(self, customer: str, units: int, hours: int) -> None:
        """Keep credit for a time."""
        at = self.now + TICK
        until = at + timedelta(hours=hours)
        wanted = holds.Hold(self.next_id("h"), customer, self.money.code, "tokens", units, at, until)
        code = self.refusal(lambda uow: holds.hold(uow, wanted))
        before = {hold for hold in self.model.wallets.holds if self.model.wallets.holds[hold].state == "pending"}
        self.model.wallets.expire_holds(at, customer)
        parts = self.model.wallets.plan(customer, "tokens", units, at)
        if sum(parts.values()) < units:
            assert code == "insufficient_credit"
            for key in before:  # Refused: what had expired stays as it was, until the next one looks.
                self.model.wallets.revive(key)
            return
        assert code is None
        self.model.wallets.hold(wanted.key, customer, parts, until)

    @precondition(lambda self: self.model.wallets.holds)
    @rule(pick=picks, share=st.sampled_from([0, Fraction(1, 2), 1, 2]))
    def settle(self, pick: int, share: Fraction) -> None:
        """Post a hold for what was really used."""
        key = chosen(list(self.model.wallets.holds), pick)
        hold, at = self.model.wallets.holds[key], self.now + TICK
        units = int(sum(hold.parts.values()) * share)
        code = self.refusal(lambda uow: holds.settle(uow, key, units, at=at, recorded_at=at))
        if hold.state == "settled" and hold.settled == units:
            assert code is None
            return
        if hold.state != "pending" or hold.expires_at <= at:
            assert code == "hold_ended"
            return
        parts = self.model.wallets.settling(hold, units, at)
        if sum(parts.values()) < units:
            assert code == "insufficient_credit"
            return
        assert code is None
        self.model.wallets.end(hold, "settled")
        hold.settled = units
        self.model.wallets.burn(hold.customer, "tokens", parts)

    @precondition(lambda self: self.model.wallets.holds)
    @rule(pick=picks)
    def release(self, pick: int) -> None:
        """Void a hold."""
        key = chosen(list(self.model.wallets.holds), pick)
        hold = self.model.wallets.holds[key]
        code = self.refusal(lambda uow: holds.release(uow, key, at=self.now))
        assert code == ("hold_ended" if hold.state == "settled" else None)
        if hold.state == "pending":
            self.model.wallets.end(hold, "expired" if hold.expires_at <= self.now else "released")
