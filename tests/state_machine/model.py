"""The books as a plain model: events, phases and invoices in dicts and lists, amounts as Fractions.

It works everything out from first principles and all of it every time: what is due of every month is added up anew,
an invoice is the difference to what was charged, a balance is a sum over all invoices. Nothing is taken from the
code it is compared with but the ids of documents and how a net was shared out over lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from tests.state_machine.wallets import Wallets

SEAT, SUPPORT, FIRST_TIER, BELOW, ABOVE = 10, 62, 1000, Fraction(3, 1000), Fraction(21, 10_000)
TAX_PERCENT = 19
FOREVER = datetime.max.replace(tzinfo=UTC)
_SHARE = 10**18
"""Parts of a period's amount are kept to eighteen places."""

Key = tuple[str, datetime, str, datetime]
"""Subscription, month, feature, start of the segment."""
Row = tuple[Key, Fraction]
"""What one invoice line is for, and its amount."""


def half_away(value: Fraction) -> int:
    """Round half away from zero."""
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


def month_after(start: datetime) -> datetime:
    """Return the first instant of the next month."""
    return (start + timedelta(days=32)).replace(day=1)


def month_of(instant: datetime) -> datetime:
    """Return the first instant of the month."""
    return instant.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the months from one to another."""
    while first <= last:
        yield first
        first = month_after(first)


def tier_price(units: int) -> Fraction:
    """Price tokens by two graduated tiers."""
    return min(units, FIRST_TIER) * BELOW + max(units - FIRST_TIER, 0) * ABOVE


def part(amount: Fraction, start: datetime, end: datetime, month: datetime) -> Fraction:
    """Return what of a month's amount falls into some of its days."""
    return part_of(amount, start, end, month, month_after(month))


def part_of(amount: Fraction, start: datetime, end: datetime, first: datetime, last: datetime) -> Fraction:
    """Return what of an amount for the days from `first` to `last` falls into some of them."""

    def until(instant: datetime) -> int:
        return half_away(amount * (instant - first).days / (last - first).days * _SHARE)

    return Fraction(until(end) - until(start), _SHARE)


@dataclass
class Event:
    """A usage event; `gone_since`: when the event that corrects or cancels it was recorded."""

    id: str
    customer: str
    occurred_at: datetime
    recorded_at: datetime
    tokens: int
    corrects: str | None = None
    cancels: bool = False
    gone_since: datetime | None = None

    def counts(self, known_at: datetime | None = None) -> bool:
        """Tell whether it counted, as far as was known at a time."""
        if self.cancels or (known_at is not None and self.recorded_at > known_at):
            return False
        return self.gone_since is None or (known_at is not None and self.gone_since > known_at)


@dataclass
class Phase:
    """What holds from a day on; `rule`: how the change to it is billed in the middle of a month.

    `turns`: whether it is a pause or the end of one.
    """

    start: datetime
    state: str
    seats: int
    support: bool
    rule: str = "prorated"
    turns: bool = False


def turns(phases: list[Phase]) -> list[tuple[object, ...]]:
    """Return when a subscription turns to what, up to its end, and how that is billed."""
    found: list[tuple[object, ...]] = []
    for phase in phases:
        lasting = phase.state, phase.seats, phase.support
        if not found or found[-1][:3] != lasting:
            found.append((*lasting, phase.start, phase.rule))
        if phase.state == "ended":
            break
    return found


