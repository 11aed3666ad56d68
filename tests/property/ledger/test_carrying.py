"""Nothing rounds away: exact sums, posted units and invoiced minor units always agree."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.carrying import Carried, carry, take_minor_units
from models.values.money import RoundingMode, currency, round_to_ledger_units

amounts = st.decimals(min_value=-1000, max_value=1000, places=14, allow_nan=False)
currencies = st.sampled_from([currency(code) for code in ("USD", "KRW", "BHD", "XTOKENS.3")])


@given(of=currencies, batches=st.lists(st.lists(st.tuples(st.sampled_from("abc"), amounts), max_size=5), max_size=8))
def test_units_sum_to_the_rounded_exact_sum_however_it_is_cut(
    of: object, batches: list[list[tuple[str, Decimal]]]
) -> None:
    money = currency(of.code)  # type: ignore[attr-defined]
    so_far, posted, exact = Carried(Decimal(0), 0), 0, Decimal(0)
    for batch in batches:
        so_far, units = carry(so_far, tuple(batch), money)
        posted += sum(amount for _, amount in units)
        exact += sum((amount for _, amount in batch), Decimal(0))
        assert [feature for feature, _ in units] == [feature for feature, _ in batch]
        assert so_far == Carried(exact, posted)
        assert posted == round_to_ledger_units(exact, money)
        assert abs(so_far.residue(money)) <= Decimal("0.5")
        assert so_far.residue(money) + posted == exact * 10**money.ledger_exponent


@given(
    of=currencies, unbilled=st.lists(st.integers(-(10**15), 10**15), max_size=12), mode=st.sampled_from(RoundingMode)
)
def test_what_invoices_leave_behind_stays_below_one_minor_unit(
    of: object, unbilled: list[int], mode: RoundingMode
) -> None:
    """Over any series of invoices: used = invoiced + remainder, and the remainder never grows."""
    money = currency(of.code)  # type: ignore[attr-defined]
    remainder = invoiced = 0
    for i, units in enumerate(unbilled, 1):
        net_minor, change = take_minor_units(units, remainder, money, mode)
        remainder += change
        invoiced += net_minor * money.units_per_minor
        assert abs(remainder) < money.units_per_minor
        assert invoiced + remainder == sum(unbilled[:i])


def test_figures_worked_by_hand() -> None:
    usd = currency("USD")
    first, units = carry(Carried(Decimal(0), 0), (("chat", Decimal("0.000000004")),), usd)
    assert units == (("chat", 0),)
    second, units = carry(first, (("chat", Decimal("0.000000004")),), usd)
    assert units == (("chat", 1),)
    assert second.residue(usd) == Decimal("-0.2")
    assert take_minor_units(1_499_999, 0, usd) == (1, 499_999)
    assert take_minor_units(200_001, 499_999, usd) == (1, 200_001 - 1_000_000)
