"""Coupons: how they stack, how long they last, what they cover."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from models.values.errors import InvalidValueError
from models.values.money import currency
from pricing_engine.coupons import (
    Coupon,
    CouponUse,
    Duration,
    InvoiceLine,
    apply_coupons,
    coupon_document,
    parse_coupon,
    use_credit,
)

USD = currency("USD")


def lines(*amounts: int, feature: str = "api") -> list[InvoiceLine]:
    return [InvoiceLine(feature, amount) for amount in amounts]


def fixed(key: str, amount: str, **fields: Any) -> CouponUse:
    return CouponUse(Coupon(key, amount_off=Decimal(amount), **fields))


def percent(key: str, off: str, **fields: Any) -> CouponUse:
    return CouponUse(Coupon(key, percent_off=Decimal(off), **fields))


def test_each_coupon_applies_to_what_those_before_it_left() -> None:
    result = apply_coupons(lines(10_000), [fixed("ten", "10"), percent("fifth", "20")], USD)
    assert [(part.coupon, part.amount_minor) for part in result.discounts] == [("ten", 1_000), ("fifth", 1_800)]


def test_priority_comes_before_the_order_given() -> None:
    uses = [fixed("ten", "10", priority=2), percent("fifth", "20", priority=1)]
    assert apply_coupons(lines(10_000), uses, USD).left_minor == (7_000,)


def test_a_rounded_percentage_is_shared_without_loss() -> None:
    result = apply_coupons(lines(5, 5, 5), [percent("tenth", "10")], USD)
    assert sorted(result.left_minor) == [4, 4, 5]  # 10 % of 15 is 1.5, rounded once to 2.


def test_a_fixed_amount_never_exceeds_the_lines() -> None:
    assert apply_coupons(lines(300, 700), [fixed("big", "15")], USD).left_minor == (0, 0)


def test_refund_lines_and_other_features_take_no_part() -> None:
    some = [*lines(1_000), *lines(-400), *lines(1_000, feature="seats")]
    result = apply_coupons(some, [percent("half", "50", features=frozenset({"api"}))], USD)
    assert result.left_minor == (500, -400, 1_000)


def over_months(use: CouponUse, months: int) -> list[int]:
    left, uses = [], [use]
    for _ in range(months):
        result = apply_coupons(lines(1_000), uses, USD)
        left.append(result.left_minor[0])
        uses = list(result.uses)
    return left


@pytest.mark.parametrize(
    ("use", "left"),
    [
        (percent("c", "10"), [900, 1_000, 1_000]),
        (percent("c", "10", duration=Duration.PERIODS, periods=2), [900, 900, 1_000]),
        (percent("c", "10", duration=Duration.FOREVER), [900, 900, 900]),
        (fixed("c", "15"), [0, 1_000, 1_000]),
        (fixed("c", "15", carries_rest=True), [0, 500, 1_000]),
    ],
    ids=["once", "two periods", "forever", "fixed", "fixed, rest carried"],
)
def test_how_long_a_coupon_lasts(use: CouponUse, left: list[int]) -> None:
    assert over_months(use, 3) == left


def test_a_coupon_that_finds_nothing_keeps_its_period() -> None:
    result = apply_coupons(lines(0), [percent("c", "10")], USD)
    assert result.uses == (percent("c", "10"),)


def test_credit_pays_the_first_lines_first() -> None:
    due = [Decimal(amount) for amount in (10_000, 5_000, -700, 300)]
    assert use_credit(due, Decimal(12_500)) == [10_000, 2_500, 0, 0]
    with pytest.raises(InvalidValueError):
        use_credit(due, Decimal(-1))


def test_documents_round_trip() -> None:
    document = {
        "key": "spring",
        "duration": "periods",
        "percent_off": "12.5",
        "periods": "3",
        "features": ["api", "seats"],
        "priority": "2",
    }
    assert coupon_document(parse_coupon(document)) == document
    assert coupon_document(parse_coupon({"key": "a", "amount_off": "5", "carries_rest": True})) == {
        "key": "a",
        "duration": "once",
        "amount_off": "5",
        "carries_rest": True,
    }


@pytest.mark.parametrize(
    ("code", "document"),
    [
        ("coupon_without_key", {"percent_off": "1"}),
        ("coupon_kind_unclear", {"key": "a"}),
        ("coupon_kind_unclear", {"key": "a", "percent_off": "1", "amount_off": "1"}),
        ("coupon_percent_out_of_range", {"key": "a", "percent_off": "100.1"}),
        ("negative_coupon", {"key": "a", "amount_off": "-1"}),
        ("unknown_coupon_duration", {"key": "a", "amount_off": "1", "duration": "weekly"}),
        ("coupon_periods_unclear", {"key": "a", "amount_off": "1", "duration": "periods"}),
        ("coupon_periods_unclear", {"key": "a", "amount_off": "1", "periods": "2"}),
        ("coupon_periods_not_whole", {"key": "a", "amount_off": "1", "duration": "periods", "periods": "1.5"}),
        ("coupon_priority_not_whole", {"key": "a", "amount_off": "1", "priority": "-1"}),
        ("rest_of_percentage", {"key": "a", "percent_off": "1", "carries_rest": True}),
        ("unknown_coupon_field", {"key": "a", "percent_off": "1", "color": "red"}),
    ],
)
def test_bad_coupons(code: str, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError) as refused:
        parse_coupon(document)
    assert refused.value.code == code
