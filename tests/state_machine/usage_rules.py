"""Usage: sent, sent again, corrected, and asked for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.metering.live_usage import usage_of
from billing.previews import preview_invoices
from billing.tax import FixedRate
from models.values.period import Period
from tests.billing_story import event
from tests.state_machine import model as m
from tests.state_machine.telling import DAY, FIRST, Telling, chosen, customers, picks, tokens


class UsageRules(Telling):
    """What is told of usage."""

    @rule(customer=customers, amount=tokens, hours=st.integers(0, 45 * 24), ahead=st.sampled_from([0, 0, 3]))
    def ingest(self, customer: str, amount: int, hours: int, ahead: int) -> None:
        """Send an event, up to 45 days late, by a machine whose clock may run some hours ahead."""
        when = self.now - timedelta(hours=hours)
        name = self.next_id("")
        sent = event(name, customer, when.isoformat(), amount)
        self.tell(lambda company: company.ingest([sent], (self.now + timedelta(hours=ahead)).isoformat()))
        recorded_at = self.model.recorded(self.now + timedelta(hours=ahead))
        self.model.events[name] = m.Event(name, customer, when, recorded_at, amount)

    @precondition(lambda self: self.model.events)
    @rule(pick=picks, same=st.booleans())
    def resend(self, pick: int, same: bool) -> None:
        """Send an event again, as it was or with another body."""
        known = chosen([each for each in self.model.events.values() if each.corrects is None], pick)
        sent = event(known.id, known.customer, known.occurred_at.isoformat(), known.tokens + (not same))
        (outcome,) = self.tell(lambda company: company.ingest([sent], self.now.isoformat()))
        assert outcome.status.value == ("duplicate" if same else "conflict")

    @precondition(lambda self: self.model.events)
    @rule(pick=picks, amount=tokens, hours=st.integers(-48, 48), cancels=st.booleans())
    def correct(self, pick: int, amount: int, hours: int, cancels: bool) -> None:
        """Correct or cancel an event by another one."""
        known = chosen(list(self.model.events.values()), pick)
        when = min(known.occurred_at + timedelta(hours=hours), self.now)
        name = self.next_id("")
        sent = event(name, known.customer, when.isoformat(), amount)
        sent |= {"correctssource": "test", "correctsid": f"e{known.id}"} | (
            {"cancels": True, "data": {}} if cancels else {}
        )
        (outcome,) = self.tell(lambda company: company.ingest([sent], self.now.isoformat()))
        if known.gone_since is not None:
            assert outcome.code == "already_corrected"
            return
        assert outcome.status.value == "accepted"
        known.gone_since = self.model.recorded(self.now)
        self.model.events[name] = m.Event(name, known.customer, when, known.gone_since, amount, known.id, cancels)

    @rule(customer=customers, back=st.integers(0, 60), days=st.integers(0, 40), pick=picks)
    def count(self, customer: str, back: int, days: int, pick: int) -> None:
        """Ask for usage so far, and for what it was known to be at an earlier time."""
        start = self.now - back * DAY
        end = start + days * DAY + timedelta(minutes=17)
        meter = self.prices.meter("tokens")
        for known_at in (None, FIRST + (self.now - FIRST) * (pick % 100) / 100):
            units = self.write(
                lambda uow, at=known_at: usage_of(uow, customer, meter, Period(start, end), known_at=at).units  # type: ignore[misc]
            )
            assert units == self.model.tokens(customer, start, end, known_at)

    @rule(customer=customers)
    def cost_so_far(self, customer: str) -> None:
        """Ask what a close of all months up to this one would bill, and what waits with it."""
        until = m.month_after(m.month_of(self.now))
        last = m.month_of(self.now)
        rates = FixedRate("none", Decimal(0))
        found = self.write(lambda uow: preview_invoices(uow, customer, until.date(), self.now, rates=rates))
        if last in self.closed[:-1] or (last in self.closed and not self.reopened):
            return  # The clock stands in a month that is closed: nothing is ahead of it.
        exact = sum((Fraction(each.exact) for each in found), Fraction(0))
        assert exact == self.model.next_exact(customer, last)