@dataclass
class Subscription:
    """Phases in order of time, none replaced by a later one."""

    id: str
    customer: str
    start: datetime
    phases: list[Phase]

    def at(self, instant: datetime) -> Phase | None:
        """Return the phase in force."""
        found = [phase for phase in self.phases if phase.start <= instant]
        return found[-1] if found and found[-1].state != "ended" else None

    @property
    def ends_at(self) -> datetime:
        """When it ends, as known now."""
        return next((phase.start for phase in self.phases if phase.state == "ended"), FOREVER)

    def change(self, phase: Phase) -> None:
        """Let a phase replace what it overlaps; what is scheduled for later stays, but for an end.

        What is scheduled is paused, or goes on, with a pause or its end before it.
        """
        later = [] if phase.state == "ended" else [each for each in self.phases if each.start > phase.start]
        for i in range(len(later) if phase.turns else 0):
            if later[i].turns or later[i].state == "ended":
                break
            later[i] = replace(later[i], state=phase.state)
        phases = [each for each in self.phases if each.start < phase.start] + [phase, *later]
        if turns(phases) != turns(self.phases):  # Who asks for what is so already changes nothing.
            self.phases = phases

    def segments(self, month: datetime) -> list[tuple[datetime, datetime, Phase]]:
        """Return the stretches of a month in which it bills."""
        ends = [phase.start for phase in self.phases[1:]] + [FOREVER]
        found = []
        for phase, end in zip(self.phases, ends, strict=True):
            if phase.state == "ended":
                break
            start, stop = max(phase.start, month), min(end, month_after(month))
            if start < stop and phase.state == "active":
                found.append((start, stop, phase))
        return found

    def runs(self, month: datetime) -> list[tuple[datetime, datetime, list[Phase]]]:
        """Return the segments joined from a change on that is not prorated, each run with its beginning and end."""
        found: list[tuple[datetime, datetime, list[Phase]]] = []
        for start, stop, phase in self.segments(month):
            if found and found[-1][1] == start and (len(found[-1][2]) > 1 or phase.rule != "prorated"):
                found[-1] = found[-1][0], stop, [*found[-1][2], phase]
            else:
                found.append((start, stop, [phase]))
        last = self.phases[-1]
        if found and last.state == "ended" and last.rule != "prorated" and found[-1][1] == last.start:
            found[-1] = found[-1][0], month_after(month), found[-1][2]
        return found


@dataclass
class Invoice:
    """An invoice in minor units. `lines`: net and tax by line, as they were shared out; `credited` what notes took.

    `says`: what each line is for, and its amount.
    """

    id: str
    period: str
    customer: str
    charges: list[list[Row]]
    carried_in: Fraction = Fraction(0)
    carried_out: Fraction = Fraction(0)
    net: int = 0
    tax: int = 0
    settled: int = 0
    paid: int = 0
    cash: int = 0
    from_credit: int = 0
    written_off: int = 0
    state: str = "draft"
    order: int = 0
    finalise_from: datetime = FOREVER
    prepaid: dict[int | str, Fraction] = field(default_factory=dict)
    lines: dict[int, tuple[int, int]] = field(default_factory=dict)
    says: dict[int, Row] = field(default_factory=dict)
    credited: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """What it bills."""
        return [row for charge in self.charges for row in charge]

    @property
    def exact(self) -> Fraction:
        """Its exact sum."""
        return sum((amount for _, amount in self.rows), Fraction(0))

    @property
    def total(self) -> int:
        """Net and tax."""
        return self.net + self.tax

    @property
    def open(self) -> int:
        """What is not settled."""
        return self.total - self.settled

    def settle(self, minor: int) -> None:
        """Settle a part, or, negative, open it again."""
        self.settled += minor
        if self.settled >= self.total and not self.written_off:
            self.state = "paid"
        elif self.state != "uncollectible":
            self.state = "finalised"


@dataclass
class CustomerBooks:
    """One customer: charges on no invoice, what is carried, credit in minor units.

    `charged`: quantity, what was due and what was charged, by key.
    """

    charged: dict[Key, tuple[Fraction, Fraction, Fraction]] = field(default_factory=dict)
    waiting: list[list[Row]] = field(default_factory=list)
    carried: Fraction = Fraction(0)
    credit: int = 0


