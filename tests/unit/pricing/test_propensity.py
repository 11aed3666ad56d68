"""The propensity of a quote's total: features that share one draw must not be counted as if each drew its own."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pricing_engine.price_sheet import PriceSheet, SheetPrice
from pricing_engine.propensity import TotalPropensity, total_propensity
from pricing_engine.quoting import CompiledBook, PricedQuote, QuoteFacts, price_quote
from pricing_engine.selection import selection_of
from tests.quote_facts import AT, BOOK, price_book

SEATS = SheetPrice(
    feature="seats", price=Decimal("7.6"), lowest=Decimal("7.3"), highest=Decimal("7.9"),
    ladder_step=Decimal("0.1"), jitter=Decimal("0.05"),
)  # fmt: skip
SSO = SheetPrice(
    feature="sso", price=Decimal(50), lowest=Decimal(45), highest=Decimal(52), ladder_step=Decimal(1),
    jitter=Decimal("0.08"),
)  # fmt: skip
FEATURES = [{**each, "adaptive": True} if each["key"] == "sso" else each for each in BOOK["features"]]
COMPILED = CompiledBook(price_book(features=FEATURES, bundles=[], size_discounts=[]))
STEPS = 2_000


def shown_at(position: int, *prices: SheetPrice, seats: str = "3") -> tuple[PricedQuote, TotalPropensity | None]:
    """Price a quote at u = (2 position + 1) / STEPS - 1."""
    number = Decimal(2 * position + 1) / STEPS - 1
    sheet = PriceSheet(book_hash="b", segment="default", epoch=1, effective_from=AT, prices=prices)
    selection = selection_of({"tokens": "1000000", "seats": seats, "sso": True}, COMPILED.book)
    draws = {price.feature: number * price.jitter for price in prices}
    quote = price_quote(COMPILED, QuoteFacts(sheet, selection, draws))
    return quote, total_propensity(quote, sheet)


@pytest.mark.parametrize("prices", [(SEATS,), (SSO,), (SEATS, SSO)])
def test_the_mass_of_a_total_is_how_often_it_is_drawn(prices: tuple[SheetPrice, ...]) -> None:
    drawn: dict[Decimal, int] = {}
    stated: dict[Decimal, TotalPropensity] = {}
    for position in range(STEPS):
        quote, propensity = shown_at(position, *prices)
        assert propensity is not None
        drawn[quote.total] = drawn.get(quote.total, 0) + 1
        assert stated.setdefault(quote.total, propensity) == propensity
    for total, times in drawn.items():
        assert float(stated[total].mass) == pytest.approx(times / STEPS, abs=1.01 / STEPS)
    assert float(sum(each.mass for each in stated.values())) == pytest.approx(1, abs=1e-9)
    # Each mass lies spread over the way to its neighbours: together they cover the totals once.
    totals = sorted(stated)
    widths = {total: each.mass / each.density for total, each in stated.items()}
    ends = (widths[totals[0]] + widths[totals[-1]]) / 2
    assert float(sum(widths.values()) - ends) == pytest.approx(float(totals[-1] - totals[0]), rel=1e-9)


def test_one_price_alone_has_its_own_propensity_over_its_step() -> None:
    quote, propensity = shown_at(700, SEATS)
    shown = next(line.shown for line in quote.lines if line.feature == "seats")
    assert shown is not None
    assert propensity is not None
    assert float(propensity.mass) == pytest.approx(float(shown.propensity), rel=1e-9)
    assert float(propensity.density) == pytest.approx(float(shown.propensity) / 0.3, rel=1e-9)  # Three seats a rung.


def test_prices_that_share_a_draw_are_not_multiplied() -> None:
    quote, propensity = shown_at(1_200, SEATS, SSO)
    alone = [float(line.shown.propensity) for line in quote.lines if line.shown is not None]
    assert propensity is not None
    assert float(propensity.mass) > 1.5 * alone[0] * alone[1]


def test_a_total_that_nothing_could_move_has_no_propensity() -> None:
    fixed = SheetPrice(
        feature="seats", price=Decimal(8), lowest=Decimal(8), highest=Decimal(8), ladder_step=Decimal("0.1")
    )
    at_its_only_rung = SheetPrice(
        feature="seats", price=Decimal(8), lowest=Decimal(8), highest=Decimal(8), ladder_step=Decimal(1),
        jitter=Decimal("0.01"),
    )  # fmt: skip
    for price in (fixed, at_its_only_rung):
        assert shown_at(1_500, price)[1] is None
