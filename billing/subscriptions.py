"""Subscriptions at work: started from an accepted quote, changed, paused, moved, ended. Each change is one phase more.

A change is worked out first (`Change`, pure: look at it, preview what it bills with `billing.previews`), then
recorded with `record`. Nothing is ever edited: a change of mind is the next phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from zoneinfo import ZoneInfo

from billing.customers import Customer
from billing.phases import NO_THRESHOLDS, Agreement, Phase, PhaseState, Subscription, Thresholds
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import StoredQuote
from billing.repositories.subscriptions import SubscriptionRepository
from billing.supply import keep_units
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import subscription_changed
from billing.webhooks.events import announce
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import check_external_id
from models.values.period import BillingCycle, Interval, Period, as_utc, parse_zone
from models.values.quantity import plain
from pricing_engine.catalog import FeatureKind
from pricing_engine.price_book import PriceBook
from pricing_engine.proration import MidPeriod, trial_end
from pricing_engine.quote_document import QUOTE_KIND, read_quote
from pricing_engine.sealing import open_sealed
from pricing_engine.selection import selection_of

_MOMENT = timedelta(microseconds=1)
_TURNS = frozenset({"pause", "resume"})
_MAY_BE_UNPRORATED = frozenset({"change", "upgrade", "move", "cancel"})


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """How a subscription is billed, besides what the quote says.

    `anchor_day` None: calendar periods. `zone` None: the customer's. `trial_days`: switches and quantities are free
    until then, counted in local days.
    """

    interval: Interval = Interval.MONTH
    anchor_day: int | None = None
    zone: str | None = None
    trial_days: int = 0
    minimum_spend: Decimal = Decimal(0)
    thresholds: Thresholds = NO_THRESHOLDS


@dataclass(frozen=True, slots=True)
class Change:
    """Phases to be recorded, with what they were worked out from: the change, and what stays scheduled after it."""

    subscription: Subscription
    phases: tuple[Phase, ...]

    @property
    def outcome(self) -> Subscription:
        """The subscription as it will be."""
        return replace(self.subscription, phases=self.subscription.phases + self.phases)

    @property
    def is_nothing(self) -> bool:
        """Whether all stays as it is, as where a change is asked for that was made: who tries again adds no phase."""
        return self.outcome.course() == self.subscription.course()


def start_from_quote(
    uow: UnitOfWork,
    quote: StoredQuote,
    starts_at: datetime,
    recorded_at: datetime,
    terms: SubscriptionTerms | None = None,
    *,
    subscription_id: str | None = None,
    actor: str = "",
) -> Subscription:
    """Start the subscription of an accepted quote, on its price-book version, prices and negotiated terms.

    The id defaults to the quote's, so that a quote starts one subscription: again it is answered with that one.
    Raises RuleBrokenError for a quote that is not accepted.
    """
    if quote.state != "accepted":
        raise RuleBrokenError("must be accepted first", field="quote", value=quote.id, code="quote_not_accepted")
    facts = read_quote(open_sealed(quote.sealed, QUOTE_KIND))
    terms = terms or SubscriptionTerms()
    agreement = replace(
        agreed(
            quote.book_hash,
            {key: one.quantity for key, one in facts.selection.items()},
            cycle_of(CustomerRepository(uow).get(quote.customer), terms, starts_at),
            terms,
        ),
        sheet_hash=quote.sheet_hash,
        quote_id=quote.id,
        draws=facts.draws,
        terms=facts.terms,
    )
    return start(
        uow,
        subscription_id or quote.id,
        quote.customer,
        quote.currency,
        agreement,
        starts_at,
        recorded_at,
        trial_days=terms.trial_days,
        actor=actor,
    )


def agreed(
    book_hash: str, selection: Mapping[str, Decimal], cycle: BillingCycle, terms: SubscriptionTerms
) -> Agreement:
    """Return a plain agreement at list prices."""
    return Agreement(
        book_hash=book_hash,
        selection=selection,
        cycle=cycle,
        minimum_spend=terms.minimum_spend,
        thresholds=terms.thresholds,
    )


def start(
    uow: UnitOfWork,
    subscription_id: str,
    customer: str,
    currency: str,
    agreement: Agreement,
    starts_at: datetime,
    recorded_at: datetime,
    *,
    trial_days: int = 0,
    actor: str = "",
) -> Subscription:
    """Start a subscription; the same id again with the same facts, by whomever, is answered with what is there.

    Raises InvalidValueError (another currency than the book's), ConflictError (the id is another subscription's),
    SoldOutError where fewer units of a limited feature are left.
    """
    check_external_id(subscription_id, "subscription")
    CustomerRepository(uow).get(customer)
    book = PriceBookRepository(uow).get(agreement.book_hash).book
    if currency != book.currency:
        raise InvalidValueError(
            f"the price book is in {book.currency}", field="currency", value=currency, code="wrong_currency"
        )
    starts_at = as_utc(starts_at, "starts_at")
    trial = trial_end(starts_at, trial_days, agreement.cycle.zone) if trial_days else None
    first = Phase(1, starts_at, PhaseState.ACTIVE, "start", agreement, actor=actor, recorded_at=recorded_at)
    wanted = Subscription(subscription_id, customer, currency, starts_at, trial, (first,))
    repository = SubscriptionRepository(uow)
    known = repository.find(subscription_id)
    if known is None:
        if repository.add(wanted, recorded_at):
            keep_units(uow, wanted, recorded_at, from_quote=agreement.quote_id is not None)
            announce(uow, [subscription_changed(wanted, first)], recorded_at)
            return wanted
        known = repository.get(subscription_id)  # Somebody else started it since we looked.
    same = replace(known, phases=(replace(known.phases[0], actor=actor, recorded_at=recorded_at),))
    if same != wanted:
        raise ConflictError(
            "is another subscription", field="subscription", value=subscription_id, code="subscription_exists"
        )
    return known


def record(uow: UnitOfWork, change: Change) -> Subscription:
    """Record a change, unless it is nothing.

    Raises ConflictError where the subscription was changed since it was worked out, SoldOutError where fewer units of a
    limited feature are left.
    """
    repository = SubscriptionRepository(uow)
    repository.lock(change.subscription.id)
    now = repository.get(change.subscription.id)
    if len(now.phases) != len(change.subscription.phases):
        raise ConflictError(
            "was changed meanwhile; look again",
            field="subscription",
            value=change.subscription.id,
            code="subscription_changed",
        )
    if change.is_nothing:
        return now
    for phase in change.phases:
        repository.add_phase(change.subscription.id, phase)
        announce(uow, [subscription_changed(change.outcome, phase)], phase.recorded_at)
    keep_units(uow, change.outcome, change.phases[0].recorded_at)
    return change.outcome


def cycle_of(customer: Customer, terms: SubscriptionTerms, starts_at: datetime) -> BillingCycle:
    """Return the billing cycle that a customer's terms come to. Pure."""
    zone: ZoneInfo = parse_zone(terms.zone or customer.zone)
    if terms.anchor_day is None:
        return BillingCycle.calendar(terms.interval, zone)
    return BillingCycle.on_day(terms.interval, zone, terms.anchor_day, starts_at)


