from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.period import BillingCycle, Interval, Period, local_midnight, parse_instant, parse_zone

UTC_ZONE = parse_zone("UTC")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Seoul", "Asia/Kolkata", "America/Havana", "Pacific/Apia")

instants = st.integers(0, 62 * 365 * 86_400_000_000).map(
    lambda us: datetime(1975, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
cycles = st.builds(
    lambda interval, zone, day, start: BillingCycle.on_day(interval, parse_zone(zone), day, start),
    st.sampled_from(Interval),
    st.sampled_from(ZONES),
    st.integers(1, 31),
    instants,
)


def at(text: str, zone: str = "UTC") -> datetime:
    return parse_instant(text, "at", parse_zone(zone))


def span(start: str, end: str, zone: str = "UTC") -> Period:
    return Period(at(start, zone), at(end, zone))


def starts(cycle: BillingCycle, within: Period) -> list[str]:
    return [period.start.astimezone(cycle.zone).date().isoformat() for period in cycle.periods(within)]


def test_period_is_half_open_and_kept_in_utc() -> None:
    korea = timezone(timedelta(hours=9))
    period = Period(datetime(2024, 1, 1, 9, tzinfo=korea), datetime(2024, 1, 2, 9, tzinfo=korea))
    assert period == span("2024-01-01", "2024-01-02")
    assert period.start.tzinfo is UTC
    assert period.start in period
    assert period.end not in period
    assert period.end - timedelta(microseconds=1) in period


def test_period_refuses_naive_and_reversed() -> None:
    with pytest.raises(InvalidValueError, match="offset") as naive:
        Period(datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC))  # noqa: DTZ001
    assert naive.value.code == "naive_time"
    with pytest.raises(InvalidValueError) as reversed_:
        span("2024-01-02", "2024-01-01")
    assert reversed_.value.code == "period_reversed"


def test_empty_period_holds_nothing() -> None:
    empty = span("2024-01-01", "2024-01-01")
    assert empty.is_empty
    assert empty.start not in empty
    assert empty.intersection(span("2023-01-01", "2025-01-01")) is None
    assert list(BillingCycle.calendar(Interval.MONTH, UTC_ZONE).periods(empty)) == []


def test_without_cuts_overlapping_and_outer_holes() -> None:
    year = span("2024-01-01", "2025-01-01")
    holes = (
        span("2024-03-01", "2024-04-01"),
        span("2024-03-15", "2024-05-01"),
        span("2023-12-01", "2024-01-10"),
        span("2024-12-20", "2025-02-01"),
        span("2026-01-01", "2027-01-01"),
    )
    assert year.without(holes) == (span("2024-01-10", "2024-03-01"), span("2024-05-01", "2024-12-20"))
    assert year.without(()) == (year,)
    assert year.without((year,)) == ()


@given(instants, st.lists(st.tuples(instants, instants), max_size=5))
def test_without_leaves_exactly_the_instants_outside_every_hole(
    probe: datetime, ends: list[tuple[datetime, datetime]]
) -> None:
    whole = span("1975-01-01", "2037-01-01")
    holes = tuple(Period(min(pair), max(pair)) for pair in ends)
    pieces = whole.without(holes)
    assert sum(probe in piece for piece in pieces) == (probe in whole and not any(probe in hole for hole in holes))


@pytest.mark.parametrize(
    ("text", "zone", "utc"),
    [
        ("2024-02-29", "UTC", "2024-02-29T00:00:00+00:00"),
        ("2024-03-10", "America/New_York", "2024-03-10T05:00:00+00:00"),
        ("2024-03-11", "America/New_York", "2024-03-11T04:00:00+00:00"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00+00:00"),  # Midnight was skipped.
        ("2024-11-03", "America/Havana", "2024-11-03T04:00:00+00:00"),  # Midnight came twice.
        ("2024-01-01T00:00:00+09:00", "UTC", "2023-12-31T15:00:00+00:00"),
        ("2024-01-01T00:00:00.123456789Z", "UTC", "2024-01-01T00:00:00.123456+00:00"),
        ("2024-01-01 00:00:00.5z", "UTC", "2024-01-01T00:00:00.500000+00:00"),
    ],
)
def test_instants(text: str, zone: str, utc: str) -> None:
    assert at(text, zone).isoformat() == utc


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2024-01-01T00:00:00", "naive_time"),
        ("2023-02-29", "invalid_time"),
        ("2024-01-01T24:00:01Z", "invalid_time"),
        ("2024-06-30T23:59:60Z", "invalid_time"),
        ("2024-W01-1", "invalid_time"),
        ("20240101", "invalid_time"),
        ("2024-01-01Z", "invalid_time"),
        ("yesterday", "invalid_time"),
        ("", "invalid_time"),
        (None, "invalid_time"),
        (1700000000, "invalid_time"),
        ("\u0662024-01-01", "invalid_time"),
        ("0001-01-01T00:00:00+14:00", "date_out_of_range"),
    ],
)
def test_what_is_no_instant_is_refused(value: object, code: str) -> None:
    with pytest.raises((InvalidValueError, LimitExceededError)) as refused:
        parse_instant(value, "time")
    assert (refused.value.code, refused.value.field) == (code, "time")


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "America", None, 9, ["UTC"]])
def test_unknown_zones_are_refused(name: object) -> None:
    with pytest.raises(InvalidValueError) as refused:
        parse_zone(name)
    assert refused.value.code == "unknown_zone"


