from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import ConflictError, InvalidValueError
from models.values.period import Period
from pricing_engine.aggregation import (
    Aggregate,
    Aggregation,
    AggregationKind,
    Carried,
    UnitRounding,
    aggregate,
)
from pricing_engine.in_advance import units_in_advance
from pricing_engine.usage_event import Operation, SkipReason, UsageEvent

START = datetime(2023, 8, 1, tzinfo=UTC)
AUGUST = Period(START, datetime(2023, 9, 1, tzinfo=UTC))
KINDS_OF_NUMBERS = [kind for kind in AggregationKind if kind not in {"count", "unique_count"}]


def event(day: float, value: str | None = None, event_id: str | None = None, **properties: str) -> UsageEvent:
    number = None if value is None else Decimal(value)
    return UsageEvent(START + timedelta(days=day), number, event_id, properties=properties)


def seat(day: float, name: str, operation: Operation = Operation.ADD) -> UsageEvent:
    return UsageEvent(START + timedelta(days=day), name, operation=operation)


def plan(kind: str, **options: object) -> Aggregation:
    if kind == "percentile":
        options = {"percentile": Decimal(95), **options}
    return Aggregation(AggregationKind(kind), **options)  # type: ignore[arg-type]


def units(kind: str, events: list[UsageEvent], **options: object) -> Decimal:
    return aggregate(plan(kind, **options), events, AUGUST).units


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("count", "4"),
        ("sum", "10.5"),
        ("max", "6"),
        ("min", "-1"),
        ("average", "2.625"),
        ("latest", "2.5"),
        ("percentile", "6"),
    ],
)
def test_each_kind_on_one_set_of_events(kind: str, expected: str) -> None:
    events = [event(3, "2.5"), event(0, "3"), event(1, "6"), event(2, "-1")]
    assert units(kind, events) == Decimal(expected)


@pytest.mark.parametrize("kind", AggregationKind)
def test_nothing_used_is_zero_units(kind: AggregationKind) -> None:
    result = aggregate(plan(kind), [], AUGUST)
    assert (result.units, result.event_count, len(result.groups)) == (0, 0, 1)


def test_sums_keep_digits_that_a_default_context_would_round() -> None:
    big, small = "99999999999999999999999999", "0.000000000000000000000001"
    assert units("sum", [event(0, big), event(1, small)]) == Decimal(
        "99999999999999999999999999.000000000000000000000001"
    )


def test_average_rounds_at_twelve_digits() -> None:
    assert units("average", [event(0, "1"), event(1, "0"), event(2, "0")]) == Decimal("0.333333333333")
    assert units("average", [event(0, "-2"), event(1, "0"), event(2, "0")]) == Decimal("-0.666666666667")


@pytest.mark.parametrize(("percent", "expected"), [("50", "2"), ("75", "3"), ("75.1", "4"), ("100", "4"), ("0.1", "1")])
def test_percentile_is_a_value_that_occurred(percent: str, expected: str) -> None:
    events = [event(day, str(4 - day)) for day in range(4)]
    assert units("percentile", events, percentile=Decimal(percent)) == Decimal(expected)


def test_latest_of_one_instant_is_the_highest_id() -> None:
    first, second = event(1, "5", "a"), event(1, "3", "b")
    assert units("latest", [second, first]) == units("latest", [first, second]) == 3


def test_weighted_sum_is_the_area_under_the_level() -> None:
    hour = 1 / 24
    changes = [(0, "2"), (1, "3"), (1.5, "1"), (2, "-4"), (4, "-2"), (5, "10"), (5.5, "-10")]
    result = aggregate(plan("weighted_sum"), [event(at * hour, value) for at, value in changes], AUGUST)
    hours = Fraction(2) + Fraction(5, 2) + 3 + 4 + Fraction(10, 2)
    assert result.units == Decimal("0.022177419355") == round(Decimal(hours.numerator) / hours.denominator / 744, 12)
    assert result.groups[0].carried == Carried(Decimal(0))


def test_a_level_is_carried_over_periods() -> None:
    aggregation = plan("weighted_sum")
    august = aggregate(aggregation, [event(15.5, "31")], AUGUST)
    assert (august.units, august.groups[0].carried.level) == (Decimal("15.5"), 31)
    september = Period(AUGUST.end, AUGUST.end + timedelta(days=30))
    following = aggregate(aggregation, [], september, carried={(): august.groups[0].carried})
    assert (following.units, following.event_count) == (31, 0)