# Changes: pure.


@dataclass(frozen=True, slots=True)
class Who:
    """Who changes a subscription, why, and when it is recorded."""

    recorded_at: datetime
    actor: str = ""
    reason: str = ""


def change_selection(
    subscription: Subscription, book: PriceBook, selection: Mapping[str, Decimal], at: datetime, who: Who
) -> Change:
    """Return the change to another selection from `at` on: other quantities, features added or dropped.

    Raises SelectionRefusedError and the like where the catalog's rules refuse it.
    """
    chosen = selection_of({key: plain(quantity) for key, quantity in selection.items()}, book)
    agreement = replace(
        in_force(subscription, at).agreement, selection={key: one.quantity for key, one in chosen.items()}
    )
    return _change(subscription, "change", agreement, at, who)


def change_quantity(
    subscription: Subscription, book: PriceBook, feature: str, quantity: Decimal, at: datetime, who: Who
) -> Change:
    """Return the change of one feature's quantity. Raises InvalidValueError for one that is not a quantity."""
    agreement = in_force(subscription, at).agreement
    if book.feature(feature).kind is not FeatureKind.QUANTITY or feature not in agreement.selection:
        raise InvalidValueError("is no quantity of this subscription", field="feature", value=feature)
    return change_selection(subscription, book, {**agreement.selection, feature: quantity}, at, who)


