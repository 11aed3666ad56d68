"""Rating on figures worked out by hand: explanation, rounding, splits, exactness at the limits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from models.values.errors import InvalidValueError
from models.values.money import currency
from models.values.quantity import EXACT
from pricing_engine.rating import Rating, Usage, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.tariff import parse_tariff

USD, JPY, BHD = currency("USD"), currency("JPY"), currency("BHD")
CONVERTED: dict[str, Any] = {
    "model": "unit",
    "unit_amount": "2",
    "unit_conversion": {"operation": "divide", "factor": "1000", "rounding": "ceiling"},
    "included_units": "1",
    "usage_discount": "1",
    "overage": {"commitment": "4", "factor": "2"},
    "percentage_discount": "25",
    "maximum_spend": "100",
    "minimum_spend": "10",
}


def rated(tariff: dict[str, Any], usage: dict[str, Any], *, of: Any = USD, rounded: bool = False) -> Rating:
    return rate(parse_tariff(tariff), parse_usage(usage), of, round_lines=rounded)


def test_every_step_says_what_it_found_and_what_it_left() -> None:
    rating = rated(CONVERTED, {"units": "5500"})
    assert [(step.name, step.of, str(step.before), str(step.after)) for step in rating.steps] == [
        ("unit_conversion", "units", "5500", "6"),
        ("included_units", "units", "6", "5"),
        ("usage_discount", "units", "5", "4"),
        ("price", "amount", "0", "8"),
        ("overage", "amount", "8", "12"),
        ("percentage_discount", "amount", "12", "9"),
        ("maximum_spend", "amount", "9", "9"),
        ("minimum_spend", "amount", "9", "10"),
    ]
    assert rating.amount == 10


def test_windows_are_the_first_step() -> None:
    windows = {"zone": "UTC", "ranges": [{"name": "night", "from": "22:00", "to": "06:00", "factor": "0.5"}]}
    rating = rated(CONVERTED | {"windows": windows}, {"units": "6000", "window_units": {"night": "1000"}})
    assert [(step.name, step.before, step.after) for step in rating.steps][:2] == [
        ("windows", 6000, 5500),
        ("unit_conversion", 5500, 6),
    ]
    assert rating.amount == 10


def test_a_bill_rounded_up_is_still_the_bill_of_those_units() -> None:
    flat = {"model": "graduated", "tiers": [{"unit_amount": "1", "flat_amount": "1.005"}], "maximum_spend": "9"}
    usage = {"units": "2", "prior_units": "0", "prior_billed": "1.01"}
    assert rated(flat, usage).amount == Decimal("1.995")
    bucketed = {"model": "bucketed_unit", "unit_amount": "1.001", "maximum_spend": "9"}
    usage = {"buckets": ["1"], "prior": {"buckets": ["5"]}, "prior_billed": "5.01"}
    assert rated(bucketed, usage).amount == Decimal("0.996")


def test_a_split_explains_what_earlier_splits_billed() -> None:
    step = rated({"model": "unit", "unit_amount": "1"}, {"units": "2", "prior_units": "3"}).steps[-1]
    assert (step.name, step.before, step.after) == ("earlier_splits", 5, 2)
    assert step.rule == "less 3 billed by earlier splits"


def test_an_earlier_split_of_no_units_billed_the_flat_amount_already() -> None:
    tariff = {"model": "graduated", "tiers": [{"unit_amount": "1", "flat_amount": "100"}]}
    assert rated(tariff, {"units": "5"}).amount == 105
    assert rated(tariff, {"units": "5", "prior_units": "0"}).amount == 5
    assert rated(tariff | {"zero_usage_flat_fee": False}, {"units": "5", "prior_units": "0"}).amount == 105


def test_late_usage_after_an_empty_period_is_covered_by_the_minimum_paid() -> None:
    tariff = {"model": "unit", "unit_amount": "10", "minimum_spend": "100", "maximum_spend": "500"}
    assert rated(tariff, {"units": "5", "prior_units": "0", "prior_billed": "100"}).amount == 0


def test_what_was_billed_beside_uses_up_the_minimum_where_there_is_no_maximum() -> None:
    tariff = {"model": "unit", "unit_amount": "1", "minimum_spend": "10"}
    rating = rated(tariff, {"units": "2", "prior_billed": "6"})
    assert (rating.amount, [line.component for line in rating.lines]) == (4, ["usage", "minimum-spend"])
    assert rated(tariff, {"units": "2", "prior_billed": "60"}).amount == 2


def test_what_was_billed_and_what_it_costs_may_differ_by_a_line() -> None:
    rating = rated({"model": "unit", "unit_amount": "1"}, {"units": "2", "prior_units": "3", "prior_billed": "2.5"})
    assert rating.amount == Decimal("2.5")
    assert [(line.component, line.amount) for line in rating.lines] == [("usage", 2), ("prior-billed", Decimal("0.5"))]


@pytest.mark.parametrize(("of", "amount"), [(USD, "1.01"), (JPY, "1"), (BHD, "1.005")])
def test_rounding_is_half_away_from_zero_to_the_currency(of: Any, amount: str) -> None:
    tariff = {"model": "flat", "amount": "1.005"}
    assert rated(tariff, {}, of=of, rounded=True).amount == Decimal(amount)
    assert rated(tariff, {}, of=of).amount == Decimal("1.005")


def test_each_line_and_each_discount_is_rounded_alone() -> None:
    tariff = {
        "model": "graduated",
        "tiers": [{"up_to": "1", "unit_amount": "0.105"}, {"unit_amount": "0.105"}],
        "percentage_discount": "50",
    }
    rating = rated(tariff, {"units": "2"}, rounded=True)
    assert [(line.amount, line.discount) for line in rating.lines] == [(Decimal("0.11"), Decimal("0.06"))] * 2
    assert rating.amount == Decimal("0.10")


def test_a_flat_price_in_advance_is_due_with_the_first_split_and_in_arrears_with_the_last() -> None:
    first, last = {"units": "0", "final": False}, {"units": "0", "prior_units": "0"}
    advance = {"model": "flat", "amount": "9", "payment_term": "in_advance"}
    arrears = {"model": "flat", "amount": "9"}
    assert [rated(advance, usage).amount for usage in (first, last)] == [9, 0]
    assert [rated(arrears, usage).amount for usage in (first, last)] == [0, 9]


def test_numbers_at_their_limits_stay_exact() -> None:
    units, price = "9" * 26 + "." + "9" * 24, "9" * 26 + "." + "9" * 24
    exact = int(units.replace(".", "")) ** 2
    amount = rated({"model": "unit", "unit_amount": price}, {"units": units}).amount
    assert int(amount.scaleb(48, EXACT)) == exact
    assert amount == compile_tariff(parse_tariff({"model": "unit", "unit_amount": price})).amount(Decimal(units))


def test_units_alone_do_not_price_what_needs_more() -> None:
    for tariff in (
        {"model": "bucketed_unit", "unit_amount": "1"},
        {"model": "percentage", "rate": "1"},
        {"model": "unit", "unit_amount": "1", "event_minimum": "1"},
    ):
        with pytest.raises(InvalidValueError) as refused:
            compile_tariff(parse_tariff(tariff)).amount(Decimal(1))
        assert refused.value.code == "units_not_enough"


def test_an_allowance_is_used_up_by_the_earliest_buckets() -> None:
    tariff = {"model": "bucketed_graduated", "tiers": [{"up_to": "5", "unit_amount": "2"}, {"unit_amount": "1"}]}
    assert rated(tariff, {"buckets": ["4", "8"]}).amount == 8 + 13
    assert rated(tariff | {"included_units": "6"}, {"buckets": ["4", "8"]}).amount == 11


def test_a_prior_listing_events_lets_the_next_split_go_on() -> None:
    tariff = {"model": "percentage", "rate": "10", "free_units_per_events": "1", "fixed_amount": "1"}
    assert rated(tariff, {"events": ["50"], "prior": {"events": ["100"]}}).amount == 6
    assert rated(tariff, {"events": ["50"]}).amount == 0


def test_usage_may_be_built_without_a_document() -> None:
    assert rate(parse_tariff({"model": "unit", "unit_amount": "2"}), Usage(Decimal(3)), USD).amount == 6