class Model:
    """The books of one company."""

    def __init__(self, customers: list[str], scale: int, per_minor: int) -> None:
        self.minor = Fraction(10) ** scale
        self.per_minor = per_minor
        self.wallets = Wallets()
        self.books = {customer: CustomerBooks() for customer in customers}
        self.events: dict[str, Event] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.invoices: dict[str, Invoice] = {}
        self.numbered = 0
        self.closed_at = datetime.min.replace(tzinfo=UTC)

    # Usage.

    def recorded(self, now: datetime) -> datetime:
        """Return the time of recording of what is stored: behind the last close, whatever the clock says."""
        return max(now, self.closed_at + timedelta(microseconds=1))

    def tokens(self, customer: str, start: datetime, end: datetime, known_at: datetime | None = None) -> int:
        """Add up the tokens of a stretch of time."""
        return sum(
            event.tokens
            for event in self.events.values()
            if event.customer == customer and start <= event.occurred_at < end and event.counts(known_at)
        )

    def due(self, customer: str, last: datetime) -> dict[Key, tuple[Fraction, Fraction]]:
        """Return quantity and amount by key of everything up to the month `last`, and what the next bills ahead."""
        found: dict[Key, tuple[Fraction, Fraction]] = {}
        for subscription in self.subscriptions.values():
            if subscription.customer != customer:
                continue
            for month in months(month_of(subscription.start), last):
                found |= self._due_of(subscription, month)
            ahead = month_after(last)
            if subscription.start <= ahead:
                found |= {key: value for key, value in self._due_of(subscription, ahead).items() if key[2] == "support"}
        return found

    def _due_of(self, subscription: Subscription, month: datetime) -> dict[Key, tuple[Fraction, Fraction]]:
        found: dict[Key, tuple[Fraction, Fraction]] = {}
        reached, chain_ends = 0, None
        for start, end, _ in subscription.segments(month):
            if chain_ends != start:
                reached = 0  # Tiers run on over a change, not over a pause.
            tokens = self.tokens(subscription.customer, start, end)
            found[subscription.id, month, "tokens", start] = (
                Fraction(tokens),
                tier_price(reached + tokens) - tier_price(reached),
            )
            reached, chain_ends = reached + tokens, end
        for begin, end, phases in subscription.runs(month):
            starts = [begin, *(phase.start for phase in phases[1:])]
            for feature, price in (("seats", SEAT), ("support", SUPPORT)):
                units = [phase.seats if feature == "seats" else int(phase.support) for phase in phases]
                whole = [part(Fraction(price * each), begin, end, month) for each in units]
                found[subscription.id, month, feature, begin] = Fraction(units[0]), whole[0]
                paid = [units[0], whole[0]]
                for i in range(1, len(phases)):
                    more = [each[i] - max(each[:i]) for each in (units, whole)]
                    if phases[i].rule == "whole":
                        more = [max(each, 0) for each in more]
                    elif phases[i].rule == "next_period":
                        more = [0, Fraction(0)]
                    else:
                        moves = [each[i] - each[i - 1] for each in (units, whole)]
                        back = [min(each[i] - had, 0) for each, had in zip((units, whole), paid, strict=True)]
                        more = [max(move, most) for move, most in zip(moves, back, strict=True)]
                    paid = [had + each for had, each in zip(paid, more, strict=True)]
                    quantity, amount = more
                    if phases[i].rule == "prorated":
                        amount = part_of(Fraction(amount), starts[i], end, begin, end)
                    found[subscription.id, month, feature, starts[i]] = Fraction(quantity), Fraction(amount)
        return found

    # Closing.

    def close(self, last: datetime, period: str, now: datetime, finalise_from: datetime) -> None:
        """Charge every customer up to a month, and draft what waits. Drafts get their ids from `name_drafts`."""
        self.closed_at = max([now, *(event.recorded_at for event in self.events.values())])
        for customer, books in self.books.items():
            rows, books.charged = self._to_charge(customer, self.due(customer, last))
            if rows:
                books.waiting.append(rows)
            if books.waiting:
                draft = Invoice(f"new {customer}", period, customer, books.waiting, finalise_from=finalise_from)
                self.invoices[draft.id] = draft
                books.waiting = []

    def next_exact(self, customer: str, last: datetime) -> Fraction:
        """Return the exact sum of what waits and of what a close of all up to a month would charge."""
        rows, _ = self._to_charge(customer, self.due(customer, last))
        waiting = [row for charge in self.books[customer].waiting for row in charge]
        return sum((amount for _, amount in rows + waiting), Fraction(0))

    def _to_charge(
        self, customer: str, due: dict[Key, tuple[Fraction, Fraction]]
    ) -> tuple[list[Row], dict[Key, tuple[Fraction, Fraction, Fraction]]]:
        """Return due less charged, never giving back of a feature of a month beyond what notes left, and the sums."""
        charged, rows, nothing = dict(self.books[customer].charged), [], Fraction(0)
        keys = sorted(due.keys() | charged.keys(), key=lambda key: key[3])
        for group in {key[:3] for key in keys}:
            own = [key for key in keys if key[:3] == group]
            had = sum((charged[key][2] for key in own if key in charged), nothing)
            owed = sum((due[key][1] for key in own if key in due), nothing)
            too_much = had - owed - max(had - self.credited(customer, group), nothing)
            for key in own:
                quantity, amount = due.get(key, (nothing, nothing))
                was_quantity, was_due, was = charged.get(key, (nothing, nothing, nothing))
                more = amount - was
                spared = max(min(too_much, -more), nothing)
                too_much -= spared
                if (quantity, amount) != (was_quantity, was_due) or more + spared:
                    rows.append((key, more + spared))
                charged[key] = quantity, amount, was + more + spared
        return rows, charged

    def credited(self, customer: str, group: tuple[str, datetime, str]) -> Fraction:
        """Return what notes took of a feature of a month; all but a part of a minor unit counts as all."""
        found = Fraction(0)
        for invoice in self.invoices.values():
            for line, (net, _) in invoice.credited.items():
                key, amount = invoice.says[line]
                if invoice.customer == customer and key[:3] == group and net:
                    left = amount - net / self.minor
                    found += amount if left < 1 / self.minor else net / self.minor
        return found

    def discard(self, period: str) -> None:
        """Throw the drafts of a month away; what they billed waits again."""
        for invoice in [each for each in self.invoices.values() if each.period == period and each.state == "draft"]:
            self.books[invoice.customer].waiting += invoice.charges
            del self.invoices[invoice.id]

    def name_drafts(self, ids: Mapping[str, str]) -> None:
        """Call the new drafts, by customer, by their ids."""
        for customer, invoice_id in ids.items():
            invoice = self.invoices.pop(f"new {customer}")
            invoice.id = invoice_id
            self.invoices[invoice_id] = invoice

    def drafts(self) -> list[Invoice]:
        """Return all drafts in the order in which they are finalised."""
        found = [each for each in self.invoices.values() if each.state == "draft"]
        return sorted(found, key=lambda each: (each.period, each.customer, each.id))

    def expire_credit(self, at: datetime) -> None:
        """End grants that have expired, but for those that pay a draft when it is finalised."""
        self.wallets.expire(at, [(each.customer, each.finalise_from) for each in self.drafts()])

    def finalise(self, invoice: Invoice, gross_by_feature: dict[str, int]) -> None:
        """Round, tax, and let wallets and credit pay."""
        books = self.books[invoice.customer]
        invoice.carried_in = books.carried
        invoice.net = half_away((invoice.exact + books.carried) * self.minor)
        books.carried += invoice.exact - invoice.net / self.minor
        invoice.carried_out = books.carried
        invoice.tax = half_away(Fraction(invoice.net * TAX_PERCENT, 100))
        self.numbered += 1
        invoice.order = self.numbered
        invoice.prepaid = self.wallets.pay(
            invoice.customer, gross_by_feature, invoice.total, invoice.finalise_from, self.per_minor
        )
        invoice.settle(int(sum(invoice.prepaid.values())))
        invoice.from_credit = min(books.credit, invoice.open) if invoice.total > 0 else invoice.total
        books.credit -= invoice.from_credit
        invoice.settle(invoice.from_credit)

    def void(self, invoice: Invoice) -> None:
        """Void: what it billed waits again, credit and remainder go back."""
        books = self.books[invoice.customer]
        books.credit += invoice.from_credit
        self.wallets.give_back(invoice.customer, invoice.prepaid, self.per_minor)
        books.carried -= invoice.carried_out - invoice.carried_in
        books.waiting += invoice.charges
        invoice.state, invoice.settled, invoice.from_credit = "void", 0, 0

    # Money.

    def pay(self, invoice: Invoice, minor: int) -> None:
        """Pay what is open, then what was given up, which stands again; what is too much becomes credit."""
        back = min(invoice.written_off, max(minor - max(invoice.open, 0), 0))
        invoice.written_off -= back
        invoice.settled -= back
        used = min(minor, max(invoice.open, 0))
        self.books[invoice.customer].credit += minor - used
        invoice.paid += used
        invoice.cash += minor
        invoice.settle(used)

    def credit_in(self, customer: str, minor: int) -> None:
        """Take in money: it pays what is open, oldest first."""
        self.books[customer].credit += minor
        self.spend(customer)

    def spend(self, customer: str) -> None:
        """Let credit pay what is open, oldest first."""
        books = self.books[customer]
        for invoice in sorted(self.invoices.values(), key=lambda each: (each.period, each.order)):
            used = min(books.credit, invoice.open)
            if invoice.customer == customer and invoice.state == "finalised" and used > 0:
                books.credit -= used
                invoice.from_credit += used
                invoice.settle(used)

    def creditable(self, invoice: Invoice, line: int) -> int:
        """Return the net that can still be credited of a line, looking at the invoice as a whole too.

        Of no feature of a month, and of no month of a subscription, is more given back than was billed.
        """
        left: dict[int, int] = {}
        for number, (net, _) in invoice.lines.items():
            left[number] = max(net, 0) - invoice.credited.get(number, (0, 0))[0]
            left[number] = max(min(left[number], self.stands(invoice.customer, invoice.says[number][0][:3])), 0)
        in_all = 0
        for month in {key[:2] for key, _ in invoice.says.values()}:
            of_month = sum(left[number] for number, (key, _) in invoice.says.items() if key[:2] == month)
            in_all += min(of_month, self.stands(invoice.customer, month))
        return min(left[line], max(min(in_all, invoice.net - sum(each for each, _ in invoice.credited.values())), 0))

    def stands(self, customer: str, what: tuple[object, ...]) -> int:
        """Return what is billed of all whose key begins with `what`, less what notes took, in minor units."""
        mine = [each for each in self.invoices.values() if each.customer == customer and each.state != "void"]
        found = 0
        for invoice in mine:
            for line, (net, _) in invoice.lines.items():
                if invoice.says[line][0][: len(what)] == what:
                    found += net - invoice.credited.get(line, (0, 0))[0]
        drafted = [row for invoice in mine if not invoice.lines for row in invoice.rows]
        waiting = [row for charge in self.books[customer].waiting for row in charge]
        for key, amount in drafted + waiting:
            found += half_away(amount * self.minor) if key[: len(what)] == what else 0
        return found

    def credit(self, invoice: Invoice, line: int, net: int) -> None:
        """Credit a part of a line with its tax: off what is open, the rest as credit."""
        line_net, line_tax = invoice.lines[line]
        had_net, had_tax = invoice.credited.get(line, (0, 0))
        tax = half_away(Fraction(line_tax * (had_net + net), line_net)) - had_tax
        invoice.credited[line] = had_net + net, had_tax + tax
        settled = min(net + tax, max(invoice.open, 0))
        self.books[invoice.customer].credit += net + tax - settled
        if settled:
            invoice.settle(settled)

    def refundable(self, invoice: Invoice) -> int:
        """Return what can be paid back of what was paid: what has not gone back, and stands after what was credited."""
        credited = sum(net + tax for net, tax in invoice.credited.values())
        return max(min(invoice.paid, invoice.cash, invoice.settled - invoice.written_off - credited), 0)

    def receivable(self, customer: str) -> int:
        """What a customer owes, in minor units."""
        owed = {"finalised", "paid", "uncollectible"}
        return sum(each.open for each in self.invoices.values() if each.customer == customer and each.state in owed)

    def exact_charged(self, customer: str) -> Fraction:
        """Return the exact sum of everything that was ever charged."""
        return sum((charged for _, _, charged in self.books[customer].charged.values()), Fraction(0))