def add_feature(
    subscription: Subscription, book: PriceBook, feature: str, quantity: Decimal, at: datetime, who: Who
) -> Change:
    """Return the change that adds a feature. Raises InvalidValueError for one that is chosen already."""
    agreement = in_force(subscription, at).agreement
    if feature in agreement.selection:
        raise InvalidValueError(
            "is chosen already: change its quantity", field="feature", value=feature, code="feature_already_chosen"
        )
    return change_selection(subscription, book, {**agreement.selection, feature: quantity}, at, who)


def drop_feature(subscription: Subscription, book: PriceBook, feature: str, at: datetime, who: Who) -> Change:
    """Return the change that drops a feature, together with all that requires it."""
    agreement = in_force(subscription, at).agreement
    if feature not in agreement.selection:
        raise InvalidValueError("is not chosen", field="feature", value=feature)
    gone = book.dropped_with(feature, agreement.selection)
    kept = {key: quantity for key, quantity in agreement.selection.items() if key not in gone}
    return change_selection(subscription, book, kept, at, who)


def upgrade(subscription: Subscription, agreement: Agreement, at: datetime, who: Who) -> Change:
    """Return the change to another agreement at once; what of the old one was billed ahead is credited."""
    return _change(subscription, "upgrade", agreement, at, who)


def downgrade(subscription: Subscription, agreement: Agreement, at: datetime, who: Who) -> Change:
    """Return the change to another agreement at the end of the billing period that holds `at`."""
    return _change(subscription, "downgrade", agreement, period_end(subscription, at), who)


def move_to_book(subscription: Subscription, book_hash: str, book: PriceBook, at: datetime, who: Who) -> Change:
    """Return the move to another price-book version at list prices; negotiated terms go along.

    Raises SelectionRefusedError or NotFoundError where the new book does not sell the selection.
    """
    old = in_force(subscription, at).agreement
    moved = agreement_on(subscription, book_hash, book, old.selection, at)
    return _change(
        subscription, "move", replace(moved, selection=old.selection, sheet_hash=None, quote_id=None, draws={}), at, who
    )


def agreement_on(
    subscription: Subscription, book_hash: str, book: PriceBook, selection: Mapping[str, Decimal], at: datetime
) -> Agreement:
    """Return the agreement in force with another selection, or on another book: at its list prices, terms going along.

    Raises SelectionRefusedError or NotFoundError where the book does not sell the selection.
    """
    old = in_force(subscription, at).agreement
    chosen = selection_of({key: plain(quantity) for key, quantity in selection.items()}, book)
    if book.currency != subscription.currency:
        raise InvalidValueError(
            f"the subscription is in {subscription.currency}",
            field="price_book",
            value=book.currency,
            code="wrong_currency",
        )
    agreement = replace(old, selection={key: one.quantity for key, one in chosen.items()})
    if book_hash == old.book_hash:
        return agreement
    return replace(agreement, book_hash=book_hash, sheet_hash=None, quote_id=None, draws={})


def change_cycle(
    subscription: Subscription, cycle: BillingCycle, at: datetime, who: Who, *, minimum_spend: Decimal | None = None
) -> Change:
    """Return the change of the billing cycle: the period is cut at `at`, and bridged to the new anchor.

    What is scheduled behind it in the same cycle, a downgrade at period end, goes on in the new one.
    Raises InvalidValueError where there is a minimum spend and the new periods are of another length, unless it is said
    what the minimum is from then on: it is of a full period, and nobody agreed on that of a year by that of a month.
    """
    old = in_force(subscription, at).agreement
    if minimum_spend is None and old.minimum_spend and cycle.interval is not old.cycle.interval:
        raise InvalidValueError(
            f"is {plain(old.minimum_spend)} a {old.cycle.interval}: say what it is a {cycle.interval}",
            field="minimum_spend",
            code="minimum_spend_required",
        )
    minimum = old.minimum_spend if minimum_spend is None else minimum_spend
    change = _change(subscription, "cycle", replace(old, cycle=cycle, minimum_spend=minimum), at, who)
    first, *scheduled = change.phases
    was = old.cycle, old.minimum_spend
    along = list(takewhile(lambda each: (each.agreement.cycle, each.agreement.minimum_spend) == was, scheduled))
    moved = [replace(each, agreement=replace(each.agreement, cycle=cycle, minimum_spend=minimum)) for each in along]
    return replace(change, phases=(first, *moved, *scheduled[len(along) :]))


