"""Laws of rating over random tariffs: agreement, exact sums, splits, monotony, continuity."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from models.values.money import currency, from_minor, round_to_ledger_units, round_to_minor
from models.values.quantity import EXACT, plain
from pricing_engine.rating import Rating, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.scaling import decimals_of, exact_sum, scaled, unscaled
from pricing_engine.tariffs.tariff import parse_tariff, price_can_fall, tariff_document
from tests.property.rating import oracle
from tests.property.rating.strategies import (
    Json,
    decimals,
    prices,
    quantities,
    spend_modifiers,
    table_shapes,
    table_tariffs,
    tiers,
)

USD = currency("USD")
FINEST = Fraction(1, 2 * 10**24)
"""Half of the last place that an amount without finite decimal form keeps."""


def rated(tariff: Json, usage: Json, *, rounded: bool = False) -> Rating:
    return rate(parse_tariff(tariff), parse_usage(usage), USD, round_lines=rounded)


def total_of_lines(rating: Rating) -> Decimal:
    return exact_sum(line.total for line in rating.lines)


@given(tariff=table_tariffs(), units=quantities)
def test_rating_equals_the_plain_definition(tariff: Json, units: str) -> None:
    exact = oracle.amount(tariff, units)
    ours = rated(tariff, {"units": units}).amount
    is_finite = set(_primes(exact.denominator)) <= {2, 5}
    assert Fraction(ours) == exact if is_finite else abs(Fraction(ours) - exact) <= FINEST


def _primes(number: int) -> list[int]:
    found, prime = [], 2
    while number > 1:
        if number % prime == 0:
            found.append(prime)
            number //= prime
        else:
            prime += 1
    return found


@given(tariff=table_tariffs(), units=quantities, finer=st.integers(0, 6))
def test_fast_path_equals_the_explained_one(tariff: Json, units: str, finer: int) -> None:
    compiled = compile_tariff(parse_tariff(tariff))
    explained = rate(compiled, parse_usage({"units": units}), USD).amount
    assert compiled.amount(Decimal(units)) == explained
    fine = compiled.at(decimals_of(Decimal(units)) + finer)
    amount = fine.price_scaled(scaled(Decimal(units), fine.unit_exponent))
    assert unscaled(amount, fine.amount_exponent, fine.divisor) == explained


@given(tariff=table_tariffs(), units=quantities, rounded=st.booleans())
def test_lines_sum_to_the_amount(tariff: Json, units: str, rounded: bool) -> None:
    rating = rated(tariff, {"units": units}, rounded=rounded)
    assert total_of_lines(rating) == rating.amount
    if rounded:
        assert all(line.total == from_minor(round_to_minor(line.total, USD), USD) for line in rating.lines)


@given(tariff=table_tariffs(), units=quantities)
def test_each_step_begins_where_the_one_before_ended(tariff: Json, units: str) -> None:
    steps = rated(tariff, {"units": units}).steps
    for one, other in pairwise(steps):
        if one.of == other.of:
            assert one.after == other.before
    assert steps[-1].after == rated(tariff, {"units": units}).amount


LARGEST = Decimal(10) ** 26
"""No number read may be larger, though an amount may."""
cuts = st.lists(decimals(500, 3), min_size=1, max_size=5)


@given(tariff=table_tariffs(), pieces=cuts, rounded=st.booleans(), told=st.booleans())
def test_splits_sum_to_the_whole(tariff: Json, pieces: list[str], rounded: bool, told: bool) -> None:
    """Also with minimum, maximum and discounts; whether or not the caller says what was billed."""
    billed, used = Decimal(0), Decimal(0)
    for i, piece in enumerate(pieces):
        usage: Json = {"units": piece, "final": i == len(pieces) - 1}
        if i:
            is_told = told and billed < LARGEST
            usage |= {"prior_units": plain(used)} | ({"prior_billed": plain(billed)} if is_told else {})
        split = rated(tariff, usage, rounded=rounded)
        assert total_of_lines(split) == split.amount
        billed = exact_sum((billed, split.amount))
        used += Decimal(piece)
    assert billed == rated(tariff, {"units": plain(used)}, rounded=rounded).amount


@given(tariff=table_tariffs(), units=quantities, later=quantities)
def test_taking_usage_back_gives_back_what_it_cost(tariff: Json, units: str, later: str) -> None:
    low, high = sorted((Decimal(units), Decimal(later)))
    step = EXACT.subtract(high, low)
    up = rated(tariff, {"units": plain(step), "prior_units": plain(low), "final": False})
    down = rated(tariff, {"units": plain(step.copy_negate()), "prior_units": plain(high), "final": False})
    assert up.amount == down.amount.copy_negate()


@given(tariff=table_tariffs(), first=quantities, second=quantities)
def test_more_units_never_cost_less(tariff: Json, first: str, second: str) -> None:
    """But for volume prices whose next tier is cheaper as a whole: those `price_can_fall` names."""
    assume(not price_can_fall(parse_tariff(tariff)))
    low, high = sorted((first, second), key=Decimal)
    assert rated(tariff, {"units": low}).amount <= rated(tariff, {"units": high}).amount


@given(rows=tiers())
def test_a_volume_price_said_to_fall_does(rows: list[Json]) -> None:
    tariff = {"model": "volume", "tiers": rows}
    edges = [Decimal(tier["up_to"]) for tier in rows[:-1]]
    step = Decimal("1e-24")
    falls = any(
        rated(tariff, {"units": plain(EXACT.add(edge, step))}).amount < rated(tariff, {"units": plain(edge)}).amount
        for edge in edges
    )
    assert falls == price_can_fall(parse_tariff(tariff))


@given(rows=tiers(packaged=False), units=quantities, step=decimals(1, 4))
def test_graduated_prices_have_no_jumps_but_flat_amounts(rows: list[Json], units: str, step: str) -> None:
    bare = [tier | {"flat_amount": None} for tier in rows]
    tariff = {"model": "graduated", "tiers": bare}
    steepest = max(Decimal(tier["unit_amount"] or 0) for tier in bare)
    low = Fraction(rated(tariff, {"units": units}).amount)
    high = Fraction(rated(tariff, {"units": plain(EXACT.add(Decimal(units), Decimal(step)))}).amount)
    assert 0 <= high - low <= Fraction(steepest) * Fraction(step)


@given(tariff=table_tariffs())
def test_documents_round_trip(tariff: Json) -> None:
    parsed = parse_tariff(tariff)
    document = tariff_document(parsed)
    assert parse_tariff(document) == parsed
    assert tariff_document(parse_tariff(document)) == document


@given(shape=table_shapes().filter(lambda shape: shape["model"] != "graduated_percentage"), data=st.data())
def test_buckets_are_priced_alone_in_any_order(shape: Json, data: st.DataObject) -> None:
    buckets = data.draw(st.lists(decimals(300, 2), max_size=5))
    bucketed = shape | {"model": "bucketed_" + shape["model"]}
    amount = rated(bucketed, {"buckets": buckets}).amount
    assert amount == exact_sum(rated(shape, {"units": units}).amount for units in buckets)
    assert amount == rated(bucketed, {"buckets": data.draw(st.permutations(buckets))}).amount


groups = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["eu", "us"]), decimals(300, 2)), max_size=6
)


@given(modifiers=spend_modifiers(), parts=groups, data=st.data())
def test_matrix_prices_do_not_depend_on_how_usage_is_grouped(modifiers: Json, parts: list[Any], data: Any) -> None:
    """Sending groups in another order, or one group in two halves, changes nothing."""
    rules = [
        {"when": {"model": "a"}, "unit_amount": data.draw(prices)},
        {"when": {"model": "a", "region": "eu"}, "model": "graduated", "tiers": data.draw(tiers())},
        {"when": {"region": "us"}, "unit_amount": data.draw(prices)},
    ]
    tariff = {"model": "matrix", "rules": rules, "default": {"unit_amount": data.draw(prices)}, **modifiers}
    whole = [{"properties": {"model": m, "region": r}, "units": units} for m, r, units in parts]
    halves = [{"properties": {"model": m, "region": r}, "units": plain(Decimal(u) / 2)} for m, r, u in parts] * 2
    amount = rated(tariff, {"groups": whole}).amount
    assert amount == rated(tariff, {"groups": data.draw(st.permutations(whole))}).amount
    assert amount == rated(tariff, {"groups": data.draw(st.permutations(halves))}).amount


@given(rate_percent=decimals(20, 3), fixed=prices, values=st.lists(decimals(500, 2), max_size=6), data=st.data())
def test_events_of_a_percentage_may_come_in_any_order_and_any_split(
    rate_percent: str, fixed: str, values: list[str], data: st.DataObject
) -> None:
    """Without free allowances, which belong to the first events, order says nothing."""
    low, high = sorted((Decimal(data.draw(prices)), Decimal(data.draw(prices))))
    bounds = {"per_transaction_min_amount": plain(low), "per_transaction_max_amount": plain(high)}
    tariff = {"model": "percentage", "rate": rate_percent, "fixed_amount": fixed} | data.draw(
        st.sampled_from([{}, bounds])
    )
    amount = rated(tariff, {"events": values}).amount
    assert amount == rated(tariff, {"events": data.draw(st.permutations(values))}).amount
    cut = data.draw(st.integers(0, len(values)))
    first = rated(tariff, {"events": values[:cut], "final": False}).amount
    second = rated(tariff, {"events": values[cut:], "prior": {"events": values[:cut]}}).amount
    assert exact_sum((first, second)) == amount


@given(
    free_events=st.integers(0, 4),
    free_amount=decimals(400, 1),
    fixed=prices,
    values=st.lists(decimals(200, 1), max_size=6),
)
def test_free_allowances_only_ever_lower_a_percentage(
    free_events: int, free_amount: str, fixed: str, values: list[str]
) -> None:
    bare = {"model": "percentage", "rate": "2.5", "fixed_amount": fixed}
    allowances = {"free_units_per_events": str(free_events), "free_units_per_total_aggregation": free_amount}
    free = rated(bare | allowances, {"events": values})
    assert Decimal(0) <= free.amount <= rated(bare, {"events": values}).amount
    total = sum(map(Decimal, values), Decimal(0))
    paid = next((line.quantity for line in free.lines if line.component == "percentage"), Decimal(0))
    if Decimal(free_amount):
        assert total - paid <= Decimal(free_amount)


@given(amounts=st.lists(decimals(3, 8), max_size=6), multiplier=decimals(4, 3), data=st.data())
def test_dynamic_prices_add_up_whatever_the_order(amounts: list[str], multiplier: str, data: st.DataObject) -> None:
    tariff = {"model": "dynamic", "multiplier": multiplier}
    events = [{"amount": amount} for amount in amounts]
    expected = EXACT.multiply(exact_sum(map(Decimal, amounts)), Decimal(multiplier))
    assert rated(tariff, {"events": data.draw(st.permutations(events))}).amount == expected


@given(pieces=st.lists(decimals(3, 9), min_size=1, max_size=8), price=decimals(1, 12))
def test_what_lies_below_the_ledger_unit_is_carried_not_lost(pieces: list[str], price: str) -> None:
    """Posting round(cumulative) minus what is posted: after any splits the ledger holds the rounded whole."""
    tariff, used, posted = {"model": "unit", "unit_amount": price}, Decimal(0), 0
    for piece in pieces:
        used += Decimal(piece)
        posted += round_to_ledger_units(rated(tariff, {"units": plain(used)}).amount, USD) - posted
    exact = Fraction(used) * Fraction(price) * 10**USD.ledger_exponent
    assert abs(posted - exact) <= Fraction(1, 2)


@given(tariff=table_tariffs(), units=quantities)
def test_negative_usage_mirrors_the_price_where_asked(tariff: Json, units: str) -> None:
    """But for what is due without usage, which has no mirror image."""
    bare = {name: value for name, value in tariff.items() if name not in {"minimum_spend", "maximum_spend", "overage"}}
    bare["zero_usage_flat_fee"] = False
    assume(Decimal(units) > 0)
    mirrored = rated(bare | {"allow_negative": True}, {"units": "-" + units})
    assert mirrored.amount == rated(bare, {"units": units}).amount.copy_negate()
