"""What coupons take off the rows of a charge, below the minor unit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billing.coupon_discounts import HeldCoupon, apply_held_coupons
from billing.rated_usage import Kind, RatedUsage
from models.values.period import Period
from pricing_engine.coupons import CouponUse, parse_coupon
from tests.billing_story import at

MONTH = Period(at("2026-01-01"), at("2026-02-01"))


def usage(feature: str, amount: str) -> RatedUsage:
    return RatedUsage(
        subscription="s", feature=feature, kind=Kind.USAGE, in_advance=False, cycle=MONTH, segment_start=MONTH.start,
        service=MONTH, quantity=Decimal(1), prorated_units=Decimal(1), list_amount=Decimal(amount),
        amount=Decimal(amount), cost=Decimal(0), tax_category="standard", book_hash=None,
    )  # fmt: skip


def left_of(rows: Sequence[RatedUsage], **coupon: str) -> tuple[Decimal, int]:
    """Return what is left to pay, exactly, and how many coupons were used."""
    held = HeldCoupon(CouponUse(parse_coupon({"key": "c", "duration": "forever", **coupon})))
    discounted, uses = apply_held_coupons(rows, [held], "USD")
    return sum((row.amount for row in discounted), Decimal(0)), len(uses)


def test_a_hundred_percent_leave_nothing_that_could_add_up_to_a_cent() -> None:
    assert left_of([usage("a", "10.004"), usage("b", "0.004"), usage("c", "0.996")], percent_off="100") == (0, 1)
    assert left_of([usage("a", "0.004")], percent_off="100") == (0, 0)
    assert left_of([usage("a", "0.005")], percent_off="100") == (0, 1)


def test_any_other_coupon_takes_whole_minor_units() -> None:
    assert left_of([usage("a", "10.004")], percent_off="50") == (Decimal("5.004"), 1)
    assert left_of([usage("a", "0.004")], percent_off="99") == (Decimal("0.004"), 0)
    assert left_of([usage("a", "10.006")], percent_off="90") == (Decimal("0.996"), 1)