def pause(subscription: Subscription, at: datetime, who: Who) -> Change:
    """Return the pause from `at` on: nothing is billed until it is resumed."""
    return _change(subscription, "pause", in_force(subscription, at).agreement, at, who, PhaseState.PAUSED)


def resume(subscription: Subscription, at: datetime, who: Who) -> Change:
    """Return the end of a pause. Raises RuleBrokenError where there is none."""
    phase = in_force(subscription, at)
    if phase.state is not PhaseState.PAUSED:
        raise RuleBrokenError("is not paused", field="subscription", value=subscription.id, code="not_paused")
    return _change(subscription, "resume", phase.agreement, at, who, PhaseState.ACTIVE)


def cancel(subscription: Subscription, at: datetime, who: Who, *, at_period_end: bool = False) -> Change:
    """Return the end of the subscription: now, or with the billing period that holds `at`."""
    phase = in_force(subscription, at)
    ends_at = period_end(subscription, at) if at_period_end else at
    return _change(subscription, "cancel", phase.agreement, ends_at, who, PhaseState.ENDED)


def unschedule(subscription: Subscription, at: datetime, who: Who) -> Change:
    """Return the change that drops whatever is scheduled after `at`: a cancellation or downgrade at period end."""
    phase = in_force(subscription, at)
    return _change(subscription, "unschedule", phase.agreement, at, who, keep_schedule=False)


def billed(change: Change, rule: MidPeriod) -> Change:
    """Return the change, billed by another rule where it falls into the middle of a period; see `MidPeriod`.

    An end that is not prorated leaves switches and quantities due to the end of their period. Usage is not concerned.
    Raises InvalidValueError for what always cuts the period: a pause and its end, another billing cycle.
    """
    first, *scheduled = change.phases
    before = change.subscription.phase_at(first.starts_at)
    same_cycle = before is None or before.agreement.cycle == first.agreement.cycle
    if rule is not MidPeriod.PRORATED and (first.action not in _MAY_BE_UNPRORATED or not same_cycle):
        raise InvalidValueError(
            "a pause, its end and another cycle are always prorated",
            field="proration",
            value=rule,
            code="always_prorated",
        )
    return replace(change, phases=(replace(first, agreement=replace(first.agreement, mid_period=rule)), *scheduled))


def period_end(subscription: Subscription, at: datetime) -> datetime:
    """Return the end of the billing period that holds `at`."""
    return next(iter(subscription.cycle_periods(Period(at, at + _MOMENT)))).span.end


def _change(
    subscription: Subscription,
    action: str,
    agreement: Agreement,
    at: datetime,
    who: Who,
    state: PhaseState | None = None,
    *,
    keep_schedule: bool = True,
) -> Change:
    """Return a change, what is scheduled behind it. Without a `state` it is paused where it was, and runs where it ran.

    A pause and its end count for what is scheduled up to the next of either.
    """
    at = as_utc(at, "at")
    before = in_force(subscription, at - _MOMENT if at == subscription.ends_at and state is PhaseState.ENDED else at)
    state, turns = state or before.state, state in {PhaseState.ACTIVE, PhaseState.PAUSED}
    agreement = replace(agreement, mid_period=MidPeriod.PRORATED)
    last = subscription.phases[-1].sequence
    first = Phase(last + 1, at, state, action, agreement, who.reason, who.actor, who.recorded_at)
    if state is PhaseState.ENDED or not keep_schedule:
        return Change(subscription, (first,))
    scheduled = []
    for i, phase in enumerate(phase for phase in subscription.in_force() if phase.starts_at > at):
        turns = turns and phase.action not in _TURNS and phase.state is not PhaseState.ENDED
        again = replace(phase, sequence=last + 2 + i, recorded_at=who.recorded_at)
        scheduled.append(replace(again, state=state) if turns else again)
    return Change(subscription, (first, *scheduled))


def in_force(subscription: Subscription, at: datetime) -> Phase:
    """Return the phase in force. Raises RuleBrokenError before the start and after the end."""
    phase = subscription.phase_at(as_utc(at, "at"))
    if phase is None:
        raise RuleBrokenError(
            "is not running at that time", field="subscription", value=subscription.id, code="subscription_not_running"
        )
    return phase
