"""The shown price: inside its rails, on its ladder, with a probability that is exactly known."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import InvalidValueError
from pricing_engine.demand.guardrails import PriceLadder
from pricing_engine.price_sheet import PriceSheet, SheetPrice, draw_for, in_holdout, shown_price

AT = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = b"a secret of the seller"


@st.composite
def sheet_prices(draw: st.DrawFn) -> SheetPrice:
    """Prices on a ladder, with room for jitter on both sides or none."""
    step = Decimal(draw(st.sampled_from(["0.01", "0.1", "0.5", "1"])))
    price = step * draw(st.integers(1, 5000))
    lowest = max(price - step * draw(st.integers(0, 40)), step)
    highest = price + step * draw(st.integers(0, 40))
    jitter = Decimal(draw(st.integers(1, 300))).scaleb(-3)
    return SheetPrice(feature="f", price=price, lowest=lowest, highest=highest, ladder_step=step, jitter=jitter)


@given(sheet_prices(), st.integers(-1000, 1000))
def test_a_shown_price_stays_inside_its_rails_and_on_its_ladder(price: SheetPrice, thousandths: int) -> None:
    shown = shown_price(price, price.jitter * thousandths / 1000)
    assert price.lowest <= shown.price <= price.highest
    assert PriceLadder(price.ladder_step).nearest(shown.price) == shown.price
    assert 0 < shown.propensity <= 1


@given(sheet_prices())
def test_the_propensities_of_all_prices_that_can_be_shown_sum_to_one(price: SheetPrice) -> None:
    rungs = int((price.highest - price.lowest) / price.ladder_step) + 1
    logs = [((price.lowest + n * price.ladder_step) / price.price).ln() for n in range(rungs)]
    draws = [min(max(log, -price.jitter), price.jitter) for log in logs]
    by_price = {shown.price: shown.propensity for shown in (shown_price(price, draw) for draw in draws)}
    assert abs(sum(by_price.values()) - 1) <= Decimal("1e-9")


@given(sheet_prices(), st.text(min_size=1, max_size=20))
def test_the_same_customer_gets_the_same_draw_within_the_jitter(price: SheetPrice, customer: str) -> None:
    draw = draw_for(SECRET, "sheet", customer, price.jitter)
    assert draw == draw_for(SECRET, "sheet", customer, price.jitter)
    assert abs(draw) <= price.jitter


def test_features_of_one_quote_move_together_and_sheets_apart() -> None:
    wide, narrow = (draw_for(SECRET, "sheet", "acme", Decimal(jitter)) for jitter in ("0.2", "0.1"))
    assert abs(wide - 2 * narrow) <= Decimal("2e-12")
    assert draw_for(SECRET, "next sheet", "acme", Decimal("0.2")) != wide
    assert draw_for(b"another", "sheet", "acme", Decimal("0.2")) != wide


def test_each_price_is_shown_as_often_as_its_propensity_says() -> None:
    price = SheetPrice("f", Decimal(10), Decimal("9.5"), Decimal("10.3"), Decimal("0.1"), jitter=Decimal("0.06"))
    draws = [draw_for(SECRET, "sheet", f"customer-{number}", price.jitter) for number in range(10_000)]
    shown = Counter((one.price, one.propensity) for one in (shown_price(price, draw) for draw in draws))
    assert len(shown) == 9
    for (_, propensity), times in shown.items():
        assert abs(times / 10_000 - float(propensity)) < 0.015


def test_a_holdout_is_a_share_of_customers_the_same_on_every_sheet() -> None:
    def held(holdout: str, segment: str = "default", epoch: int = 1) -> set[int]:
        sheet = PriceSheet("b" * 64, segment, epoch, AT, (), holdout=Decimal(holdout))
        return {number for number in range(4_000) if in_holdout(SECRET, sheet, f"customer-{number}")}

    a_tenth = held("0.1")
    assert 300 < len(a_tenth) < 500
    assert held("0.1", "startups", 2) == a_tenth < held("0.2")
    assert held("0") == set()
    assert len(held("1")) == 4_000


def test_a_draw_outside_the_jitter_is_refused() -> None:
    price = SheetPrice(
        feature="f",
        price=Decimal(1),
        lowest=Decimal(1),
        highest=Decimal(2),
        ladder_step=Decimal(1),
        jitter=Decimal("0.1"),
    )
    with pytest.raises(InvalidValueError, match="within the jitter"):
        shown_price(price, Decimal("0.11"))
