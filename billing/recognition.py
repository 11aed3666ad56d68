"""Recognition: what was billed in advance becomes revenue as its service is given, day by day, to the last unit.

What is deferred follows from what was billed, as what is billed follows from what is due (decision 20): of each stretch
billed in advance, corrections included, the part after the last close by elapsed time. A close posts the difference to
what is deferred. So nothing is recognised that is not there, however amounts were prorated and corrected. A credit note
takes off what is deferred its part of what it credits, at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing import ledger
from billing.charges import part_after
from billing.charging import Run, cutoff_of
from billing.chart_of_accounts import Account
from billing.credited import Credited, Source
from billing.months import day_after
from billing.phases import Subscription
from billing.posting_rules import Fact, Recognition, journal
from billing.rated_usage import Billed, Group, Key, Kind, RatedUsage, group_of, with_more
from billing.repositories import journals
from billing.repositories.charges import ChargeRepository
from billing.repositories.closes import CloseRepository
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.ids import bucket_of
from models.values.money import allocate, currency, from_minor, round_fraction, round_to_ledger_units
from models.values.quantity import EXACT
from pricing_engine.pricing import SHARE_DIGITS

_ZERO = Decimal(0)
_DAY = timedelta(days=1)


class Through(NamedTuple):
    """Up to when a close has recognised: the first day that it left, and what it knew."""

    until: date
    known_at: datetime


def recognise(uow: UnitOfWork, customers: Collection[str], run: Run, recorded_at: datetime) -> None:
    """Post what is deferred at the end of a run less what was: earned since, or billed ahead by this run."""
    subscriptions = SubscriptionRepository(uow).of_customers(customers)
    due = _deferred(uow, subscriptions, dict.fromkeys(customers, Through(run.until, run.known_at)))
    places = {
        _account(each.customer, each.currency, feature)
        for each in subscriptions
        for phase in each.phases
        for feature in phase.agreement.selection
    }
    stands = journals.account_states(uow, sorted(places | due.keys()))
    facts: dict[tuple[str, str], list[Fact]] = {}
    for account in sorted(stands.keys() | due.keys()):
        held = -stands[account].balance if account in stands else 0
        earned = held - due.get(account, 0)
        if earned:
            stream = (account.party, account.asset)
            facts.setdefault(stream, []).append(Recognition(*stream, account.detail, earned))
    drafts = [
        journal(f"recognise:{run.key}:{customer}/{asset}", run.effective_at, *of_stream)
        for (customer, asset), of_stream in sorted(facts.items())
    ]
    ledger.post(uow, drafts, recorded_at=recorded_at)


def recognised_through(uow: UnitOfWork, customers: Collection[str]) -> Mapping[str, Through]:
    """Return by customer the last month whose close has recognised what was billed ahead."""
    closes = CloseRepository(uow)
    posted = closes.posted()
    buckets = {customer: bucket_of(uow.tenant, customer) for customer in customers}
    through: dict[str, Through] = {}
    for month in closes.all():
        for customer, bucket in buckets.items():
            if (month.key, bucket) in posted:
                through[customer] = Through(day_after(month.key), month.known_at)
    return through


def deferred_at(uow: UnitOfWork, through: Mapping[str, Through]) -> dict[Account, int]:
    """Return by account the units not earned yet, given the last close by customer."""
    return _deferred(uow, SubscriptionRepository(uow).of_customers(list(through)), through)


def unearned(
    rows: Iterable[tuple[str, int, RatedUsage]], at: datetime, credited: Mapping[Source, Credited]
) -> dict[str, Decimal]:
    """Return by feature what of a subscription's rows, in order of the runs, is for service after an instant. Pure.

    What coupons took off a feature in a billing period counts over its stretches as they are billed by now, what notes
    took off a stretch over all of it.
    """
    stretches: dict[Key, Billed] = {}
    coupons: dict[Group, Decimal] = {}
    noted: dict[Key, Decimal] = {}
    for charge, position, row in rows:
        if row.kind is Kind.COUPON:
            coupons[group_of(row)] = EXACT.add(coupons.get(group_of(row), _ZERO), row.amount)
        else:
            stretches[row.key] = with_more(stretches.get(row.key), row, "")
        if (note := credited.get((charge, position))) is not None:
            noted[row.key] = EXACT.add(noted.get(row.key, _ZERO), from_minor(note.minor, currency(note.currency)))
    of_group: dict[Group, list[RatedUsage]] = {}
    for billed in stretches.values():
        of_group.setdefault(group_of(billed.row), []).append(billed.row)
    left: dict[str, Decimal] = {}
    for group, billed_rows in of_group.items():
        for row in _less_coupons(billed_rows, coupons.get(group, _ZERO)):
            gone = min(noted.get(row.key, _ZERO), max(row.amount, _ZERO))
            kept = replace(row, amount=EXACT.subtract(row.amount, gone))
            left[row.feature] = EXACT.add(left.get(row.feature, _ZERO), part_after(kept, at))
    return left


def _less_coupons(rows: Sequence[RatedUsage], taken: Decimal) -> Iterator[RatedUsage]:
    """Yield the rows, each with its part of what coupons took off them all, in proportion to what it is."""
    units = round_fraction(Fraction(taken) * 10**SHARE_DIGITS)
    for row, part in zip(rows, allocate(units, [max(row.amount, _ZERO) for row in rows]), strict=True):
        yield replace(row, amount=EXACT.add(row.amount, Decimal(part).scaleb(-SHARE_DIGITS, EXACT)))


def _deferred(
    uow: UnitOfWork, subscriptions: Collection[Subscription], through: Mapping[str, Through]
) -> dict[Account, int]:
    """Return by account what is deferred, never less than nothing, in ledger units."""
    since = min((each.until for each in through.values()), default=date.max)
    begin = datetime.combine(since - _DAY, time.min, tzinfo=UTC)  # In any zone.
    ahead = ChargeRepository(uow).billed_ahead([each.id for each in subscriptions], begin)
    credited = CreditNoteRepository(uow).of_charges({charge for rows in ahead.values() for charge, _, _ in rows})
    exact: dict[Account, Decimal] = {}
    for each in subscriptions:
        last = through[each.customer]
        for feature, amount in unearned(ahead.get(each.id, ()), _end_of(each, last), credited).items():
            account = _account(each.customer, each.currency, feature)
            exact[account] = EXACT.add(exact.get(account, _ZERO), amount)
    units = {account: round_to_ledger_units(amount, currency(account.asset)) for account, amount in exact.items()}
    return {account: amount for account, amount in units.items() if amount > 0}


def _end_of(subscription: Subscription, last: Through) -> datetime:
    """Return where a close ended for a subscription, in the zone that it had by then: it may have moved since."""
    known = [phase for phase in subscription.phases if phase.recorded_at <= last.known_at]
    return cutoff_of(replace(subscription, phases=tuple(known or subscription.phases[:1])), last.until)


def _account(customer: str, asset: str, feature: str) -> Account:
    return Account("deferred_revenue", asset, customer, feature)