def test_a_recurring_aggregation_counts_what_happened_before() -> None:
    earlier = [event(-10, "7"), event(2, "5")]
    assert units("sum", earlier) == 5
    assert units("sum", earlier, recurring=True) == 12
    assert aggregate(plan("sum", recurring=True), earlier, AUGUST).event_count == 1
    assert units("latest", [event(-10, "7")], recurring=True) == 7
    assert units("weighted_sum", [event(-10, "7")], recurring=True) == 7


def test_unique_count_is_what_is_active_at_the_end() -> None:
    remove = Operation.REMOVE
    assert units("unique_count", [seat(1, "a"), seat(2, "a"), seat(3, "b")]) == 2
    assert units("unique_count", [seat(1, "a"), seat(2, "a", remove), seat(3, "b")]) == 1
    assert units("unique_count", [seat(2, "a", remove), seat(1, "a"), seat(3, "a")]) == 1
    assert units("unique_count", [seat(1, "a", remove)]) == 0
    assert units("unique_count", [seat(1, "a", remove), seat(1, "a")]) == 0
    assert units("unique_count", [event(1, "1.0"), event(2, "1")]) == 1


def test_seats_are_carried_by_name_or_by_number() -> None:
    aggregation = plan("unique_count", recurring=True)
    carried = {(): Carried(Decimal(2), frozenset({"ann", "ben"}))}
    result = aggregate(
        aggregation, [seat(1, "ann"), seat(2, "ben", Operation.REMOVE), seat(3, "cho")], AUGUST, carried=carried
    )
    assert result.units == 4
    assert result.groups[0].carried == Carried(Decimal(2), frozenset({"ann", "cho"}))
    assert aggregate(aggregation, [seat(-5, "dan")], AUGUST).units == 1


def test_groups_keep_their_own_totals_and_round_alone() -> None:
    events = [event(1, "0.5", region="eu"), event(2, "0.5", region="us"), event(3, "1")]
    result = aggregate(plan("sum", group_by=("region",), rounding=UnitRounding("ceil")), events, AUGUST)
    assert [(group.key, group.units, group.event_count) for group in result.groups] == [
        ((None,), 1, 1),
        (("eu",), 1, 1),
        (("us",), 1, 1),
    ]
    assert (result.units, result.event_count) == (3, 3)


@pytest.mark.parametrize(
    ("function", "precision", "expected"),
    [
        ("round", 2, "123.46"), ("round", 0, "123"), ("round", -2, "100"), ("ceil", 2, "123.46"), ("ceil", 0, "124"),
        ("ceil", -2, "200"), ("floor", 2, "123.45"), ("floor", 0, "123"), ("floor", -2, "100"),
        ("round", 24, "123.456"),
    ],
)  # fmt: skip
def test_rounding_of_the_aggregate(function: str, precision: int, expected: str) -> None:
    assert units("sum", [event(0, "123.456")], rounding=UnitRounding(function, precision)) == Decimal(expected)


def test_every_event_that_does_not_count_has_a_reason() -> None:
    text = UsageEvent(START, "twelve", "e5")
    events = [
        event(1, "1", "e1", region="eu"),
        event(31, "1", "e2", region="eu"),
        event(-1, "1", "e3", region="eu"),
        event(1, "1", "e4", region="us"),
        event(1, None, "e6", region="eu"),
        event(1, "1", "e1", region="eu"),
        event(1, "1", "e7"),
    ]
    result = aggregate(plan("sum", filters={"region": frozenset({"eu"})}), events, AUGUST)
    assert result.units == 1
    assert [(skip.index, skip.reason) for skip in result.skipped] == [
        (1, SkipReason.OUTSIDE_PERIOD),
        (2, SkipReason.OUTSIDE_PERIOD),
        (3, SkipReason.FILTERED_OUT),
        (4, SkipReason.NO_VALUE),
        (5, SkipReason.DUPLICATE),
        (6, SkipReason.FILTERED_OUT),
    ]
    assert aggregate(plan("max"), [text], AUGUST).skipped[0].reason is SkipReason.NOT_A_NUMBER
    assert aggregate(plan("count"), [text, event(2)], AUGUST).units == 2


def test_an_instant_at_the_end_belongs_to_the_next_period() -> None:
    assert units("sum", [event(0, "1"), event(31, "10")]) == 1


