"""For the same facts the invoice is the quote, line by line; and a period cut into parts is the whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from billing.invoice_rounding import round_lines
from billing.measured_usage import Measured, Window
from billing.metered_features import windows_of
from billing.parts import part_of
from billing.period_rating import rate_period
from billing.phases import Agreement, CyclePeriod, Phase, PhaseState, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import Billed, RatedUsage, Scope, differences
from models.values.period import BillingCycle, Interval, Period, parse_zone
from models.values.quantity import EXACT
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import list_price_sheet
from pricing_engine.quoting import CompiledBook, QuoteFacts, price_quote
from pricing_engine.selection import Chosen
from tests.strategies.price_books import books_and_selections

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
MONTH = Period(START, END)
CYCLE = BillingCycle.calendar(Interval.MONTH, parse_zone("UTC"))


def subscribed(book_hash: str, selection: Mapping[str, Decimal], *cuts: datetime) -> Subscription:
    """A subscription to one selection, recorded anew at each cut without any change."""
    agreement = Agreement(book_hash=book_hash, selection=selection, cycle=CYCLE)
    phases = tuple(
        Phase(number, at, PhaseState.ACTIVE, "start", agreement) for number, at in enumerate((START, *cuts), start=1)
    )
    return Subscription("s", "c", "USD", START, None, phases)


def billed(book: PriceBook, chosen: Mapping[str, Chosen], *cuts: datetime) -> list[RatedUsage]:
    """Rate January, all usage on its first day."""
    source = PriceSource({"h": CompiledBook(book)}, {})
    selection = {key: one.quantity for key, one in chosen.items()}
    subscription = subscribed("h", selection, *cuts)
    (cycle,) = list(subscription.cycle_periods(MONTH))
    measured: dict[tuple[str, Window], Measured] = {}
    meters = {feature.key: feature.meter for feature in book.features}
    for name, window in windows_of(cycle, source, Scope.FINAL, END):
        units = next(selection[key] for key in selection if meters[key] == window.meter)
        measured[name, window] = Measured(units, int(bool(units)), (((), units),), ((START, units),))
    return rate_period(subscription, cycle, source, measured, Scope.FINAL, END)


@st.composite
def sold(draw: st.DrawFn) -> tuple[PriceBook, dict[str, Chosen]]:
    """A book and a selection; features of one meter see the same usage, as they would."""
    book, chosen = draw(books_and_selections())
    metered = {feature.key for feature in book.features if feature.meter is not None}
    units = draw(st.integers(0, 400))
    return book, {key: Chosen(Decimal(units)) if key in metered else one for key, one in chosen.items()}


@given(sold())
def test_the_invoice_of_a_whole_period_is_the_quote(facts: tuple[PriceBook, dict[str, Chosen]]) -> None:
    book, chosen = facts
    sheet = list_price_sheet(book, "h", "default", 0, START)
    quote = price_quote(CompiledBook(book), QuoteFacts(sheet, chosen))
    rows = billed(book, chosen)
    assert {row.feature: row.amount for row in rows} == {line.feature: line.amount for line in quote.lines}
    assert {row.feature: row.cost for row in rows} == {line.feature: line.cost for line in quote.lines}
    rounded = round_lines([row.amount for row in rows], Decimal(0), book.money)
    assert rounded.exact == quote.total
    assert rounded.net_minor == quote.rounded_total_minor


@given(
    amount=st.decimals(min_value=0, max_value=10**6, places=6),
    days=st.lists(st.integers(1, 30), unique=True, max_size=6).map(sorted),
)
def test_the_parts_of_a_period_sum_to_the_whole(amount: Decimal, days: list[int]) -> None:
    agreement = Agreement(book_hash="h", selection={}, cycle=CYCLE)
    edges = [START, *(START.replace(day=day + 1) for day in days), END]
    parts = [part_of(amount, Period(start, end), MONTH, agreement) for start, end in pairwise(edges)]
    total = Decimal(0)
    for part in parts:
        total = EXACT.add(total, part)
    assert total == amount


@given(sold())
def test_a_second_run_finds_nothing_to_bill(facts: tuple[PriceBook, dict[str, Chosen]]) -> None:
    rows = billed(*facts)
    known = {row.key: Billed(row, "first") for row in rows}
    assert differences(rows, known, known) == []
    taken_back = differences([], known, known)
    assert sum((row.amount for row in taken_back), Decimal(0)) == -sum((row.amount for row in rows), Decimal(0))
    assert all(row.corrects == "first" for row in taken_back)


@given(facts=sold(), day=st.integers(2, 31))
def test_a_change_that_changes_nothing_costs_what_no_change_costs_without_discounts(
    facts: tuple[PriceBook, dict[str, Chosen]], day: int
) -> None:
    """Each side of a change is a selection of its own, so only undiscounted selections add up to the same."""
    book, chosen = facts
    whole = {row.feature: row for row in billed(book, chosen)}
    if any(row.detail.get("discount") for row in whole.values()):
        return
    parts: dict[str, Decimal] = {}
    quantities: dict[str, Decimal] = {}
    rows = billed(book, chosen, START.replace(day=day))
    if any(row.detail.get("discount") for row in rows):
        return
    for row in rows:
        parts[row.feature] = EXACT.add(parts.get(row.feature, Decimal(0)), row.amount)
        if row.kind.value == "usage":
            quantities[row.feature] = EXACT.add(quantities.get(row.feature, Decimal(0)), row.quantity)
    assert parts == {feature: row.amount for feature, row in whole.items()}
    assert quantities == {key: row.quantity for key, row in whole.items() if row.kind.value == "usage"}


def test_periods_begin_at_local_midnight_and_keep_the_31st() -> None:
    zone = parse_zone("Asia/Seoul")
    cycle = BillingCycle.on_day(Interval.MONTH, zone, 31, datetime(2026, 1, 31, 3, tzinfo=UTC))
    agreement = Agreement(book_hash="h", selection={}, cycle=cycle)
    begin = datetime(2026, 1, 31, 3, tzinfo=UTC)
    subscription = Subscription("s", "c", "KRW", begin, None, (Phase(1, begin, PhaseState.ACTIVE, "start", agreement),))
    periods: list[CyclePeriod] = list(subscription.cycle_periods(Period(begin, datetime(2026, 4, 30, 20, tzinfo=UTC))))
    ends = [each.span.end.astimezone(zone).date().isoformat() for each in periods]
    assert ends == ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
