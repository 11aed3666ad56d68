"""Subscriptions as they are shown, and the changes that may be asked of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypedDict, cast

import msgspec

from api.schemas.invoices import InvoiceView
from api.schemas.quotes import AnchorDay, IntervalName, Selection
from billing import audit
from billing.audit import Actor
from billing.phases import Agreement, Subscription, agreement_document
from billing.previews import ChangePreview
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import (
    Change,
    SubscriptionTerms,
    Who,
    add_feature,
    agreement_on,
    billed,
    cancel,
    change_cycle,
    change_quantity,
    change_selection,
    cycle_of,
    downgrade,
    drop_feature,
    in_force,
    move_to_book,
    pause,
    record,
    resume,
    unschedule,
    upgrade,
)
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor
from models.values.period import Interval
from models.values.quantity import parse_decimal, plain
from pricing_engine.proration import MidPeriod
from pricing_engine.selection import selection_of

Action = Literal[
    "change",
    "quantity",
    "add",
    "drop",
    "upgrade",
    "downgrade",
    "move",
    "cycle",
    "pause",
    "resume",
    "cancel",
    "unschedule",
]
_TAKES: Mapping[str, frozenset[str]] = {
    "change": frozenset({"selection", "proration"}),
    "quantity": frozenset({"feature", "quantity", "proration"}),
    "add": frozenset({"feature", "quantity", "proration"}),
    "drop": frozenset({"feature", "proration"}),
    "upgrade": frozenset({"selection", "price_book", "proration"}),
    "downgrade": frozenset({"selection", "price_book"}),
    "move": frozenset({"price_book", "proration"}),
    "cycle": frozenset({"interval", "anchor_day", "minimum_spend"}),
    "pause": frozenset(),
    "resume": frozenset(),
    "cancel": frozenset({"at_period_end", "proration"}),
    "unschedule": frozenset(),
}
"""What each action takes besides the reason."""


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A change from now on, or from the start of a subscription that is to begin.

    `change` takes the whole new `selection`, as a quote does; `quantity` a `feature` and its new `quantity`; `add`
    a feature that is not chosen yet (1 if no `quantity` is said), `drop` one. `upgrade` (at once) and `downgrade` (when
    the billing period ends) take a `selection`, a `price_book` by its hash, or both; `move` goes to a `price_book`, by
    default the one in force for the customer. `cycle` bills by another `interval` or from an `anchor_day` on, without
    one by the calendar: the period is cut and bridged to the new ones; a minimum spend has to be said anew, as
    `minimum_spend`, where periods are of another length. `cancel` ends now or `at_period_end`;
    `unschedule` drops what was to come. `proration`, of all that happens at once: `prorated`, or `whole`, where what is
    added is due for the whole period and what falls gives nothing back, or `next_period`, where nothing is billed or
    given back before then.
    """

    action: Action
    selection: Selection | None = None
    feature: str | None = None
    quantity: str | None = None
    price_book: str | None = None
    interval: IntervalName | None = None
    anchor_day: AnchorDay | None = None
    minimum_spend: str | None = None
    at_period_end: bool = False
    proration: Literal["prorated", "whole", "next_period"] | None = None
    reason: str = ""


def change_of(uow: UnitOfWork, subscription: str, body: ChangeBody, who: Who) -> Change:
    """Work out the change that is asked for; nothing is written. Raises what the rules of each raise."""
    found = SubscriptionRepository(uow).get(subscription)
    for name in (
        "selection",
        "feature",
        "quantity",
        "price_book",
        "interval",
        "anchor_day",
        "minimum_spend",
        "at_period_end",
        "proration",
    ):
        given = getattr(body, name)
        if given is not None and given is not False and name not in _TAKES[body.action]:
            raise InvalidValueError(f"{body.action} takes none", field=name)
    change = _WORKED_OUT[body.action](_Asked(uow, found, body, who))
    return change if body.proration is None else billed(change, MidPeriod(body.proration))


def record_change(uow: UnitOfWork, change: Change, action: str, by: Actor) -> SubscriptionView:
    """Record a change, in the audit trail too unless it is nothing, and show the subscription. Raises ConflictError."""
    before, after = subscription_document(change.subscription), subscription_document(record(uow, change))
    if after != before:
        audit.record(uow, by, f"subscription.{action}", ("subscription", before["id"]), before=before, after=after)
    return after


class CycleView(TypedDict):
    """The billing cycle: every `interval` from the anchor, in the zone; `day`: of the month, kept in short months."""

    interval: str
    zone: str
    anchor: str
    day: int


class ProrationView(TypedDict):
    """How parts of a period count, and how this change is billed where it falls into the middle of one."""

    unit: str
    basis: str
    mid_period: str


class ThresholdsView(TypedDict):
    """Amounts at which an invoice is made within the period, and then after every further `recurring`."""

    amounts: list[str]
    recurring: str | None


class AgreementView(TypedDict):
    """What was agreed: quantities by feature, draws of adaptive prices, negotiated terms, cycle, minimum spend."""

    selection: dict[str, str]
    draws: dict[str, str]
    terms: dict[str, dict[str, Any]]
    cycle: CycleView
    proration: ProrationView
    minimum_spend: str
    thresholds: ThresholdsView


class PhaseView(TypedDict):
    """One phase: from `starts_at` on, what `action` made of the subscription, on the price book of that hash."""

    sequence: int
    starts_at: str
    state: str
    action: str
    price_book: str
    agreement: AgreementView
    actor: str
    reason: str
    recorded_at: str


