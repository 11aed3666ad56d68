"""Lines sum to the invoice, invoices and remainders sum to what was used."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoice_rounding import round_lines, share_out, tax_lines
from models.values.money import RoundingMode, allocate, currency, round_fraction
from models.values.quantity import EXACT

USD, KRW = currency("USD"), currency("KRW")
amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=12, allow_nan=False)
invoices = st.lists(st.lists(amounts, min_size=1, max_size=8), min_size=1, max_size=12)


@given(lines=st.lists(amounts, max_size=20), carried=st.decimals(min_value="-0.005", max_value="0.005", places=12))
def test_each_line_is_its_floor_or_ceiling_and_the_lines_sum_to_the_net(lines: list[Decimal], carried: Decimal) -> None:
    rounded = round_lines(lines, carried, USD)
    assert sum(rounded.lines) == rounded.net_minor
    for exact, minor in zip(lines, rounded.lines, strict=True):
        assert abs(Fraction(exact) * 100 - minor) < 1
    assert rounded.exact + carried == Decimal(rounded.net_minor) / 100 + rounded.carried_out


@given(invoices)
def test_what_is_used_is_what_is_invoiced_and_what_is_still_carried(history: list[list[Decimal]]) -> None:
    carried, used, invoiced = Decimal(0), Decimal(0), 0
    for lines in history:
        rounded = round_lines(lines, carried, USD)
        carried = rounded.carried_out
        used = EXACT.add(used, rounded.exact)
        invoiced += rounded.net_minor
        assert abs(carried) <= Decimal("0.005")
    assert used == Decimal(invoiced) / 100 + carried


def test_the_largest_remainders_are_rounded_up_and_whole_lines_left_alone() -> None:
    rounded = round_lines([Decimal("10"), Decimal("0.333"), Decimal("0.334"), Decimal("0.333")], Decimal(0), USD)
    assert rounded.lines == (1000, 33, 34, 33)
    waiting = round_lines([Decimal("10")], Decimal("0.005"), USD)
    assert (waiting.lines, waiting.carried_out) == ((1000,), Decimal("0.005"))


def test_amounts_below_the_minor_unit_are_carried_until_they_make_one() -> None:
    """A trillionth of a dollar an invoice: the 5 * 10^9-th invoice would show a cent; a scaled run shows the law."""
    carried, shown = Decimal(0), 0
    for _ in range(100):
        rounded = round_lines([Decimal("0.0001")], carried, USD)
        carried, shown = rounded.carried_out, shown + rounded.net_minor
    assert (shown, carried) == (1, Decimal(0))


@pytest.mark.parametrize(
    ("mode", "rounded"),
    [
        (RoundingMode.HALF_AWAY_FROM_ZERO, [-2, -2, -1, 0, 0, 1, 2, 2, 3]),
        (RoundingMode.HALF_EVEN, [-2, -2, -1, 0, 0, 1, 2, 2, 2]),
        (RoundingMode.HALF_TOWARDS_ZERO, [-2, -1, -1, 0, 0, 1, 1, 2, 2]),
        (RoundingMode.UP, [-2, -2, -2, -1, 1, 2, 2, 2, 3]),
        (RoundingMode.DOWN, [-1, -1, -1, 0, 0, 1, 1, 1, 2]),
        (RoundingMode.CEILING, [-1, -1, -1, 0, 1, 2, 2, 2, 3]),
        (RoundingMode.FLOOR, [-2, -2, -2, -1, 0, 1, 1, 1, 2]),
    ],
)
def test_every_mode_rounds_as_its_name_says(mode: RoundingMode, rounded: list[int]) -> None:
    exact = ("-1.6", "-1.5", "-1.4", "-0.4", "0.4", "1.4", "1.5", "1.6", "2.5")
    assert [round_fraction(Decimal(text), mode) for text in exact] == rounded


def test_a_sum_is_split_by_largest_remainder_and_of_equal_ones_the_earlier_comes_first() -> None:
    assert allocate(10, [1, 2, 4]) == [1, 3, 6]
    assert allocate(101, [Decimal("0.5"), Decimal("0.5"), Fraction(1, 2)]) == [34, 34, 33]
    assert allocate(-100, [1, 1, 1]) == [-34, -33, -33]
    assert allocate(5, [0, 0]) == [3, 2]


def test_a_currency_without_minor_unit_rounds_to_whole_units() -> None:
    assert round_lines([Decimal("1250.4"), Decimal("0.2")], Decimal(0), KRW).lines == (1251, 0)


def test_tax_is_rounded_once_a_rate_and_shared_over_its_lines() -> None:
    """Figures of Lago's three-rate invoice with a coupon."""
    nets = [9500, 4750, 2850, 1900]
    rates = [("vat", Decimal(10)), ("none", Decimal(0)), ("high", Decimal(20)), ("high", Decimal(20))]
    taxes, groups = tax_lines(nets, rates)
    assert taxes == (950, 0, 570, 380)
    assert sum(group.tax_minor for group in groups) == 1900


def test_tax_is_rounded_once_for_each_code_also_where_percents_are_equal() -> None:
    rates = [("de", Decimal(10)), ("fr", Decimal(10)), ("fr", Decimal(10))]
    taxes, groups = tax_lines([4, 3, 3], rates)
    assert taxes == (0, 1, 0)
    assert [(group.code, group.net_minor, group.tax_minor) for group in groups] == [("de", 4, 0), ("fr", 6, 1)]


@given(nets=st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=12), total=st.integers(-(10**7), 10**7))
def test_shares_sum_to_the_total_whatever_the_signs(nets: list[int], total: int) -> None:
    assert sum(share_out(total, nets)) == total
