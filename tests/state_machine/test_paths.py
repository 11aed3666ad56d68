"""One story told in two ways: what is billed in the end is the same.

One company is told everything in time and bills at the close of each month alone. To the other, usage comes late,
twice, or wrong at first; changes are recorded after the fact; invoices are made at thresholds in between,
left as drafts for some days or void; months are opened again, and previews looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.books_checks import BOOKS_CHECKS
from billing.closing import reopen
from billing.coupons import define_coupon, grant_coupon
from billing.database import Database
from billing.invoices import InvoiceState
from billing.invoicing import finalise, void
from billing.ledger_checks import CHECKS
from billing.phases import PhaseState, Subscription, Thresholds
from billing.previews import month_end, preview_invoices
from billing.progressive import bill_thresholds
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import (
    Change,
    Who,
    billed,
    cancel,
    change_cycle,
    change_selection,
    in_force,
    move_to_book,
    pause,
    resume,
)
from billing.verification import verify
from models.values.errors import DomainError
from models.values.period import BillingCycle, Interval
from models.values.quantity import EXACT
from pricing_engine.coupons import parse_coupon
from pricing_engine.price_book import PriceBook
from pricing_engine.proration import MidPeriod
from tests.billing_story import BOOK, NO_TAX, Company, event, make
from tests.postgres_server import PostgresServer

ZONES = ["UTC", "Asia/Seoul", "America/New_York"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MONTHS = [date(2026, month, 1) for month in range(1, 8)]
"""Those that are closed, each when the next one begins; the story ends in May."""
ENDS = 125
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NONE = Decimal(0)
SOLD: dict[str, Any] = {
    **BOOK,
    "meters": [
        *BOOK["meters"],
        {"key": "peak", "event_type": "llm.request", "aggregation": "max", "value_property": "tokens"},
        {"key": "models", "event_type": "llm.request", "aggregation": "unique_count", "value_property": "model"},
        {"key": "level", "event_type": "llm.request", "aggregation": "latest", "value_property": "tokens"},
    ],
    "features": [
        *BOOK["features"],
        *(
            {
                "key": key,
                "name": key.title(),
                "kind": "metered",
                "meter": key,
                "tariff": {"model": "unit", "unit_amount": "0.07"},
            }
            for key in ("peak", "models", "level")
        ),
    ],
}
"""What is sold: also by the highest value, the last one, and the number of different ones."""
DEARER: dict[str, Any] = {
    **SOLD,
    "version": 2,
    "features": [
        {**each, "tariff": {"model": "unit", "unit_amount": "13"}} if each["key"] == "seats" else each
        for each in SOLD["features"]
    ],
}


@dataclass(frozen=True)
class Turn:
    """A change of the subscription on a day; `late`: days after which the second company is told of it."""

    day: int
    what: str
    seats: int
    rule: MidPeriod
    cycle: BillingCycle
    late: int


@dataclass(frozen=True)
class Use:
    """Usage at an hour; `late`: days after which the second company is told of it; `how`: as it is, twice, wrong."""

    hour: int
    tokens: int
    model: str
    late: int
    how: str


@dataclass(frozen=True)
class Story:
    """A subscription from a day in January to May."""

    starts: int
    cycle: BillingCycle
    selection: dict[str, str]
    minimum: Decimal
    percent_off: str
    covers: list[str]
    thresholds: Thresholds
    looks: list[int]
    voids: list[int]
    grace: list[int]
    reopened: set[int]
    turns: list[Turn]
    uses: list[Use]


@st.composite
def cycles(draw: st.DrawFn) -> BillingCycle:
    """Cycles of any length but a day, of the calendar or with a day of their own."""
    interval = draw(st.sampled_from([each for each in Interval if each is not Interval.DAY]))
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    if draw(st.booleans()):
        return BillingCycle.calendar(interval, zone)
    day = draw(st.integers(1, 31))
    if interval is Interval.WEEK:
        return BillingCycle.anniversary(interval, zone, FIRST + day * DAY)
    return BillingCycle.on_day(interval, zone, day, FIRST)


def turns() -> st.SearchStrategy[Turn]:
    """Changes from February on, where every subscription has begun."""
    return st.builds(
        Turn,
        day=st.integers(31, ENDS - 5),
        what=st.sampled_from(["seats", "support", "sso", "pause", "cycle", "book"]),
        seats=st.integers(1, 4),
        rule=st.sampled_from(MidPeriod),
        cycle=cycles(),
        late=st.sampled_from([0, 0, 3, 40]),
    )


def uses() -> st.SearchStrategy[Use]:
    """Usage from before the subscription begins to after its end."""
    return st.builds(
        Use,
        hour=st.integers(0, (ENDS + 3) * 24),
        tokens=st.integers(0, 3_000),
        model=st.sampled_from(["large", "small", "tiny"]),
        late=st.sampled_from([0, 0, 1, 35, 60]),
        how=st.sampled_from(["so", "so", "twice", "wrong"]),
    )


amounts = st.integers(1, 400).map(lambda cents: Decimal(cents) / 100)
stories = st.builds(
    Story,
    starts=st.integers(0, 30),
    cycle=cycles(),
    selection=st.fixed_dictionaries(
        {"tokens": st.just("1500")},
        optional={
            "peak": st.just("0"),
            "models": st.just("0"),
            "level": st.just("0"),
            "seats": st.sampled_from(["1", "3"]),
            "sso": st.just("1"),
            "support": st.just("1"),
        },
    ),
    minimum=st.sampled_from([NONE, NONE, Decimal(25)]),
    percent_off=st.sampled_from(["", "50", "33"]),
    covers=st.sampled_from([[], ["sso", "tokens"]]),
    thresholds=st.builds(
        Thresholds, st.lists(amounts, max_size=2, unique=True).map(lambda each: tuple(sorted(each))), amounts
    ),
    looks=st.lists(st.integers(1, ENDS), max_size=8),
    voids=st.lists(st.integers(31, ENDS + 30), max_size=3),
    grace=st.lists(st.sampled_from([0, 0, 3]), min_size=len(MONTHS), max_size=len(MONTHS)),
    reopened=st.sets(st.integers(0, len(MONTHS) - 2), max_size=2),
    turns=st.lists(turns(), max_size=4).map(lambda each: sorted(each, key=lambda turn: turn.day)),
    uses=st.lists(uses(), max_size=12),
)

Act = Callable[[Company, datetime], object]
Opening = Callable[[], AbstractContextManager[Company]]


def in_time(story: Story) -> list[tuple[datetime, Act]]:
    """Return what the first company is told, and when."""
    acts: list[tuple[datetime, Act]] = [(closed_at(month), close(month)) for month in MONTHS]
    acts += [(day(turn.day), turned(turn)) for turn in story.turns]
    acts += [(day(ENDS), ended)]
    acts += [(used_at(use) + HOUR, used(number, use)) for number, use in enumerate(story.uses)]
    return acts


def otherwise(story: Story) -> list[tuple[datetime, Act]]:
    """Return what the second company is told, and when."""
    acts = [(closed_at(month), close(month, grace)) for month, grace in zip(MONTHS, story.grace, strict=True)]
    acts += [(closed_at(month) + 4 * DAY, issue) for month in MONTHS]
    told = FIRST
    for turn in story.turns:  # In the same order: what a change does depends on what stands already.
        told = max(told, day(turn.day + turn.late))
        acts.append((told, turned(turn)))
    acts.append((max(told, day(ENDS)), ended))
    for number, use in enumerate(story.uses):
        at = used_at(use) + use.late * DAY + HOUR
        first = replace(use, tokens=use.tokens + 777) if use.how == "wrong" else use
        acts.append((at, used(number, first)))
        if use.how == "wrong":
            acts.append((at + 20 * DAY, corrected(number, use)))
        elif use.how == "twice":
            acts.append((at + 20 * DAY, used(number, use)))
    acts += [(day(each) + 5 * HOUR, looked) for each in story.looks]
    acts += [(day(each) + 6 * HOUR, voided) for each in story.voids]
    for number in story.reopened:
        at = closed_at(MONTHS[number]) + 2 * DAY
        acts += [(at, opened_again(MONTHS[number])), (at + DAY, close(MONTHS[number]))]
    return acts


def day(number: int) -> datetime:
    return FIRST + number * DAY


def used_at(use: Use) -> datetime:
    return FIRST + use.hour * HOUR


def closed_at(month: date) -> datetime:
    return (
        datetime.combine(month_end(datetime(month.year, month.month, 1, tzinfo=UTC)), datetime.min.time(), UTC)
        + 15 * HOUR
    )


def close(month: date, grace: int = 0) -> Act:
    return lambda company, now: company.close(f"{month:%Y-%m}", now.isoformat(), grace_days=grace)


def issue(company: Company, now: datetime) -> None:
    with company.database.writing(company.tenant) as uow:
        finalise(uow, InvoiceRepository(uow).drafts_due(now), now)


def voided(company: Company, now: datetime) -> None:
    """Void the last invoice, where that is allowed: what it billed waits for the next one."""
    issued = [each for each in company.invoices("acme") if each.state is InvoiceState.FINALISED]
    for invoice in issued[-1:]:
        try:
            with company.database.writing(company.tenant) as uow:
                void(uow, invoice.id, "wrong", now)
        except DomainError as refusal:
            assert refusal.code in {"invoice_not_voidable", "invoice_corrected", "credit_spent"}  # noqa: PT017


def opened_again(month: date) -> Act:
    def act(company: Company, now: datetime) -> None:
        with company.database.writing(company.tenant) as uow:
            reopen(uow, f"{month:%Y-%m}", "something was wrong", "ann", now)

    return act


def turned(turn: Turn) -> Act:
    def act(company: Company, now: datetime) -> None:
        with company.database.reading(company.tenant) as uow:
            repository = PriceBookRepository(uow)
            hashes = [each.content_hash for each in repository.releases(SOLD["key"])]
            books = {each: repository.get(each).book for each in hashes}
        make(company, change_of(turn, company.subscription("sub-acme"), books, Who(now)))

    return act


def change_of(turn: Turn, subscription: Subscription, books: Mapping[str, PriceBook], who: Who) -> Change:
    """Work a change out: switches, pauses and books go the other way each time."""
    at = day(turn.day)
    phase = in_force(subscription, at)
    if turn.what == "cycle":
        return change_cycle(subscription, turn.cycle, at, who, minimum_spend=phase.agreement.minimum_spend)
    if turn.what == "pause":
        return (resume if phase.state is PhaseState.PAUSED else pause)(subscription, at, who)
    if turn.what == "book":
        other = next(each for each in books if each != phase.agreement.book_hash)
        return move_to_book(subscription, other, books[other], at, who)
    chosen = dict(phase.agreement.selection)
    if turn.what == "seats":
        chosen["seats"] = Decimal(turn.seats)
    elif chosen.pop(turn.what, None) is None:
        chosen[turn.what] = Decimal(1)
    return billed(change_selection(subscription, books[phase.agreement.book_hash], chosen, at, who), turn.rule)


def ended(company: Company, now: datetime) -> None:
    make(company, cancel(company.subscription("sub-acme"), day(ENDS), Who(now)))


def used(number: int, use: Use) -> Act:
    sent = event(number, "acme", used_at(use).isoformat(), use.tokens, model=use.model)
    return lambda company, now: company.ingest([sent], now.isoformat())


def corrected(number: int, use: Use) -> Act:
    sent = event(f"{number}-right", "acme", used_at(use).isoformat(), use.tokens, model=use.model)
    sent |= {"correctssource": "test", "correctsid": f"e{number}"}
    return lambda company, now: company.ingest([sent], now.isoformat())


def looked(company: Company, now: datetime) -> None:
    """Look at the next invoices, which changes nothing, and make one where a threshold is reached."""
    with company.database.reading(company.tenant) as uow:
        preview_invoices(uow, "acme", month_end(now), now, rates=NO_TAX)
    with company.database.writing(company.tenant) as uow:
        bill_thresholds(uow, "acme", now, now, NO_TAX)


@dataclass
class Billed:
    """What was billed by feature, exactly, and by how many lines."""

    by_feature: dict[str, Decimal]
    lines: int

    def is_like(self, other: Billed, *, discounted: bool) -> bool:
        """Whether the same was billed, but for what a coupon rounds: a part of a minor unit a line."""
        allowed = Decimal(self.lines + other.lines) / 100 if discounted else NONE
        return all(
            abs(self.by_feature.get(feature, NONE) - other.by_feature.get(feature, NONE)) <= allowed
            for feature in self.by_feature.keys() | other.by_feature.keys()
        )


def told(company: Company, story: Story, acts: list[tuple[datetime, Act]], thresholds: Thresholds) -> Billed:
    """Tell a company the story in the order of time; return what it billed in the end."""
    company.found("acme")
    if story.percent_off:
        terms = {"percent_off": story.percent_off, "duration": "forever"}
        coupon = parse_coupon({"key": "off", **terms, **({"features": story.covers} if story.covers else {})})
        with company.database.writing(company.tenant) as uow:
            define_coupon(uow, coupon, None, FIRST)
            grant_coupon(uow, "acme", "off", FIRST, FIRST)
    book_hash = [company.publish(document) for document in (DEARER, SOLD)][-1]
    company.subscribe(
        "acme",
        book_hash,
        story.selection,
        day(story.starts).isoformat(),
        cycle=story.cycle,
        minimum_spend=story.minimum,
        thresholds=thresholds,
    )
    for at, act in sorted(acts, key=lambda each: each[0]):
        act(company, at)
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
    found = Billed({}, 0)
    for invoice in company.invoices("acme"):
        if invoice.state is InvoiceState.VOID:
            continue
        for line in invoice.lines:
            found.by_feature[line.feature] = EXACT.add(found.by_feature.get(line.feature, NONE), line.exact)
            found.lines += 1
    found.by_feature = {feature: amount for feature, amount in found.by_feature.items() if amount}
    return found


def tell_both(count: int, one: Opening, other: Opening) -> None:
    """Tell some stories, always the same ones, to two companies."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(story=stories)
    def tell(story: Story) -> None:
        with one() as plain, other() as crooked:
            billed = told(plain, story, in_time(story), Thresholds((), None))
            again = told(crooked, story, otherwise(story), story.thresholds)
        assert again.is_like(billed, discounted=bool(story.percent_off))

    tell()


@pytest.fixture
def on_sqlite(sqlite_template: Path, tmp_path: Path) -> Opening:
    """Open a company on a fresh SQLite file."""

    @contextmanager
    def opened() -> Iterator[Company]:
        path = tmp_path / f"{uuid4().hex}.db"
        shutil.copy(sqlite_template, path)
        with closing(Database(f"sqlite:///{path}")) as database:
            yield Company(database)
        path.unlink()

    return opened


@pytest.fixture
def on_postgres(postgres_server: PostgresServer) -> Opening:
    """Open a company on a fresh PostgreSQL database."""

    @contextmanager
    def opened() -> Iterator[Company]:
        with postgres_server.database() as url, closing(Database(url)) as database:
            yield Company(database)

    return opened


def test_both_ways_bill_the_same(on_sqlite: Opening) -> None:
    tell_both(12, on_sqlite, on_sqlite)


@pytest.mark.postgres
@pytest.mark.torture
def test_many_stories_bill_the_same_on_both_databases(on_sqlite: Opening, on_postgres: Opening) -> None:
    tell_both(300, on_sqlite, on_postgres)
