from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import InvalidValueError
from models.values.money import currency, round_to_minor
from models.values.period import BillingCycle, Interval, Period, parse_instant, parse_zone
from pricing_engine.proration import (
    MidPeriod,
    PriceChange,
    ProrationBasis,
    ProrationRule,
    ProrationUnit,
    added,
    count_days,
    end_of_day,
    prorate,
    prorate_changes,
    prorate_cycle,
    repair,
    round_pieces,
    trial_end,
)

USD = currency("USD")
BY_DAY = ProrationRule(parse_zone("UTC"))
BY_SECOND = ProrationRule(parse_zone("UTC"), ProrationUnit.SECOND)
NEW_YORK = parse_zone("America/New_York")

amounts = st.decimals(0, 100_000, places=4)
instants = st.integers(0, 3 * 366 * 86_400).map(lambda s: datetime(2023, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
rules = st.builds(
    ProrationRule,
    st.sampled_from(["UTC", "America/New_York", "Asia/Seoul"]).map(parse_zone),
    st.just(ProrationUnit.DAY),
    st.sampled_from(ProrationBasis),
) | st.just(BY_SECOND)


def at(text: str, zone: str = "UTC") -> datetime:
    return parse_instant(text, "at", parse_zone(zone))


def span(start: str, end: str, zone: str = "UTC") -> Period:
    return Period(at(start, zone), at(end, zone))


def fixed_30(used: Period, full: Period) -> Fraction:
    rule = ProrationRule(parse_zone("UTC"), basis=ProrationBasis.FIXED_30)
    return prorate(Decimal(1), used=used, full=full, rule=rule).ratio


def test_by_the_day_daylight_saving_makes_no_difference_and_by_the_second_it_does() -> None:
    march = span("2024-03-01", "2024-04-01", "America/New_York")
    tenth = span("2024-03-10", "2024-03-11", "America/New_York")  # 23 hours long.
    by_day = prorate(Decimal(31), used=tenth, full=march, rule=ProrationRule(NEW_YORK))
    by_second = prorate(Decimal(743), used=tenth, full=march, rule=ProrationRule(NEW_YORK, ProrationUnit.SECOND))
    assert by_day.exact == 1
    assert by_second.exact == 23
    assert (by_day.used_units, by_day.full_units) == (1, 31)


def test_what_lies_outside_the_full_period_is_not_charged() -> None:
    january = span("2026-01-01", "2026-02-01")
    assert prorate(Decimal(100), used=span("2026-01-01", "2026-03-01"), full=january, rule=BY_DAY).ratio == 1
    assert prorate(Decimal(100), used=span("2026-02-01", "2026-03-01"), full=january, rule=BY_DAY).ratio == 0
    assert prorate(Decimal(100), used=january, full=span("2026-01-01", "2026-01-01"), rule=BY_DAY).exact == 100


def test_thirty_day_months_are_equal_whatever_the_calendar_says() -> None:
    assert fixed_30(span("2023-05-23", "2023-06-15"), span("2023-05-15", "2023-06-15")) == Fraction(22, 30)
    assert fixed_30(span("2023-05-15", "2023-05-23"), span("2023-04-23", "2023-05-23")) == Fraction(8, 30)
    assert fixed_30(span("2023-02-23", "2023-03-15"), span("2023-02-15", "2023-03-15")) == Fraction(22, 30)
    assert fixed_30(span("2023-01-31", "2023-02-14"), span("2023-01-31", "2023-02-28")) == Fraction(14, 30)
    assert fixed_30(span("2024-01-29", "2024-02-10"), span("2024-01-29", "2024-02-29")) == Fraction(11, 30)
    for first, second in (("01-31", "02-28"), ("02-28", "03-31"), ("03-31", "04-30"), ("02-28", "03-28")):
        full = span(f"2023-{first}", f"2023-{second}")
        rule = ProrationRule(parse_zone("UTC"), basis=ProrationBasis.FIXED_30)
        assert prorate(Decimal(1), used=full, full=full, rule=rule).full_units == 30


def test_thirty_day_months_do_not_count_seconds() -> None:
    with pytest.raises(InvalidValueError) as refused:
        ProrationRule(parse_zone("UTC"), ProrationUnit.SECOND, ProrationBasis.FIXED_30)
    assert refused.value.code == "basis_needs_days"


def test_a_trial_ends_at_local_midnight_and_a_termination_bills_its_day() -> None:
    assert trial_end(at("2024-03-05T12:12:00Z"), 13, parse_zone("UTC")) == at("2024-03-18")
    assert trial_end(at("2024-03-09T20:00:00Z"), 2, NEW_YORK) == at("2024-03-11", "America/New_York")
    assert end_of_day(at("2024-06-20T10:00:00Z"), parse_zone("UTC")) == at("2024-06-21")
    assert end_of_day(at("2023-02-08T16:00:00Z"), parse_zone("Asia/Tokyo")) == at("2023-02-10", "Asia/Tokyo")


def test_the_day_of_an_upgrade_belongs_to_the_new_price() -> None:
    december = span("2022-12-01", "2023-01-01")
    changes = [
        PriceChange(at("2022-12-18T09:00:00Z"), Decimal(620)),
        PriceChange(at("2022-12-18T17:00:00Z"), Decimal(930)),
        PriceChange(at("2022-11-20"), Decimal(31)),
        PriceChange(at("2023-01-20"), Decimal(9)),
    ]
    pieces = prorate_changes(changes, full=december, rule=BY_DAY)
    assert [(piece.used_units, piece.exact) for piece in pieces] == [(17, 17), (14, 420)]


def test_two_prices_from_one_instant_are_refused() -> None:
    start = at("2024-01-01")
    with pytest.raises(InvalidValueError) as refused:
        prorate_changes(
            [PriceChange(start, Decimal(1)), PriceChange(start, Decimal(2))],
            full=span("2024-01-01", "2024-02-01"),
            rule=BY_DAY,
        )
    assert refused.value.code == "ambiguous_change"


def test_repair_never_gives_back_more_than_is_left() -> None:
    billed, unused = span("2014-01-01", "2014-02-01"), span("2014-01-23", "2014-02-01")
    assert repair(1200, billed=billed, unused=unused, left_minor=1200, rule=BY_DAY) == 348
    assert repair(1200, billed=billed, unused=unused, left_minor=100, rule=BY_DAY) == 100
    assert repair(1200, billed=billed, unused=unused, left_minor=0, rule=BY_DAY) == 0
    assert repair(1200, billed=span("2014-01-01", "2014-01-01"), unused=unused, left_minor=1200, rule=BY_DAY) == 0
    for left in (-1, 1201):
        with pytest.raises(InvalidValueError):
            repair(1200, billed=billed, unused=unused, left_minor=left, rule=BY_DAY)


@given(amounts, instants, instants, st.lists(instants, max_size=6), rules)
def test_pieces_of_a_period_sum_to_the_whole(
    amount: Decimal, one: datetime, other: datetime, cuts: list[datetime], rule: ProrationRule
) -> None:
    full = Period(min(one, other), max(one, other))
    inner = sorted(cut for cut in cuts if cut in full)
    pieces = [
        prorate(amount, used=Period(start, end), full=full, rule=rule)
        for start, end in zip([full.start, *inner], [*inner, full.end], strict=True)
    ]
    whole = prorate(amount, used=full, full=full, rule=rule)
    if whole.full_units:
        assert sum(piece.exact for piece in pieces) == Fraction(amount)
        assert sum(round_pieces(pieces, USD)) == round_to_minor(amount, USD)
    assert all(0 <= piece.ratio <= 1 for piece in pieces)


@given(amounts, instants, instants, instants, st.integers(1, 31), st.sampled_from(Interval), rules)
def test_a_cut_changes_nothing_over_many_turns(
    amount: Decimal, one: datetime, two: datetime, three: datetime, day: int, interval: Interval, rule: ProrationRule
) -> None:
    start, cut, end = sorted((one, two, three))
    cycle = BillingCycle.on_day(interval, rule.zone, day, start)
    parts = [
        prorate_cycle(amount, used=span_, cycle=cycle, rule=rule) for span_ in (Period(start, cut), Period(cut, end))
    ]
    whole = prorate_cycle(amount, used=Period(start, end), cycle=cycle, rule=rule)
    assert sum(piece.exact for part in parts for piece in part) == sum(piece.exact for piece in whole)


@given(st.integers(0, 10**9), instants, instants, instants, st.data())
def test_repairs_of_disjoint_parts_never_exceed_what_was_billed(
    billed_minor: int, one: datetime, two: datetime, three: datetime, data: st.DataObject
) -> None:
    start, cut, end = sorted((one, two, three))
    billed = Period(start, end)
    left = data.draw(st.integers(0, billed_minor))
    first = repair(billed_minor, billed=billed, unused=Period(start, cut), left_minor=left, rule=BY_DAY)
    second = repair(billed_minor, billed=billed, unused=Period(cut, end), left_minor=left - first, rule=BY_DAY)
    assert 0 <= first + second <= left


@given(instants, instants, st.sampled_from(["UTC", "America/New_York", "Europe/Paris", "Asia/Tokyo"]))
def test_days_are_counted_by_local_midnights(one: datetime, other: datetime, zone_name: str) -> None:
    zone = parse_zone(zone_name)
    start, end = min(one, other), max(one, other)
    midnights = list(BillingCycle.calendar(Interval.DAY, zone).periods(Period(start, end + timedelta(microseconds=1))))
    assert count_days(start, end, zone) == len(midnights) - 1


@given(st.lists(amounts, min_size=1, max_size=8))
def test_changes_in_full_sum_to_the_highest_amount_and_never_give_back(stood: list[Decimal]) -> None:
    more = [
        added(amount, before=before, highest=max(stood[: i + 1]), paid=max(stood[: i + 1]), rule=MidPeriod.WHOLE)
        for i, (before, amount) in enumerate(pairwise(stood))
    ]
    assert all(each >= 0 for each in more)
    assert stood[0] + sum(more) == max(stood)


@given(st.lists(st.tuples(amounts, st.sampled_from(MidPeriod)), min_size=1, max_size=8))
def test_no_change_gives_back_what_is_not_paid_or_what_it_leaves(changes: list[tuple[Decimal, MidPeriod]]) -> None:
    stood = [changes[0][0]]
    paid = stood[0]
    for amount, rule in changes[1:]:
        more = added(amount, before=stood[-1], highest=max(stood), paid=paid, rule=rule)
        assert more >= 0 or paid + more >= amount
        assert rule is not MidPeriod.PRORATED or paid < stood[-1] or paid + more - amount == paid - stood[-1]
        stood.append(amount)
        paid += more


def test_what_a_change_adds_follows_its_rule() -> None:
    facts = {"before": Decimal(5), "highest": Decimal(10), "paid": Decimal(10)}
    found = {rule: [added(Decimal(amount), **facts, rule=rule) for amount in (4, 6, 12)] for rule in MidPeriod}
    assert found == {
        MidPeriod.PRORATED: [-1, 1, 7], MidPeriod.WHOLE: [0, 0, 2], MidPeriod.NEXT_PERIOD: [0, 0, 0]
    }  # fmt: skip
