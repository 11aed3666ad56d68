"""Charging: from what is on record of some customers to what they owe, as charge drafts. Reads, writes nothing.

A run looks at every billing period that ended since the last one, at the current one for what is billed in advance,
and again at older ones where a late event or a change in the past may have moved what is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple

from billing.charges import ChargeDraft
from billing.coupon_discounts import HeldCoupon, TakenBefore, Turn, apply_held_coupons
from billing.coupons import held_coupons, taken_before
from billing.measured_usage import Measured, UsageMeasurer, Window
from billing.metered_features import windows_of
from billing.metering.history import EventReader, effective_events, in_batches
from billing.metering.live_usage import usage_of
from billing.metering.worklists import Late, unsettled_late
from billing.period_rating import rate_period, scope_of
from billing.phases import CyclePeriod, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import Billed, Key, RatedUsage, Scope, differences
from billing.repositories.charges import ChargeRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.canonical_json import content_hash
from models.values.period import Period, local_midnight
from models.values.quantity import plain

_MOMENT = timedelta(microseconds=1)
_ZONES_APART = timedelta(hours=27)
"""How much earlier a day may begin in one zone than in another, at most."""
CLOCK_TOLERANCE = timedelta(days=1)
"""How far clocks of machines that record things may be apart."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run over some customers.

    `until`: the first day that is not billed, local to each subscription. `since`: the same of the last run before,
    None where there was none. `known_at`: events recorded later stay out; `known_before`: that of the last run.
    `interim_at`: bill only usage before that instant that no close has billed; `since` is that of the last close begun.
    `again`: look at the month as its close did, without what was billed for it, or recorded, since; coupons are left
    to the caller. `live`: all that is stored counts, whatever the clock that recorded it said; usage is read from the
    running totals, in milliseconds.
    """

    key: str
    kind: str
    period: str
    until: date
    since: date | None
    known_at: datetime
    known_before: datetime | None
    effective_at: datetime
    interim_at: datetime | None = None
    again: bool = False
    live: bool = False


class Charged(NamedTuple):
    """What a run found for some customers: charges, the late events they settle, and a hash of what was looked at."""

    drafts: tuple[ChargeDraft, ...]
    late: tuple[Late, ...]
    input_hash: str


@dataclass(slots=True)
class _Plan:
    """What has to be rated of one subscription: all that begins from `since` on, where a billing period begins.

    What was billed of it and is not due any more is taken back; an interim plan only adds.
    """

    subscription: Subscription
    since: datetime
    cutoff: datetime
    periods: list[tuple[CyclePeriod, Scope]] = field(default_factory=list)
    is_interim: bool = False


def charge_customers(
    uow: UnitOfWork,
    customers: Sequence[str],
    run: Run,
    *,
    instead: Mapping[str, Subscription] | None = None,
    source: PriceSource | None = None,
    events: EventReader = effective_events,
) -> Charged:
    """Work out what `customers` owe; one customer's events are held at a time, and of those only sums.

    `instead`: subscriptions by id as they would be, or were; one without a phase is left out. `source`: the prices
    these stand on, where they are not on record. `events`: where usage is read, the database unless given.
    """
    settled_from = run.period if run.again else None
    waiting = unsettled_late(uow, customers=customers, settled_from=settled_from)
    late = [each for each in waiting if run.live or each.recorded_at <= run.known_at]
    if run.interim_at is not None:
        late = []  # They wait for the close, which looks at what is behind.
    subscriptions: dict[str, list[Subscription]] = {}
    for subscription in known_subscriptions(uow, customers, run):
        as_it_would_be = (instead or {}).get(subscription.id, subscription)
        if as_it_would_be.phases:
            subscriptions.setdefault(subscription.customer, []).append(as_it_would_be)
    source = source or price_source(uow, [each for own in subscriptions.values() for each in own])
    plans = {
        customer: [_plan(each, run, [one for one in late if one.customer == customer]) for each in own]
        for customer, own in sorted(subscriptions.items())
    }
    billed = _billed(uow, plans, run)
    with_coupons = not run.again
    held = held_coupons(uow, list(plans), run.effective_at) if with_coupons else {}
    drafts: list[ChargeDraft] = []
    seen: list[object] = [run.key, run.until.isoformat()]
    for customer, own_plans in plans.items():
        measured = _measure(uow, customer, own_plans, source, run, events)
        rows = _rate(own_plans, source, measured, billed)
        before = taken_before(uow, rows) if with_coupons else {}
        drafts += _drafts(customer, own_plans, rows, run, held.get(customer, ()), before)
        seen.append([customer, *(_fingerprint(key, one) for key, one in sorted(measured.items()))])
    seen.append([[draft.id, plain(draft.exact)] for draft in drafts])
    return Charged(tuple(drafts), tuple(late), content_hash(seen))  # type: ignore[arg-type]


def known_subscriptions(uow: UnitOfWork, customers: Sequence[str], run: Run) -> list[Subscription]:
    """Return the subscriptions of some customers as the run knows them."""
    found = SubscriptionRepository(uow).of_customers(customers)
    if not run.again:
        return found
    known = [(each, tuple(phase for phase in each.phases if phase.recorded_at <= run.known_at)) for each in found]
    return [replace(each, phases=phases) for each, phases in known if phases]


def cutoff_of(subscription: Subscription, until: date) -> datetime:
    """Return the first instant of a day in the zone that the subscription has by then."""
    for stretch in subscription.stretches():
        cutoff = local_midnight(until, stretch.phase.agreement.cycle.zone)
        if cutoff <= stretch.period.end:
            return cutoff
    return local_midnight(until, subscription.in_force()[-1].agreement.cycle.zone)


def billed_through(subscription: Subscription, until: date) -> datetime:
    """Return up to when a run until that day bills all usage of a subscription: the end of its last whole period."""
    cutoff = cutoff_of(subscription, until)
    through = subscription.starts_at
    for cycle in subscription.cycle_periods(Period(min(subscription.starts_at, cutoff), cutoff)):
        if cycle.ends_at <= cutoff:
            through = cycle.ends_at
    return through


def price_source(uow: UnitOfWork, subscriptions: Sequence[Subscription]) -> PriceSource:
    """Load the price books and sheets that some subscriptions stand on."""
    books = PriceBookRepository(uow)
    agreements = [phase.agreement for each in subscriptions for phase in each.phases]
    hashes = {agreement.book_hash for agreement in agreements}
    sheets = {agreement.sheet_hash for agreement in agreements if agreement.sheet_hash is not None}
    return PriceSource(
        {each: books.get(each).compiled for each in sorted(hashes)},
        {each: books.sheet(each).sheet for each in sorted(sheets)},
    )


def _plan(subscription: Subscription, run: Run, late: Sequence[Late]) -> _Plan:
    """Say which billing periods a run looks at."""
    if run.interim_at is not None:
        return _interim_plan(subscription, run, run.interim_at)
    cutoff = cutoff_of(subscription, run.until)
    since = subscription.starts_at if run.since is None else _since(subscription, run.since)
    if run.known_before is not None:
        # From the moment before: what ended with a change is what it moved, and lies in the period before it. What
        # was looked at before is looked at again, which finds nothing, rather than missed for a clock that runs behind.
        seen = run.known_before - CLOCK_TOLERANCE
        moved = [phase.starts_at - _MOMENT for phase in subscription.phases if phase.recorded_at > seen]
        since = min([since, *moved])
    since = min([since, *(each.occurred_at for each in late)])
    plan = _Plan(subscription, since, cutoff)
    if since <= cutoff:
        for cycle in subscription.cycle_periods(Period(since, cutoff + _MOMENT)):
            plan.periods.append((cycle, scope_of(cycle, cutoff)))
    # After a change of the cycle a period may hold shorter ones that were billed: they count against it.
    plan.since = min([since, *(cycle.span.start for cycle, _ in plan.periods)])
    return plan


def _since(subscription: Subscription, day: date) -> datetime:
    """Return up to when the run before billed; earlier where it may have been told another zone, since dropped."""
    zones = {phase.agreement.cycle.zone for phase in subscription.phases}
    return cutoff_of(subscription, day) - (_ZONES_APART if len(zones) > 1 else timedelta(0))


def _interim_plan(subscription: Subscription, run: Run, at: datetime) -> _Plan:
    """Look at every period before `at` but those that a close bills, or billed, to their end."""
    plan = _Plan(subscription, at, at, is_interim=True)
    closed = subscription.starts_at if run.since is None else cutoff_of(subscription, run.since)
    for cycle in subscription.cycle_periods(Period(min(closed, at - _MOMENT), at)):
        if run.since is None or cycle.ends_at > closed:
            plan.since = min(plan.since, cycle.span.start)  # Its full period may begin in one that was billed.
            plan.periods.append((cycle, Scope.INTERIM))
    return plan


def _measure(
    uow: UnitOfWork, customer: str, plans: Sequence[_Plan], source: PriceSource, run: Run, events: EventReader
) -> dict[tuple[str, Window], Measured]:
    """Measure every window the plans need: in one pass over the customer's events, or live from their totals."""
    wanted: dict[str, set[Window]] = {}
    for plan in plans:
        for cycle, scope in plan.periods:
            for book, window in windows_of(cycle, source, scope, plan.cutoff):
                wanted.setdefault(book, set()).add(window)
    if run.live:
        return {
            (book, window): usage_of(
                uow,
                customer,
                source.books[book].book.meter(window.meter),
                Period(window.start, window.end),
                by_event=window.by_event,
            )
            for book, windows in sorted(wanted.items())
            for window in sorted(windows)
        }
    measurers = {
        book: UsageMeasurer({meter.key: meter for meter in source.books[book].book.meters}, windows)
        for book, windows in sorted(wanted.items())
    }
    spans: dict[str, Period] = {}
    for measurer in measurers.values():
        for event_type, span in measurer.spans().items():
            known = spans.get(event_type, span)
            spans[event_type] = Period(min(known.start, span.start), max(known.end, span.end))
    for event_type, span in sorted(spans.items()):
        found = events(uow, customer=customer, event_type=event_type, period=span, known_at=run.known_at)
        for some in in_batches(found):
            for measurer in measurers.values():
                measurer.add(some)
    return {
        (book, window): measured
        for book, measurer in measurers.items()
        for window, measured in measurer.measured().items()
    }


