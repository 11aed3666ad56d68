"""The laws of a quote, over random catalogs and selections."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from models.values.quantity import EXACT
from pricing_engine.catalog import FeatureKind
from pricing_engine.feature_price import amount_of
from pricing_engine.price_book import PriceBook, parse_price_book, price_book_document
from pricing_engine.price_sheet import list_price_sheet
from pricing_engine.pricing import SHARE_DIGITS, SelectionSums, scaled_selection
from pricing_engine.quoting import CompiledBook, PricedQuote, QuoteFacts, price_quote
from pricing_engine.selection import Chosen
from tests.strategies.price_books import books_and_selections, price_books

Case = tuple[PriceBook, dict[str, Chosen]]
AT = datetime(2026, 3, 1, tzinfo=UTC)
SHARE_QUANTUM = Decimal(1).scaleb(-SHARE_DIGITS)


def quote(book: PriceBook, selection: dict[str, Chosen]) -> PricedQuote:
    """Quote at list prices."""
    return price_quote(CompiledBook(book), QuoteFacts(list_price_sheet(book, "0" * 64, "default", 0, AT), selection))


@given(books_and_selections())
def test_lines_sum_to_the_total_and_adjustments_to_the_lines(case: Case) -> None:
    book, selection = case
    priced = quote(book, selection)
    assert sum(line.amount for line in priced.lines) == priced.total
    for line in priced.lines:
        assert EXACT.add(line.list_amount, sum((step.amount for step in line.adjustments), Decimal(0))) == line.amount
        assert EXACT.add(line.cost, line.margin) == line.amount


@given(books_and_selections(), st.data())
def test_dropping_a_feature_saves_what_the_quote_says_and_never_costs(case: Case, data: st.DataObject) -> None:
    book, selection = case
    priced = quote(book, selection)
    line = data.draw(st.sampled_from(priced.lines))
    assert line.saved_if_dropped >= 0
    left = {key: chosen for key, chosen in selection.items() if key not in line.dropped_with}
    assume(left)
    book.check_selection(left)
    assert quote(book, left).total == EXACT.subtract(priced.total, line.saved_if_dropped)


@given(books_and_selections(), st.data())
def test_adding_units_never_lowers_the_total_or_the_line(case: Case, data: st.DataObject) -> None:
    """A line may move by the quantum in which a shared discount is divided, the total not at all."""
    book, selection = case
    countable = [key for key in selection if book.feature(key).kind is not FeatureKind.SWITCH]
    assume(countable)
    key = data.draw(st.sampled_from(countable))
    more = {**selection, key: Chosen(selection[key].quantity + data.draw(st.integers(1, 300)))}
    before, after = quote(book, selection), quote(book, more)
    assert after.total >= before.total
    amount = {line.feature: line.amount for line in before.lines}[key]
    assert {line.feature: line.amount for line in after.lines}[key] >= amount - SHARE_QUANTUM


@given(books_and_selections())
def test_no_line_falls_below_cost_unless_a_rail_names_the_exception(case: Case) -> None:
    book, selection = case
    for line in quote(book, selection).lines:
        if line.amount < line.cost:
            assert book.feature(line.feature).rails.below_cost
            assert any(rail.startswith("below_cost:") for rail in line.rails)


@given(books_and_selections())
def test_a_bundle_caps_every_subset_of_it(case: Case) -> None:
    """Unless cost floors stand above the bundle's price."""
    book, selection = case
    priced = quote(book, selection)
    for bundle in book.bundles:
        inside = {key: chosen for key, chosen in selection.items() if key in bundle.features}
        if len(inside) != len(selection) or priced.floor_bound:
            continue
        whole = {
            feature.key: inside.get(feature.key, Chosen(feature.least_quantity))
            for feature in book.features
            if feature.key in bundle.features
        }
        full = quote(book, whole)
        lifted = sum((max(line.list_amount, _floor(book, line.feature, line.cost)) for line in full.lines), Decimal(0))
        assert priced.total <= EXACT.multiply(lifted, (100 - bundle.percent).scaleb(-2))


def _floor(book: PriceBook, key: str, cost: Decimal) -> Decimal:
    return Decimal(0) if book.feature(key).rails.below_cost else cost


@given(books_and_selections())
def test_the_integer_fast_path_gives_the_same_total(case: Case) -> None:
    book, selection = case
    quantities = {key: chosen.quantity for key, chosen in selection.items()}
    assert CompiledBook(book).total(quantities) == quote(book, selection).total


@given(books_and_selections())
def test_lines_do_not_depend_on_the_scale_at_which_a_book_is_counted(case: Case) -> None:
    """What a discount leaves to be rounded is rounded at the same place, however few digits the book's prices have."""
    book, selection = case
    compiled, lines = CompiledBook(book), quote(book, selection).lines
    bundled = {key for bundle in book.bundles for key in bundle.features}
    prices = compiled.feature_prices(list_price_sheet(book, "0" * 64, "default", 0, AT), {}, {}, [*selection])
    rated = {
        key: prices[key].rated(amount_of(prices[key].tariff, chosen, book.money), chosen.quantity)
        for key, chosen in selection.items()
    }
    least = {key: price.least for key, price in prices.items() if key in bundled and key not in selection}
    at_the_finest = compiled.plan.settle(SelectionSums(compiled.plan, scaled_selection(rated, least)), rated)
    assert [(line.amount, line.cost) for line in lines] == [(line.amount, line.cost) for line in at_the_finest.lines]


@given(price_books())
def test_a_book_reads_back_from_its_document(book: PriceBook) -> None:
    assert parse_price_book(price_book_document(book)) == book