def test_anchor_on_the_31st_bends_to_short_months_and_comes_back() -> None:
    cycle = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 31, at("2023-01-31"))
    assert starts(cycle, span("2023-01-31", "2023-07-01")) == [
        "2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31", "2023-06-30",
    ]  # fmt: skip
    assert starts(cycle, span("2024-02-01", "2024-04-01")) == ["2024-01-31", "2024-02-29", "2024-03-31"]


def test_anniversary_of_a_leap_day() -> None:
    cycle = BillingCycle.anniversary(Interval.YEAR, UTC_ZONE, at("2024-02-29T15:00:00Z"))
    assert starts(cycle, span("2024-03-01", "2029-01-01")) == [
        "2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29",
    ]  # fmt: skip


def test_quarters_keep_step_with_their_anchor() -> None:
    calendar = BillingCycle.calendar(Interval.QUARTER, UTC_ZONE)
    assert starts(calendar, span("2024-05-20", "2024-12-31")) == ["2024-04-01", "2024-07-01", "2024-10-01"]
    own = BillingCycle.anniversary(Interval.QUARTER, UTC_ZONE, at("2023-11-30"))
    assert starts(own, span("2023-11-30", "2024-12-01")) == [
        "2023-11-30", "2024-02-29", "2024-05-30", "2024-08-30", "2024-11-30",
    ]  # fmt: skip


def test_weeks_begin_on_monday_and_half_years_in_january() -> None:
    assert starts(BillingCycle.calendar(Interval.WEEK, UTC_ZONE), span("2025-10-06", "2025-10-20")) == [
        "2025-10-06",
        "2025-10-13",
    ]
    assert starts(BillingCycle.calendar(Interval.HALF_YEAR, UTC_ZONE), span("2024-06-30", "2024-07-02")) == [
        "2024-01-01",
        "2024-07-01",
    ]


def test_a_month_of_daylight_saving_is_an_hour_short_and_in_autumn_long() -> None:
    cycle = BillingCycle.calendar(Interval.MONTH, parse_zone("America/New_York"))
    hour = 3_600_000_000
    march = cycle.period_containing(at("2024-03-15"))
    november = cycle.period_containing(at("2024-11-15"))
    assert march.microseconds == (31 * 24 - 1) * hour
    assert november.microseconds == (30 * 24 + 1) * hour
    assert march.start == at("2024-03-01T05:00:00Z")
    assert march.end == at("2024-04-01T04:00:00Z")


def test_a_local_day_that_a_zone_skipped_has_no_period() -> None:
    cycle = BillingCycle.calendar(Interval.DAY, parse_zone("Pacific/Apia"))
    assert starts(cycle, span("2011-12-29", "2012-01-01", "Pacific/Apia")) == ["2011-12-29", "2011-12-31"]


@given(cycles, instants)
def test_every_instant_lies_in_exactly_one_turn(cycle: BillingCycle, instant: datetime) -> None:
    turn = cycle.turn_of(instant)
    period = cycle.period_of(turn)
    assert instant in period
    assert cycle.period_of(turn - 1).end == period.start
    assert cycle.period_of(turn + 1).start == period.end
    assert cycle.period_containing(period.start) == period


@given(cycles, instants, st.integers(0, 200))
def test_periods_cover_a_span_without_gap_or_overlap(cycle: BillingCycle, start: datetime, days: int) -> None:
    within = Period(start, start + timedelta(days=days, seconds=1))
    periods = list(cycle.periods(within))
    assert periods[0].start <= within.start
    assert periods[-1].end >= within.end
    assert all(left.end == right.start for left, right in pairwise(periods))
    assert all(period.intersection(within) is not None for period in periods)


@given(cycles, instants)
def test_a_monthly_period_begins_on_the_anchor_day_or_the_last_of_a_shorter_month(
    cycle: BillingCycle, instant: datetime
) -> None:
    if cycle.interval in {Interval.DAY, Interval.WEEK}:
        return
    first = cycle.start_of(cycle.turn_of(instant))
    local = first.astimezone(cycle.zone).date()
    if cycle.zone.key == "Pacific/Apia" and local == date(2011, 12, 31):
        return  # The 30th did not happen there.
    assert local.day == cycle.day or (local.day < cycle.day and (local + timedelta(days=1)).day == 1)


def test_anchor_days_and_years_have_bounds() -> None:
    with pytest.raises(InvalidValueError) as anchor:
        BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 32, at("2024-01-01"))
    assert anchor.value.code == "invalid_anchor"
    cycle = BillingCycle.calendar(Interval.YEAR, UTC_ZONE)
    with pytest.raises(LimitExceededError) as year:
        cycle.start_of(9_000)
    assert year.value.code == "date_out_of_range"
    with pytest.raises(LimitExceededError):
        local_midnight(date(1, 1, 1), parse_zone("Asia/Seoul"))