class SubscriptionView(TypedDict):
    """A subscription with all its phases, oldest first."""

    id: str
    customer: str
    currency: str
    starts_at: str
    trial_ends_at: str | None
    phases: list[PhaseView]


class SubscriptionPage(TypedDict):
    """A page of subscriptions, by id."""

    items: list[SubscriptionView]
    next_cursor: str | None


class AmountView(TypedDict):
    """An amount in major units."""

    amount: str
    currency: str


class ChangePreviewView(TypedDict):
    """The next invoices without and with a change, and what it adds to them by currency."""

    before: list[InvoiceView]
    after: list[InvoiceView]
    difference: list[AmountView]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A change that is asked for, with what it is worked out from."""

    uow: UnitOfWork
    found: Subscription
    body: ChangeBody
    who: Who

    @property
    def at(self) -> datetime:
        """When it takes effect: now, or with the start where that is to come."""
        return max(self.who.recorded_at, self.found.starts_at)

    @property
    def agreement(self) -> Agreement:
        return in_force(self.found, self.at).agreement

    @property
    def book(self) -> StoredBook:
        return PriceBookRepository(self.uow).get(self.agreement.book_hash)

    @property
    def feature(self) -> str:
        if self.body.feature is None:
            raise InvalidValueError(f"is required to {self.body.action}", field="feature")
        return self.body.feature

    def quantity(self, default: str | None = None) -> Decimal:
        text = self.body.quantity or default
        if text is None:
            raise InvalidValueError(f"is required to {self.body.action}", field="quantity")
        return parse_decimal(text, "quantity")

    def selection(self, book: StoredBook) -> dict[str, Decimal] | None:
        if self.body.selection is None:
            return None
        return {key: one.quantity for key, one in selection_of(self.body.selection, book.book).items()}


def _change(asked: _Asked) -> Change:
    chosen = asked.selection(asked.book)
    if chosen is None:
        raise InvalidValueError("is required to change", field="selection")
    return change_selection(asked.found, asked.book.book, chosen, asked.at, asked.who)


def _another(asked: _Asked, work_out: Callable[..., Change]) -> Change:
    """Upgrade or downgrade: another selection, another book, or both."""
    wanted = asked.body.price_book
    if asked.body.selection is None and wanted is None:
        raise InvalidValueError(f"is required to {asked.body.action}, or a price_book", field="selection")
    book = asked.book if wanted is None else PriceBookRepository(asked.uow).get(wanted)
    chosen = asked.selection(book) or asked.agreement.selection
    agreement = agreement_on(asked.found, book.content_hash, book.book, chosen, asked.at)
    return work_out(asked.found, agreement, asked.at, asked.who)


def _move(asked: _Asked) -> Change:
    books, customer = PriceBookRepository(asked.uow), CustomerRepository(asked.uow).get(asked.found.customer)
    wanted = asked.body.price_book
    book = books.for_customer(asked.found.currency, customer.channel, asked.at) if wanted is None else books.get(wanted)
    return move_to_book(asked.found, book.content_hash, book.book, asked.at, asked.who)


def _cycle(asked: _Asked) -> Change:
    known, body = asked.agreement.cycle, asked.body
    interval = known.interval if body.interval is None else Interval(body.interval)
    terms = SubscriptionTerms(interval, body.anchor_day, known.zone.key)
    customer = CustomerRepository(asked.uow).get(asked.found.customer)
    minimum = None
    if body.minimum_spend is not None:
        minimum = parse_decimal(body.minimum_spend, "minimum_spend", minimum=Decimal(0))
    return change_cycle(asked.found, cycle_of(customer, terms, asked.at), asked.at, asked.who, minimum_spend=minimum)


_WORKED_OUT: Mapping[str, Callable[[_Asked], Change]] = {
    "change": _change,
    "quantity": lambda a: change_quantity(a.found, a.book.book, a.feature, a.quantity(), a.at, a.who),
    "add": lambda a: add_feature(a.found, a.book.book, a.feature, a.quantity("1"), a.at, a.who),
    "drop": lambda a: drop_feature(a.found, a.book.book, a.feature, a.at, a.who),
    "upgrade": lambda a: _another(a, upgrade),
    "downgrade": lambda a: _another(a, downgrade),
    "move": _move,
    "cycle": _cycle,
    "pause": lambda a: pause(a.found, a.at, a.who),
    "resume": lambda a: resume(a.found, a.at, a.who),
    "cancel": lambda a: cancel(a.found, a.at, a.who, at_period_end=a.body.at_period_end),
    "unschedule": lambda a: unschedule(a.found, a.at, a.who),
}


def difference_document(seen: ChangePreview) -> list[AmountView]:
    """Return what a change adds to the next invoices, by currency."""
    return [
        {"amount": plain(from_minor(minor, currency(code))), "currency": code}
        for code, minor in sorted(seen.difference_minor.items())
    ]


def subscription_document(subscription: Subscription) -> SubscriptionView:
    """Return a subscription with its phases, oldest first."""
    trial = subscription.trial_ends_at
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "currency": subscription.currency,
        "starts_at": subscription.starts_at.isoformat(),
        "trial_ends_at": None if trial is None else trial.isoformat(),
        "phases": [
            {
                "sequence": phase.sequence,
                "starts_at": phase.starts_at.isoformat(),
                "state": phase.state.value,
                "action": phase.action,
                "price_book": phase.agreement.book_hash,
                "agreement": cast("AgreementView", agreement_document(phase.agreement)),
                "actor": phase.actor,
                "reason": phase.reason,
                "recorded_at": phase.recorded_at.isoformat(),
            }
            for phase in subscription.phases
        ],
    }