def _billed(uow: UnitOfWork, plans: Mapping[str, Sequence[_Plan]], run: Run) -> dict[str, dict[Key, Billed]]:
    """Return, by subscription, what was billed of the billing periods in the plans, and of later ones."""
    flat = [plan for own in plans.values() for plan in own]
    if not flat:
        return {}
    since = min(plan.since for plan in flat)
    before = run.period if run.again else None
    known = run.known_at if run.again else None
    subscriptions = [plan.subscription.id for plan in flat]
    return ChargeRepository(uow).billed(subscriptions, since, before_period=before, credited_until=known)


def _rate(
    plans: Sequence[_Plan],
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
    billed_by: Mapping[str, Mapping[Key, Billed]],
) -> list[RatedUsage]:
    """Return what is due less what was billed, subscription by subscription."""
    rows: list[RatedUsage] = []
    for plan in plans:
        billed = billed_by.get(plan.subscription.id, {})
        due: list[RatedUsage] = []
        for cycle, scope in plan.periods:
            due += rate_period(plan.subscription, cycle, source, measured, scope, plan.cutoff)
        rows += differences(due, billed, dict(_in_question(plan, billed)))
    return rows


def _in_question(plan: _Plan, billed: Mapping[Key, Billed]) -> Iterator[tuple[Key, Billed]]:
    """Yield what was billed and has to be taken back unless it is still due.

    In a period that goes on only what is billed in advance is looked at; outside every period nothing is due.
    """
    if plan.is_interim:
        return
    for key, earlier in billed.items():
        if key.segment_start < plan.since and earlier.row.cycle.end <= plan.since:
            continue
        scope = next((scope for cycle, scope in plan.periods if key.segment_start in cycle.span), None)
        if scope is None and _ended_before(plan, key.segment_start):
            continue
        if scope is Scope.FINAL or scope is None or earlier.row.in_advance:
            yield key, earlier


