"""Subscriptions: quoted, changed, paused, cancelled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.quotes import QuoteRequest, accept_quote, create_quote
from billing.subscriptions import (
    Change,
    SubscriptionTerms,
    Who,
    billed,
    cancel,
    change_selection,
    pause,
    record,
    resume,
    start_from_quote,
)
from billing.unit_of_work import UnitOfWork
from pricing_engine.proration import MidPeriod
from tests.billing_story import Company
from tests.state_machine import model as m
from tests.state_machine.telling import DAY, Telling, chosen, customers, picks, seats


class SubscriptionRules(Telling):
    """What is told of subscriptions."""

    @precondition(lambda self: len(self.model.subscriptions) < 5)
    @rule(customer=customers, quantity=seats, support=st.booleans())
    def quote(self, customer: str, quantity: int, support: bool) -> None:
        """Ask for a quote, accept it, and start what it offers with this day."""
        name = self.next_id("q")
        selection = {"tokens": "1500", "seats": str(quantity), **({"support": True} if support else {})}
        start = self.now.replace(hour=0, minute=0)

        def work(uow: UnitOfWork) -> Decimal:
            signer = self.companies[0].signer
            total = create_quote(uow, QuoteRequest(customer, selection), signer, self.now, name).total
            accepted, _ = accept_quote(uow, name, name, self.now)
            terms = SubscriptionTerms(zone="UTC")
            assert start_from_quote(uow, accepted, start, self.now, terms, subscription_id=name).id == name
            return total

        total = self.write(work)
        assert Fraction(total) == m.tier_price(1500) + m.SEAT * quantity + m.SUPPORT * support
        phase = m.Phase(start, "active", quantity, support)
        self.model.subscriptions[name] = m.Subscription(name, customer, start, [phase])

    @precondition(lambda self: self.running())
    @rule(pick=picks, quantity=seats, support=st.booleans(), days=st.integers(-35, 10), how=st.sampled_from(MidPeriod))
    def change(self, pick: int, quantity: int, support: bool, days: int, how: MidPeriod) -> None:
        """Change seats and support from a day on, which may be past or still to come."""
        subscription, at, in_force = self._running(pick, days)
        selection = {
            "tokens": Decimal(1500),
            "seats": Decimal(quantity),
            **({"support": Decimal(1)} if support else {}),
        }
        who = Who(self.now)
        self._record(subscription, lambda found: billed(change_selection(found, self.prices, selection, at, who), how))
        subscription.change(m.Phase(at, in_force.state, quantity, support, how))

    @precondition(lambda self: self.running())
    @rule(pick=picks, days=st.integers(-35, 10))
    def pause_or_resume(self, pick: int, days: int) -> None:
        """Pause what runs, resume what is paused."""
        subscription, at, in_force = self._running(pick, days)
        is_paused = in_force.state == "paused"
        self._record(subscription, lambda found: (resume if is_paused else pause)(found, at, Who(self.now)))
        state = "active" if is_paused else "paused"
        subscription.change(m.Phase(at, state, in_force.seats, in_force.support, turns=True))

    @precondition(lambda self: len(self.running()) > 1)
    @rule(pick=picks, days=st.integers(-10, 10), at_end=st.booleans(), how=st.sampled_from(MidPeriod))
    def cancel(self, pick: int, days: int, at_end: bool, how: MidPeriod) -> None:
        """Cancel on a day, or with the month that holds it."""
        subscription, at, in_force = self._running(pick, days)
        who = Who(self.now)
        self._record(subscription, lambda found: billed(cancel(found, at, who, at_period_end=at_end), how))
        ends = min(m.month_after(m.month_of(at)), subscription.ends_at) if at_end else at
        subscription.change(m.Phase(ends, "ended", in_force.seats, in_force.support, how))

    def running(self, days: int = 0) -> list[m.Subscription]:
        """Return the subscriptions that run on a day from today."""
        return [each for each in self.model.subscriptions.values() if each.at(self._day(days))]

    def _day(self, days: int) -> datetime:
        return self.now.replace(hour=0, minute=0) + days * DAY

    def _running(self, pick: int, days: int) -> tuple[m.Subscription, datetime, m.Phase]:
        """Choose a subscription and a day, today where it does not run on the day asked for."""
        days = days if self.running(days) else 0
        subscription, at = chosen(self.running(days), pick), self._day(days)
        in_force = subscription.at(at)
        assert in_force is not None
        return subscription, at, in_force

    def _record(self, subscription: m.Subscription, change: Callable[[Any], Change]) -> None:
        def act(company: Company) -> None:
            found = company.subscription(subscription.id)
            with company.database.writing(company.tenant) as uow:
                record(uow, change(found))

        self.tell(act)
