"""Laws of coupons: nothing lost between lines, nothing below zero, percentages exact to a half unit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from models.values.money import currency
from pricing_engine.coupons import Coupon, CouponUse, InvoiceLine, apply_coupons, use_credit

USD = currency("USD")
lines = st.lists(st.builds(InvoiceLine, st.sampled_from(["api", "seats"]), st.integers(-10_000, 1_000_000)), max_size=8)
percents = st.decimals(0, 100, places=3, allow_nan=False)
features = st.none() | st.sampled_from([frozenset({"api"}), frozenset({"seats"}), frozenset({"none"})])
fractions_off = st.builds(
    lambda off, covers, first: Coupon("p", percent_off=off, features=covers, priority=first),
    percents,
    features,
    st.integers(0, 2),
)
amounts_off = st.builds(
    lambda off, covers, carries: Coupon("f", amount_off=off, features=covers, carries_rest=carries),
    st.decimals(0, 5_000, places=2, allow_nan=False),
    features,
    st.booleans(),
)
coupons = fractions_off | amounts_off


@given(invoice=lines, held=st.lists(coupons, max_size=4))
def test_discounts_account_for_every_unit(invoice: list[InvoiceLine], held: list[Coupon]) -> None:
    result = apply_coupons(invoice, [CouponUse(coupon) for coupon in held], USD)
    for i, (line, left) in enumerate(zip(invoice, result.left_minor, strict=True)):
        taken = sum(part.amount_minor for part in result.discounts if part.line == i)
        assert left == line.amount_minor - taken
        assert min(line.amount_minor, 0) <= left <= line.amount_minor
    assert sum(use.minor_used for use in result.uses) == sum(part.amount_minor for part in result.discounts)


@given(invoice=lines, percent=percents)
def test_a_percentage_is_rounded_once(invoice: list[InvoiceLine], percent: Decimal) -> None:
    result = apply_coupons(invoice, [CouponUse(Coupon("p", percent_off=percent))], USD)
    due = sum(line.amount_minor for line in invoice if line.amount_minor > 0)
    taken = sum(part.amount_minor for part in result.discounts)
    assert abs(taken - due * Fraction(percent) / 100) <= Fraction(1, 2)


@given(amount=st.integers(0, 3_000), months=st.lists(st.integers(0, 1_000), min_size=1, max_size=8))
def test_a_carried_coupon_gives_its_amount_and_no_more(amount: int, months: list[int]) -> None:
    uses = [CouponUse(Coupon("f", amount_off=Decimal(amount).scaleb(-2), carries_rest=True))]
    given_in_all = 0
    for due in months:
        result = apply_coupons([InvoiceLine("api", due)], uses, USD)
        given_in_all += due - result.left_minor[0]
        uses = list(result.uses)
    assert given_in_all == min(amount, sum(months))


@given(due=st.lists(st.integers(-100, 1_000), max_size=6), credit=st.integers(0, 4_000))
def test_credit_pays_what_is_due_and_no_more(due: list[int], credit: int) -> None:
    paid = use_credit([Decimal(amount) for amount in due], Decimal(credit))
    assert sum(paid) == min(credit, sum(amount for amount in due if amount > 0))
    assert all(0 <= part <= max(amount, 0) for part, amount in zip(paid, due, strict=True))
