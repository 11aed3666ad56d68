"""Random histories of a company, told to the real books and to the model, compared after every step.

Several companies may be driven side by side, each on a database of its own: they have to answer alike, and in the end
to give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing import holds, ledger, wallets
from billing.books_checks import BOOKS_CHECKS
from billing.burn_down import Grant, GrantKind
from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.exports.register import documents, write_headers, write_lines
from billing.invoices import InvoiceState
from billing.invoicing import finalise, give_up, void
from billing.ledger import AsKnown
from billing.ledger_checks import CHECKS
from billing.metering.live_usage import usage_of
from billing.previews import preview_invoices
from billing.quotes import QuoteRequest, accept_quote, create_quote
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.settlements import Money, grant_customer_credit, pay, refund
from billing.subscriptions import (
    Change,
    SubscriptionTerms,
    Who,
    cancel,
    change_selection,
    pause,
    record,
    resume,
    start_from_quote,
)
from billing.tax import FixedRate
from billing.unit_of_work import UnitOfWork
from billing.verification import trial_balance, verify
from billing.wallets import BurnRequest, Wallet
from models.values.errors import DomainError
from models.values.money import currency
from models.values.period import Period
from tests.billing_story import Company, event
from tests.state_machine import model as m
from tests.state_machine.wallets import Grant as ModelGrant

CUSTOMERS = ["acme", "bolt"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(minutes=1)
T = TypeVar("T")

customers = st.sampled_from(CUSTOMERS)
seats = st.integers(1, 4)
tokens = st.one_of(st.integers(0, 2_000), st.integers(0, 20).map(lambda each: each * 500))
shares = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(3, 2)])
picks = st.integers(0, 10**6)
WALLET_ACCOUNTS = (("wallet", "", "paid"), ("units_held", "promo:", "promotional"))
OWED = ("finalised", "paid", "uncollectible")


def chosen(of: Sequence[T], pick: int) -> T:
    """Choose one of several."""
    return of[pick % len(of)]


def book(code: str) -> dict[str, Any]:
    """The price book that `model` knows by heart."""
    return {
        "key": "gateway", "version": 1, "currency": code, "effective_from": "2020-01-01T00:00:00Z",
        "meters": [{"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"}],
        "features": [
            {"key": "tokens", "name": "Tokens", "kind": "metered", "meter": "tokens",
             "tariff": {"model": "graduated", "tiers": [
                 {"up_to": "1000", "unit_amount": "0.003"}, {"up_to": None, "unit_amount": "0.0021"}]}},
            {"key": "seats", "name": "Seats", "kind": "quantity", "tariff": {"model": "unit", "unit_amount": "10"}},
            {"key": "support", "name": "Support", "kind": "switch", "billed": "advance",
             "tariff": {"model": "flat", "amount": "62"}},
        ],
    }  # fmt: skip


class Books(RuleBasedStateMachine):
    """A company's history. `open_companies` says where its books are kept."""

    open_companies: Callable[[], Sequence[Company]]

    def __init__(self) -> None:
        super().__init__()
        self.companies = type(self).open_companies()
        self.now = FIRST + timedelta(hours=9)
        self.counter = 0
        self.closed: list[datetime] = []
        self.reopened = False
        self.known: list[tuple[datetime, dict[Account, int]]] = []

    # Telling.

    def tell(self, act: Callable[[Company], T]) -> T:
        """Do the same in every company; all answer alike."""
        self.now += TICK
        first, *others = [act(company) for company in self.companies]
        assert all(other == first for other in others)
        return first

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Do work in a transaction of every company."""

        def act(company: Company) -> T:
            with company.database.writing(company.tenant) as uow:
                return work(uow)

        return self.tell(act)

    def refusal(self, work: Callable[[UnitOfWork], object]) -> str | None:
        """Do work that may be refused; return the code of the refusal."""

        def act(company: Company) -> str | None:
            try:
                with company.database.writing(company.tenant) as uow:
                    work(uow)
            except DomainError as error:
                return error.code
            return None

        return self.tell(act)

    def next_id(self, prefix: str) -> str:
        """Return an id that was not used."""
        self.counter += 1
        return f"{prefix}{self.counter}"

    def issued(self, *states: str) -> list[m.Invoice]:
        """Return the invoices in one of some states, in the order of their numbers."""
        return sorted((each for each in self.model.invoices.values() if each.state in states), key=lambda x: x.order)

    @initialize(code=st.sampled_from(["USD", "KRW", "BHD"]))
    def found(self, code: str) -> None:
        """Set the company up, each customer with one subscription."""
        self.money = currency(code)
        self.model = m.Model(CUSTOMERS, self.money.exponent, self.money.units_per_minor)
        for company in self.companies:
            company.rates = FixedRate("vat", Decimal(m.TAX_PERCENT))
            company.found(*CUSTOMERS, currency=code)
        self.book_hash = self.tell(lambda company: company.publish(book(code)))
        self.prices = self.write(lambda uow: PriceBookRepository(uow).get(self.book_hash).book)
        for customer in CUSTOMERS:
            for wallet in (
                Wallet(f"{customer}-any", customer, code, priority=1),
                Wallet(f"{customer}-tokens", customer, code, features=("tokens",)),
            ):
                self.write(lambda uow, each=wallet: wallets.open_wallet(uow, each, recorded_at=self.now))  # type: ignore[misc]
        self.quote("acme", 2, True)
        self.quote("bolt", 1, False)

    # Usage.

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
        """Ask what a close of all months up to this one would bill."""
        until = m.month_after(m.month_of(self.now))
        last = m.month_of(self.now)
        rates = FixedRate("none", Decimal(0))
        found = self.write(lambda uow: preview_invoices(uow, customer, until.date(), self.now, rates=rates))
        if last in self.closed[:-1] or (last in self.closed and not self.reopened):
            return  # The clock stands in a month that is closed: nothing is ahead of it.
        due = sum((amount for _, amount in self.model.due(customer, last).values()), Fraction(0))
        exact = sum((Fraction(each.exact) for each in found), Fraction(0))
        assert exact == due - self.model.exact_charged(customer)

    # Subscriptions.

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
    @rule(pick=picks, quantity=seats, support=st.booleans(), days=st.integers(-35, 10))
    def change(self, pick: int, quantity: int, support: bool, days: int) -> None:
        """Change seats and support from a day on, which may be past or still to come."""
        subscription, at, _ = self._running(pick, days)
        selection = {"tokens": Decimal(1), "seats": Decimal(quantity), **({"support": Decimal(1)} if support else {})}
        self._record(subscription, lambda found: change_selection(found, self.prices, selection, at, Who(self.now)))
        subscription.change(m.Phase(at, "active", quantity, support))

    @precondition(lambda self: self.running())
    @rule(pick=picks, days=st.integers(-35, 10))
    def pause_or_resume(self, pick: int, days: int) -> None:
        """Pause what runs, resume what is paused."""
        subscription, at, in_force = self._running(pick, days)
        is_paused = in_force.state == "paused"
        self._record(subscription, lambda found: (resume if is_paused else pause)(found, at, Who(self.now)))
        state = "active" if is_paused else "paused"
        subscription.change(m.Phase(at, state, in_force.seats, in_force.support))

    @precondition(lambda self: len(self.running()) > 1)
    @rule(pick=picks, days=st.integers(-10, 10), at_end=st.booleans())
    def cancel(self, pick: int, days: int, at_end: bool) -> None:
        """Cancel on a day, or with the month that holds it."""
        subscription, at, in_force = self._running(pick, days)
        self._record(subscription, lambda found: cancel(found, at, Who(self.now), at_period_end=at_end))
        ends = m.month_after(m.month_of(at)) if at_end else at
        subscription.change(m.Phase(ends, "ended", in_force.seats, in_force.support))

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

    # Closing and invoices.

    @rule(days=st.integers(1, 20))
    def move_clock(self, days: int) -> None:
        """Let days pass."""
        self.now += days * DAY

    @rule(grace=st.sampled_from([0, 0, 3]))
    def close(self, grace: int) -> None:
        """Close the next month, once it is over; and again, which does nothing."""
        month = self.closed[-1] if self.reopened else (m.month_after(self.closed[-1]) if self.closed else FIRST)
        self.now = max(self.now, m.month_after(month) + timedelta(hours=1))
        period = f"{month:%Y-%m}"
        self.tell(lambda company: company.close(period, self.now.isoformat(), grace_days=grace).was_closed)
        self.model.wallets.expire_holds(self.now)
        self.model.wallets.expire(self.now)
        self.model.close(month, period, self.now, self.now + grace * DAY)
        self.model.name_drafts(self._drafts(period))
        if not self.reopened:
            self.closed.append(month)
        self.reopened = False
        if not grace:
            for invoice in [each for each in self.model.drafts() if each.period == period]:
                self._finalised(invoice)
        assert self.tell(lambda company: company.close(period, self.now.isoformat()).was_closed)
        balances = self.write(lambda uow: ledger.balances(uow))
        self.known.append((self.now, balances))

    def _drafts(self, period: str) -> dict[str, str]:
        """Return the new invoices of a month by customer."""

        def find(uow: UnitOfWork) -> dict[str, str]:
            repository = InvoiceRepository(uow)
            found = [each for each in repository.many(repository.of_period(period))]
            return {each.customer: each.id for each in found if each.id not in self.model.invoices}

        return self.write(find)

    def _finalised(self, invoice: m.Invoice) -> None:
        found = self.write(lambda uow: InvoiceRepository(uow).get(invoice.id))
        invoice.lines = {line.line: (line.net_minor, line.tax_minor) for line in found.lines}
        gross: dict[str, int] = {}
        for line in found.lines:
            gross[line.feature] = gross.get(line.feature, 0) + line.net_minor + line.tax_minor
        self.model.finalise(invoice, {feature: max(minor, 0) for feature, minor in gross.items()})

    @precondition(lambda self: self.closed and not self.reopened)
    @rule()
    def reopen(self) -> None:
        """Open the last month again."""
        self.write(lambda uow: reopen(uow, f"{self.closed[-1]:%Y-%m}", "something was wrong", "ann", self.now).state)
        self.reopened = True
        self.model.closed_at = max(self.model.closed_at, self.now)

    @precondition(lambda self: self.model.drafts())
    @rule()
    def issue(self) -> None:
        """Finalise the drafts whose grace period is over."""
        self.now += 3 * DAY
        drafts = self.model.drafts()
        self.write(
            lambda uow: [each.id for each in finalise(uow, InvoiceRepository(uow).drafts_due(self.now), self.now)]
        )
        for draft in drafts:
            self._finalised(draft)

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks)
    def void(self, pick: int) -> None:
        """Void an invoice, where that is allowed."""
        invoice = chosen(self.issued(*OWED), pick)
        code = self.refusal(lambda uow: void(uow, invoice.id, "wrong", self.now))
        touched = invoice.paid or invoice.written_off or invoice.credited
        allowed: set[str | None] = {"invoice_not_voidable"} if touched else {None, "invoice_corrected"}
        if self.model.books[invoice.customer].credit + invoice.from_credit < 0:
            allowed = allowed - {None} | {"insufficient_balance"}  # The credit it gave is spent.
        assert code in allowed
        if code is None:
            self.model.void(invoice)

    @precondition(lambda self: self.issued("finalised"))
    @rule(pick=picks)
    def write_off(self, pick: int) -> None:
        """Give up what is open."""
        invoice = chosen(self.issued("finalised"), pick)
        self.write(lambda uow: give_up(uow, invoice.id, self.now).state)
        invoice.written_off += invoice.open
        invoice.settled, invoice.state = invoice.total, "uncollectible"

    # Money.

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, share=shares)
    def pay(self, pick: int, share: Fraction) -> None:
        """Pay an invoice: all, a part, or too much; the same payment twice counts once."""
        invoice = chosen(self.issued(*OWED), pick)
        minor = max(m.half_away(max(invoice.open, invoice.written_off) * share), 1)
        money = Money(self.next_id("p"), minor, self.now)
        for _ in range(2):
            self.write(lambda uow: pay(uow, invoice.id, money, self.now).settled_minor)
        self.model.pay(invoice, minor)

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, share=shares, reopens=st.booleans())
    def refund(self, pick: int, share: Fraction, reopens: bool) -> None:
        """Pay money back: of an invoice, which is open again, or out of credit."""
        invoice = chosen(self.issued(*OWED), pick)
        books = self.model.books[invoice.customer]
        most = invoice.paid if reopens else books.credit
        minor = max(m.half_away(most * share), 1)
        money = Money(self.next_id("r"), minor, self.now)
        code = self.refusal(lambda uow: refund(uow, invoice.id, money, self.now, reopens=reopens))
        if minor > most:
            assert code == ("refund_above_paid" if reopens else "insufficient_balance")
            return
        assert code is None
        if reopens:
            invoice.paid -= minor
            invoice.settle(-minor)
        else:
            books.credit -= minor

    @precondition(lambda self: self.issued(*OWED))
    @rule(pick=picks, line=picks, share=shares)
    def credit(self, pick: int, line: int, share: Fraction) -> None:
        """Credit a part of a line, at most what is left of it."""
        invoice = chosen(self.issued(*OWED), pick)
        number = 1 + line % len(invoice.lines)
        left = self.model.creditable(invoice, number)
        net = max(m.half_away(left * share), 1)
        request = CreditRequest(self.next_id("c"), invoice.id, "complaint", self.now.date(), {number: net})
        code = self.refusal(lambda uow: issue_credit_note(uow, request, self.now))
        if net > left or invoice.state == "uncollectible":
            assert code == "not_creditable"
            return
        assert code is None
        self.model.credit(invoice, number, net)

    @rule(customer=customers, minor=st.integers(1, 20_000))
    def take_in(self, customer: str, minor: int) -> None:
        """Take in money for no invoice in particular."""
        money = Money(self.next_id("t"), minor, self.now)
        self.write(lambda uow: len(grant_customer_credit(uow, customer, self.money.code, money, self.now)))
        self.model.credit_in(customer, minor)

    # Wallets.

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
        self.model.wallets.burn(customer, parts)

    @rule()
    def expire(self) -> None:
        """End what has expired."""
        self.write(lambda uow: len(wallets.expire_credit(uow, at=self.now, recorded_at=self.now)))
        self.model.wallets.expire(self.now)

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
        self.model.wallets.burn(hold.customer, parts)

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

    # What always holds.

    @invariant()
    def invoices_are_the_models(self) -> None:
        """Every invoice has the state and the amounts that the model gives it."""
        for company in self.companies:
            with company.database.reading(company.tenant) as uow:
                repository = InvoiceRepository(uow)
                found = [each for customer in CUSTOMERS for each in repository.of_customer(customer)]
            assert {each.id for each in found} == set(self.model.invoices)
            for each in found:
                mine = self.model.invoices[each.id]
                assert (each.state.value, Fraction(each.exact)) == (mine.state, mine.exact)
                assert sorted(Fraction(line.exact) for line in each.lines) == sorted(amount for _, amount in mine.rows)
                if each.state is not InvoiceState.DRAFT:
                    assert (each.net_minor, each.tax_minor, each.settled_minor) == (mine.net, mine.tax, mine.settled)
                    carried = Fraction(each.carried_in), Fraction(each.carried_out)
                    assert carried == (mine.carried_in, mine.carried_out)

    @invariant()
    def the_ledger_is_the_models(self) -> None:
        """Balances are what the model says; nothing rounds away; the ledger verifies."""
        for company in self.companies:
            with company.database.reading(company.tenant) as uow:
                balances = ledger.balances(uow)
                assert all(sum(codes.values()) == 0 for codes in trial_balance(uow).values())
                assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
            for customer in CUSTOMERS:
                self._compare(customer, balances)

    def _compare(self, customer: str, balances: Mapping[Account, int]) -> None:
        """Compare one customer's accounts: what was invoiced, carried and not yet invoiced is all that was due."""
        stands = {
            code: balances.get(Account(code, self.money.code, customer), 0)
            for code in ("receivable", "customer_credit", "remainder", "unbilled", "prepaid_usage")
        }
        units = self.money.units_per_minor
        assert stands["receivable"] == self.model.receivable(customer) * units
        assert stands["customer_credit"] == -self.model.books[customer].credit * units
        assert stands["prepaid_usage"] == -self.model.wallets.used.get(customer, 0)
        for wallet in (f"{customer}-any", f"{customer}-tokens"):
            for code, asset, kind in WALLET_ACCOUNTS:
                account = Account(code, asset + self.money.code, customer, wallet)
                assert balances.get(account, 0) == -self.model.wallets.held_in(customer, wallet, kind)
        invoiced = sum(each.net for each in self.issued(*OWED) if each.customer == customer)
        posted = invoiced * units + stands["remainder"] + stands["unbilled"]
        assert abs(self.model.exact_charged(customer) * self.model.minor * units - posted) <= Fraction(1, 2)

    @precondition(lambda self: self.known)
    @rule(pick=picks)
    def look_back(self, pick: int) -> None:
        """What was known at the time of a close is known to have been known."""
        at, then = chosen(self.known, pick)
        assert self.write(lambda uow: ledger.balances(uow, AsKnown(recorded_until=at))) == then

    def teardown(self) -> None:
        """The register is the same in every company, byte for byte."""

        def register(company: Company) -> bytes:
            with company.database.reading(company.tenant) as uow:
                writers = (write_headers, write_lines)
                return b"".join(chunk for write in writers for chunk in write(documents(uow), "jsonl"))

        try:
            self.tell(register)
        finally:
            for company in self.companies:
                company.database.close()
