"""What to look at before a month is closed: what stops a close, and what only wants to be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from billing.charging import CLOCK_TOLERANCE, cutoff_of
from billing.metering.worklists import last_recorded, open_unmatched
from billing.months import day_after, first_day
from billing.phases import Subscription
from billing.repositories.closes import CloseRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.tax import STANDARD, BuiltInRates, TaxRates
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError
from pricing_engine.price_book import PriceBook

_SHOWN_UNMATCHED = 1_000
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One item of the checklist. An item that is not `passed` and `blocks` stops the close.

    `value`: what `detail` is about, for those who say it in another language.
    """

    name: str
    passed: bool
    blocks: bool
    detail: str
    value: str


def checklist(uow: UnitOfWork, key: str, now: datetime) -> tuple[Check, ...]:
    """Return what to look at before a month is closed, with the built-in tax rates."""
    return checks_of(uow, key, now, last_recorded(uow))


def checks_of(
    uow: UnitOfWork,
    key: str,
    now: datetime,
    latest: datetime | None,
    rates: TaxRates | None = None,
    issued_on: date | None = None,
) -> tuple[Check, ...]:
    """Return the checklist of a close that knows events up to `latest` and makes invoices of a date at some rates."""
    repository = CloseRepository(uow)
    subscriptions = SubscriptionRepository(uow)
    until = day_after(key)
    every = subscriptions.of_customers(subscriptions.customers())
    last = max((cutoff_of(each, until) for each in every), default=_midnight(until))
    unmatched = len(open_unmatched(uow, limit=_SHOWN_UNMATCHED))
    months = repository.all()
    earlier = [month.key for month in months if month.key < key and month.state != "closed"]
    later = [month.key for month in months if month.key > key]
    drafts = InvoiceRepository(uow).drafts_due(now)
    untaxed = _without_rate(uow, every, _midnight(first_day(key)), rates or BuiltInRates(), issued_on or until)
    return (
        _check("the month is over everywhere", last.isoformat(), "ends at {}", passed=now >= last),
        _clocks_agree(latest, now),
        _check("earlier months are closed", ", ".join(earlier), passed=not earlier),
        _check("no later month was closed", ", ".join(later), passed=not later),
        _check("tax rates are known", _named(untaxed), passed=not untaxed),
        _check("every event is matched", str(unmatched), "{} unmatched events", passed=not unmatched, blocks=False),
        _check("no draft waits to be finalised", str(len(drafts)), "{} drafts", passed=not drafts, blocks=False),
    )


def _check(name: str, value: str, said: str = "{}", *, passed: bool, blocks: bool = True) -> Check:
    return Check(name, passed, blocks, said.format(value) if value else "", value)


def _clocks_agree(latest: datetime | None, now: datetime) -> Check:
    """Small differences between machines' clocks are allowed for; a clock that is days ahead is put right first."""
    value = "" if latest is None else latest.isoformat()
    agree = latest is None or latest <= now + CLOCK_TOLERANCE
    return _check("clocks agree", value, "the last event was recorded at {}", passed=agree)


def _without_rate(
    uow: UnitOfWork, subscriptions: Sequence[Subscription], since: datetime, rates: TaxRates, on: date
) -> list[str]:
    """Return, as customer and what is lacking, who would bear for time after `since` a tax of an unknown rate."""
    customers = CustomerRepository(uow).many({each.customer for each in subscriptions})
    sellers = {entity.key: entity for entity in CustomerRepository(uow).legal_entities()}
    books: dict[str, PriceBook] = {}
    categories: dict[str, set[str]] = {}
    for subscription in subscriptions:
        for stretch in [each for each in subscription.stretches() if each.period.end > since]:
            agreement = stretch.phase.agreement
            if agreement.book_hash not in books:
                books[agreement.book_hash] = PriceBookRepository(uow).get(agreement.book_hash).book
            chosen = {books[agreement.book_hash].feature(key).tax_category for key in agreement.selection}
            categories.setdefault(subscription.customer, set()).update(chosen or {STANDARD})
    lacking = []
    for key in sorted(categories):
        for category in sorted(categories[key]):
            try:
                rates.rate(category, customers[key], sellers[customers[key].legal_entity], on)
            except NotFoundError as error:
                lacking.append(f"{key}: {error.value}")
    return lacking


def _named(lacking: Sequence[str]) -> str:
    rest = len(lacking) - _NAMED
    return ", ".join([*lacking[:_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