def test_one_id_with_two_contents_is_a_conflict() -> None:
    with pytest.raises(ConflictError) as refused:
        aggregate(plan("sum"), [event(1, "1", "e"), event(1, "2", "e")], AUGUST)
    assert (refused.value.code, refused.value.value) == ("event_conflict", "e")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Aggregation(AggregationKind.PERCENTILE), "percentile_mismatch"),
        (lambda: plan("sum", percentile=Decimal(50)), "percentile_mismatch"),
        (lambda: plan("percentile", percentile=Decimal(0)), "out_of_range"),
        (lambda: plan("percentile", percentile=Decimal("100.1")), "out_of_range"),
        (lambda: plan("percentile", percentile=Decimal("99.1234567")), "too_many_decimal_places"),
        (lambda: plan("max", recurring=True), "not_recurring"),
        (lambda: UnitRounding("truncate"), "unknown_rounding"),
        (lambda: UnitRounding("round", 25), "rounding_precision_out_of_range"),
        (lambda: aggregate(plan("sum"), [], Period(START, START)), "empty_period"),
        (lambda: aggregate(plan("max"), [], AUGUST, carried={(): Carried(Decimal(1))}), "not_recurring"),
        (lambda: aggregate(plan("sum"), [], AUGUST, carried={("eu",): Carried(Decimal(1))}), "group_mismatch"),
        (lambda: aggregate(plan("sum"), [seat(1, "a", Operation.REMOVE)], AUGUST), "operation_not_allowed"),
    ],
    ids=map(str, range(12)),
)
def test_what_makes_no_sense_is_refused(make: object, code: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        make()  # type: ignore[operator]
    assert refused.value.code == code


def test_in_advance_bills_only_what_was_never_billed() -> None:
    aggregation = plan("unique_count", recurring=True)
    again = [seat(-2, "a"), seat(1, "a")]
    assert units_in_advance(aggregation, again, AUGUST, billed=Decimal(0)) == 0
    back = [seat(1, "a"), seat(2, "a", Operation.REMOVE), seat(3, "b")]
    assert units_in_advance(aggregation, back, AUGUST, billed=Decimal(0)) == 0
    assert units_in_advance(aggregation, [*back, seat(4, "c")], AUGUST, billed=Decimal(0)) == 1
    assert (
        units_in_advance(aggregation, [seat(4, "c")], AUGUST, carried={(): Carried(Decimal(2))}, billed=Decimal(2)) == 1
    )
    assert units_in_advance(aggregation, [], AUGUST, billed=Decimal(0)) == 0
    assert units_in_advance(plan("sum"), [event(1, "4"), event(2, "-3"), event(3, "2")], AUGUST, billed=Decimal(0)) == 0


numbers = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-4))
events_of_numbers = st.lists(
    st.builds(
        UsageEvent,
        st.integers(-100, 900).map(lambda hours: START + timedelta(hours=hours)),
        numbers,
        st.none() | st.integers(0, 10**9).map(str),
        properties=st.sampled_from([{}, {"region": "eu"}]),
    ),
    max_size=10,
    unique_by=lambda one: one.event_id or object(),
)


@given(events_of_numbers, st.sampled_from(KINDS_OF_NUMBERS), st.booleans(), st.data())
def test_order_and_resending_change_nothing(
    events: list[UsageEvent], kind: AggregationKind, grouped: bool, data: st.DataObject
) -> None:
    aggregation = plan(kind, group_by=("region",) if grouped else ())
    resent = [one for one in events if one.event_id and data.draw(st.booleans())]
    shuffled = data.draw(st.permutations([*events, *resent]))
    assert counted(aggregate(aggregation, shuffled, AUGUST)) == counted(aggregate(aggregation, events, AUGUST))


def counted(result: Aggregate) -> object:
    return result.units, result.event_count, result.groups


@given(events_of_numbers, st.integers(1, 743))
def test_a_sum_over_parts_of_the_period_is_the_sum_over_it(events: list[UsageEvent], hour: int) -> None:
    cut = START + timedelta(hours=hour)
    parts = [aggregate(plan("sum"), events, part).units for part in (Period(START, cut), Period(cut, AUGUST.end))]
    assert sum(parts) == aggregate(plan("sum"), events, AUGUST).units


@given(events_of_numbers, st.integers(1, 743))
def test_the_carried_level_joins_two_parts_of_a_period(events: list[UsageEvent], hour: int) -> None:
    """Time-weighted parts, each with its own length, give the whole, but for the twelfth digit of each."""
    cut = START + timedelta(hours=hour)
    first = aggregate(plan("weighted_sum"), events, Period(START, cut))
    second = aggregate(plan("weighted_sum"), events, Period(cut, AUGUST.end), carried={(): first.groups[0].carried})
    whole = aggregate(plan("weighted_sum"), events, AUGUST)
    area = Fraction(first.units) * hour + Fraction(second.units) * (744 - hour)
    assert abs(area / 744 - Fraction(whole.units)) <= Fraction(1, 10**12)
    assert second.groups[0].carried == whole.groups[0].carried
