"""Periods, instants and billing cycles: which stretch of time a price is for.

A period is half-open: it holds its start and not its end, so neighbours share no instant and leave none out.
Instants are aware UTC. A billing cycle begins at local midnight of its zone, wherever the clocks stand.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.values.errors import InvalidValueError, LimitExceededError

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)"  # day
    r"(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:\d\d)?)?",  # clock, what is finer, offset
    re.ASCII,
)
_MICROSECOND_DIGITS = 6
_MONTHS_A_YEAR = 12
_LAST_ANCHOR_DAY = 31
_MONDAY = date(2001, 1, 1)


class Interval(StrEnum):
    """How long one turn of a billing cycle is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"


_DAYS = {Interval.DAY: 1, Interval.WEEK: 7}
_MONTHS = {Interval.MONTH: 1, Interval.QUARTER: 3, Interval.HALF_YEAR: 6, Interval.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Period:
    """All instants from `start` up to, but without, `end`. May be empty (start == end), never reversed.

    Aware datetimes of any offset are taken and kept as UTC. Raises InvalidValueError for naive or reversed ones.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", as_utc(self.start, "start"))
        object.__setattr__(self, "end", as_utc(self.end, "end"))
        if self.end < self.start:
            raise InvalidValueError(
                f"must not lie before the start {self.start.isoformat()}",
                field="end",
                value=self.end.isoformat(),
                code="period_reversed",
            )

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def is_empty(self) -> bool:
        """Whether no instant lies in it."""
        return self.start == self.end

    @property
    def microseconds(self) -> int:
        """Elapsed time; an hour repeated or skipped by daylight saving counts as it passed."""
        return (self.end - self.start) // timedelta(microseconds=1)

    def intersection(self, other: Period) -> Period | None:
        """Return the instants in both, or None where there are none."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Period(start, end) if start < end else None

    def covers(self, other: Period) -> bool:
        """Whether every instant of `other` lies in this period; an empty one may also stand at the end."""
        return self.start <= other.start and other.end <= self.end

    def without(self, holes: tuple[Period, ...]) -> tuple[Period, ...]:
        """Return what is left of this period, in order, when `holes` (any order, may overlap) are cut out."""
        pieces, reached = [], self.start
        for hole in sorted(holes, key=lambda period: period.start):
            if hole.start > reached:
                pieces.append(Period(reached, min(hole.start, self.end)))
            reached = max(reached, hole.end)
            if reached >= self.end:
                break
        if reached < self.end:
            pieces.append(Period(reached, self.end))
        return tuple(piece for piece in pieces if not piece.is_empty)


@dataclass(frozen=True, slots=True)
class BillingCycle:
    """An endless row of periods that meet: every `interval`, from local midnight of the anchor in `zone`.

    `day` is the wanted day of the month, 1 to 31. In a shorter month the period begins on the month's last day,
    and returns to `day` after it: 31 January, 28 February, 31 March. It has no meaning for days and weeks.
    """

    interval: Interval
    zone: ZoneInfo
    anchor: date
    day: int

    def __post_init__(self) -> None:
        if not 1 <= self.day <= _LAST_ANCHOR_DAY:
            raise InvalidValueError(
                f"must be a day of the month, 1 to {_LAST_ANCHOR_DAY}",
                field="anchor",
                value=self.day,
                code="invalid_anchor",
            )

    @classmethod
    def calendar(cls, interval: Interval, zone: ZoneInfo) -> BillingCycle:
        """Months from the 1st, quarters from January, weeks from Monday."""
        return cls(interval, zone, _MONDAY, 1)

    @classmethod
    def anniversary(cls, interval: Interval, zone: ZoneInfo, start: datetime) -> BillingCycle:
        """Periods that begin on the local day on which `start` lies, and its anniversaries."""
        local = as_utc(start, "start").astimezone(zone).date()
        return cls(interval, zone, local, local.day)

    @classmethod
    def on_day(cls, interval: Interval, zone: ZoneInfo, day: int, start: datetime) -> BillingCycle:
        """Periods that begin on the `day`-th, in step with the month in which `start` lies."""
        return cls(interval, zone, as_utc(start, "start").astimezone(zone).date().replace(day=1), day)

    def start_of(self, turn: int) -> datetime:
        """Return the instant at which turn `turn` begins; turn 0 holds the anchor's month, week or day."""
        return local_midnight(self._date_of(turn), self.zone)

    def turn_of(self, instant: datetime) -> int:
        """Return the number of the turn that holds `instant`."""
        utc = as_utc(instant, "instant")
        local = utc.astimezone(self.zone).date()
        if self.interval in _DAYS:
            turn = (local - self.anchor).days // _DAYS[self.interval]
        else:
            months = (local.year - self.anchor.year) * _MONTHS_A_YEAR + local.month - self.anchor.month
            turn = months // _MONTHS[self.interval]
        # The day within the month, or a local day that a zone skipped, may lie one turn off.
        while self.start_of(turn) > utc:
            turn -= 1
        while self.start_of(turn + 1) <= utc:
            turn += 1
        return turn

    def period_of(self, turn: int) -> Period:
        """Return the period of turn `turn`."""
        return Period(self.start_of(turn), self.start_of(turn + 1))

    def period_containing(self, instant: datetime) -> Period:
        """Return the one period that holds `instant`."""
        return self.period_of(self.turn_of(instant))

    def periods(self, span: Period) -> Iterator[Period]:
        """Yield, in order, the whole periods that share an instant with `span`."""
        if span.is_empty:
            return
        turn = self.turn_of(span.start)
        start = self.start_of(turn)
        while start < span.end:
            turn += 1
            end = self.start_of(turn)
            if start < end:
                yield Period(start, end)
            start = end

    def _date_of(self, turn: int) -> date:
        try:
            if self.interval in _DAYS:
                return self.anchor + timedelta(days=turn * _DAYS[self.interval])
            months = self.anchor.year * _MONTHS_A_YEAR + self.anchor.month - 1 + turn * _MONTHS[self.interval]
            year, month = divmod(months, _MONTHS_A_YEAR)
            return date(year, month + 1, min(self.day, monthrange(year, month + 1)[1]))
        except (ValueError, OverflowError) as error:
            raise LimitExceededError(
                "billing periods end with the year 9999", field="period", value=turn, code="date_out_of_range"
            ) from error


def as_utc(instant: datetime, field: str) -> datetime:
    """Return the same instant in UTC. Raises InvalidValueError for a naive datetime."""
    if instant.tzinfo is UTC:
        return instant
    if instant.utcoffset() is None:
        raise InvalidValueError("must carry its offset from UTC", field=field, value=instant, code="naive_time")
    try:
        return instant.astimezone(UTC)
    except OverflowError as error:
        raise LimitExceededError(
            "must lie in the years 1 to 9999", field=field, value=instant, code="date_out_of_range"
        ) from error


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a local day, in UTC, also where midnight is skipped or happens twice."""
    try:
        return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
    except OverflowError as error:
        raise LimitExceededError(
            "must lie in the years 1 to 9999", field="day", value=day, code="date_out_of_range"
        ) from error


def parse_zone(name: object, field: str = "zone") -> ZoneInfo:
    """Return the IANA zone of that name. Raises InvalidValueError for a name that is not in the database."""
    try:
        if isinstance(name, str) and name:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _unknown_zone(name, field) from error
    raise _unknown_zone(name, field)


def _unknown_zone(name: object, field: str) -> InvalidValueError:
    return InvalidValueError(
        "must be the name of an IANA time zone, like Asia/Seoul", field=field, value=name, code="unknown_zone"
    )


def parse_instant(value: object, field: str, zone: ZoneInfo | None = None) -> datetime:
    """Return an RFC 3339 time as UTC; a bare date is its first instant in `zone` (UTC if None).

    What is finer than a microsecond is cut. Raises InvalidValueError for a time without offset or for no time.
    """
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError(
            "must be an RFC 3339 time with an offset, or a date", field=field, value=value, code="invalid_time"
        )
    day, clock, rest, offset = match.groups()
    if clock is not None and offset is None:
        raise InvalidValueError("must carry its offset from UTC", field=field, value=value, code="naive_time")
    try:
        if clock is None:
            return local_midnight(date.fromisoformat(day), zone or parse_zone("UTC"))
        fraction = (rest or "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")
        shift = "+00:00" if offset in "Zz" else offset
        return as_utc(datetime.fromisoformat(f"{day}T{clock}.{fraction}{shift}"), field)
    except ValueError as error:
        raise InvalidValueError(str(error), field=field, value=value, code="invalid_time") from error