def _ended_before(plan: _Plan, instant: datetime) -> bool:
    """Whether the billing period of an instant ended, with its subscription or cycle, before the plan begins."""
    periods = plan.subscription.cycle_periods(Period(instant, instant + _MOMENT))
    return any(cycle.ends_at <= plan.since for cycle in periods)


def _drafts(
    customer: str,
    plans: Sequence[_Plan],
    rows: Sequence[RatedUsage],
    run: Run,
    held: Sequence[HeldCoupon],
    before: Mapping[Turn, TakenBefore],
) -> Iterator[ChargeDraft]:
    """Yield one charge a currency, its coupons applied."""
    currencies = {plan.subscription.id: plan.subscription.currency for plan in plans}
    by_currency: dict[str, list[RatedUsage]] = {}
    for row in rows:
        by_currency.setdefault(currencies[row.subscription or ""], []).append(row)
    for asset in sorted(by_currency):
        of_asset = [plan for plan in plans if plan.subscription.currency == asset]
        charge = f"{run.key}/{customer}/{asset}"
        discounted, uses = apply_held_coupons(by_currency[asset], held, asset, before)
        yield ChargeDraft(
            id=charge,
            customer=customer,
            currency=asset,
            kind=run.kind,
            period=run.period,
            known_at=run.known_at,
            cutoff=max(plan.cutoff for plan in of_asset),
            effective_at=run.effective_at,
            rows=tuple(discounted),
            coupons=uses,
        )


def _fingerprint(key: tuple[str, Window], measured: Measured) -> list[object]:
    book, window = key
    return [book, window.meter, window.start.isoformat(), window.end.isoformat(), plain(measured.units)]
