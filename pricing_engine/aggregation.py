"""Aggregation: from the usage events of a period to the units that are priced.

One event counts once however often it is sent and in whatever order. An event that does not count is named with its
reason. `aggregation_frame` computes the same over polars frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType

from models.values.errors import ConflictError, InvalidValueError
from models.values.money import RoundingMode, round_fraction
from models.values.period import Period
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.scaling import decimals_of
from pricing_engine.usage_event import Operation, SkipReason, UsageEvent, counted_text, event_order

QUOTIENT_DIGITS = 12
"""Averages and weighted sums are quotients: rounded half away from zero to this many digits behind the point."""

_WHOLE = Decimal(100)
_PRECISION_BOUND = 24
_PERCENTILE_DIGITS = 6


class AggregationKind(StrEnum):
    """How events become one number."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVERAGE = "average"
    UNIQUE_COUNT = "unique_count"
    LATEST = "latest"
    WEIGHTED_SUM = "weighted_sum"
    PERCENTILE = "percentile"


CARRYING = frozenset(
    {AggregationKind.SUM, AggregationKind.LATEST, AggregationKind.UNIQUE_COUNT, AggregationKind.WEIGHTED_SUM}
)
"""Aggregations that can begin a period with what the one before left."""


_ROUNDING_MODES = MappingProxyType(
    {"round": RoundingMode.HALF_AWAY_FROM_ZERO, "ceil": RoundingMode.CEILING, "floor": RoundingMode.FLOOR}
)


@dataclass(frozen=True, slots=True)
class UnitRounding:
    """Rounding of the aggregate before it is priced: `round`, `ceil` or `floor` to 10^-precision units."""

    function: str
    precision: int = 0

    def __post_init__(self) -> None:
        if self.function not in _ROUNDING_MODES:
            raise InvalidValueError(
                "must be round, ceil or floor", field="rounding.function", value=self.function, code="unknown_rounding"
            )
        if abs(self.precision) > _PRECISION_BOUND:
            raise InvalidValueError(
                f"must be -{_PRECISION_BOUND} to {_PRECISION_BOUND}",
                field="rounding.precision",
                value=self.precision,
                code="rounding_precision_out_of_range",
            )

    @property
    def mode(self) -> RoundingMode:
        """The mode in the words of money."""
        return _ROUNDING_MODES[self.function]

    def apply(self, units: Decimal | Fraction) -> Decimal:
        """Round exact units."""
        return round_units(units, self.precision, self.mode)


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What a meter does with its events.

    `group_by` names properties whose values keep their own totals; `filters` maps a property to the values that
    count. `percentile` in percent, above 0 to 100, by nearest rank. `recurring`: what happened before the period
    stays in force (a level, a set of seats), so earlier events count towards its start.
    """

    kind: AggregationKind
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    rounding: UnitRounding | None = None
    percentile: Decimal | None = None
    recurring: bool = False

    def __post_init__(self) -> None:
        if (self.kind is AggregationKind.PERCENTILE) != (self.percentile is not None):
            raise InvalidValueError(
                "is needed for, and only for, the aggregation percentile",
                field="percentile",
                value=self.percentile,
                code="percentile_mismatch",
            )
        if self.percentile is not None and not 0 < self.percentile <= _WHOLE:
            raise InvalidValueError(
                "must be above 0 and at most 100", field="percentile", value=self.percentile, code="out_of_range"
            )
        if decimals_of(self.percentile) > _PERCENTILE_DIGITS:
            raise InvalidValueError(
                f"has at most {_PERCENTILE_DIGITS} decimal places",
                field="percentile",
                value=self.percentile,
                code="too_many_decimal_places",
            )
        if self.recurring and self.kind not in CARRYING:
            raise InvalidValueError(
                "carries nothing from one period to the next", field="recurring", value=self.kind, code="not_recurring"
            )

    @property
    def counts_values(self) -> bool:
        """Whether a value is only told apart from others, not calculated with."""
        return self.kind in {AggregationKind.COUNT, AggregationKind.UNIQUE_COUNT}


@dataclass(frozen=True, slots=True)
class Carried:
    """What a group brings into the period: a level (or a number of unnamed active values) and named active ones."""

    level: Decimal = Decimal(0)
    active: frozenset[str] = frozenset()


GroupKey = tuple[str | None, ...]
"""Values of the group-by properties, in their order; None where an event lacks one."""


@dataclass(frozen=True, slots=True)
class GroupUnits:
    """One group's result; `carried` is what it brings into the next period."""

    key: GroupKey
    units: Decimal
    event_count: int
    carried: Carried


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event, by its position, that did not count."""

    index: int
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Units to price. With groups they are priced one by one, and `units` is their sum."""

    units: Decimal
    event_count: int
    groups: tuple[GroupUnits, ...]
    skipped: tuple[Skipped, ...]


NO_CARRY: Mapping[GroupKey, Carried] = MappingProxyType({})


def aggregate(
    aggregation: Aggregation,
    events: Iterable[UsageEvent],
    period: Period,
    *,
    carried: Mapping[GroupKey, Carried] = NO_CARRY,
) -> Aggregate:
    """Aggregate the events that lie in `period`, starting each group from what it carries in.

    Order of the events, duplicates and empty groups change nothing. Raises ConflictError where two events share an
    id and differ; InvalidValueError for a carry or a `remove` that the aggregation has no use for, or an empty period.
    """
    _check(aggregation, period, carried)
    accepted, skipped = _accept(aggregation, events, period)
    results = []
    for key in sorted({*accepted, *carried}, key=_group_order):
        members = sorted(accepted.get(key, ()), key=event_order)
        inside = sum(event.time >= period.start for event in members)
        units, carry = _FOLDS[aggregation.kind](aggregation, members, period, carried.get(key, Carried()))
        rounded = aggregation.rounding.apply(units) if aggregation.rounding else units
        results.append(GroupUnits(key, rounded, inside, carry))
    total = _sum(group.units for group in results)
    if not results and not aggregation.group_by:
        results = [GroupUnits((), Decimal(0), 0, Carried())]
    return Aggregate(total, sum(group.event_count for group in results), tuple(results), skipped)


def round_units(
    units: Decimal | Fraction, digits: int, mode: RoundingMode = RoundingMode.HALF_AWAY_FROM_ZERO
) -> Decimal:
    """Round exact units to `digits` behind the point (before it, if negative)."""
    scale = Fraction(10) ** digits
    return Decimal(round_fraction(Fraction(units) * scale, mode)).scaleb(-digits, EXACT)


def _check(aggregation: Aggregation, period: Period, carried: Mapping[GroupKey, Carried]) -> None:
    if period.is_empty:
        raise InvalidValueError("must hold time", field="period", value=period.start.isoformat(), code="empty_period")
    for key, carry in carried.items():
        if carry != Carried() and aggregation.kind not in CARRYING:
            raise InvalidValueError(
                f"{aggregation.kind} carries nothing from one period to the next",
                field="carried",
                value=plain(carry.level),
                code="not_recurring",
            )
        if len(key) != len(aggregation.group_by):
            raise InvalidValueError(
                "must have one value for each group-by property", field="carried", value=key, code="group_mismatch"
            )


def _accept(
    aggregation: Aggregation, events: Iterable[UsageEvent], period: Period
) -> tuple[dict[GroupKey, list[UsageEvent]], tuple[Skipped, ...]]:
    known: dict[str, UsageEvent] = {}
    accepted: dict[GroupKey, list[UsageEvent]] = {}
    skipped = []
    for index, event in enumerate(events):
        reason = _refusal(aggregation, event, period) or _repetition(event, known)
        if reason:
            skipped.append(Skipped(index, reason))
            continue
        key = tuple(event.properties.get(name) for name in aggregation.group_by)
        accepted.setdefault(key, []).append(event)
    return accepted, tuple(skipped)


def _refusal(aggregation: Aggregation, event: UsageEvent, period: Period) -> SkipReason | None:
    if event.operation is Operation.REMOVE and aggregation.kind is not AggregationKind.UNIQUE_COUNT:
        raise InvalidValueError(
            "only a unique count can remove", field="operation", value=event.operation, code="operation_not_allowed"
        )
    if event.time >= period.end or (event.time < period.start and not aggregation.recurring):
        return SkipReason.OUTSIDE_PERIOD
    if any(event.properties.get(name) not in allowed for name, allowed in aggregation.filters.items()):
        return SkipReason.FILTERED_OUT
    if event.value is None and aggregation.kind is not AggregationKind.COUNT:
        return SkipReason.NO_VALUE
    if isinstance(event.value, str) and not aggregation.counts_values:
        return SkipReason.NOT_A_NUMBER
    return None


def _repetition(event: UsageEvent, known: dict[str, UsageEvent]) -> SkipReason | None:
    if event.event_id is None:
        return None
    first = known.get(event.event_id)
    if first is None:
        known[event.event_id] = event
        return None
    if first != event:
        raise ConflictError(
            "was sent before with other content", field="event_id", value=event.event_id, code="event_conflict"
        )
    return SkipReason.DUPLICATE


_Fold = Callable[[Aggregation, list[UsageEvent], Period, Carried], tuple[Decimal, Carried]]


def _count(_: Aggregation, events: list[UsageEvent], _period: Period, _carry: Carried) -> tuple[Decimal, Carried]:
    return Decimal(len(events)), Carried()


def _total(_: Aggregation, events: list[UsageEvent], _period: Period, carry: Carried) -> tuple[Decimal, Carried]:
    total = _sum([carry.level, *_values(events)])
    return total, Carried(total)


def _max(_: Aggregation, events: list[UsageEvent], _period: Period, _carry: Carried) -> tuple[Decimal, Carried]:
    return max(_values(events), default=Decimal(0)), Carried()


def _min(_: Aggregation, events: list[UsageEvent], _period: Period, _carry: Carried) -> tuple[Decimal, Carried]:
    return min(_values(events), default=Decimal(0)), Carried()


def _average(_: Aggregation, events: list[UsageEvent], _period: Period, _carry: Carried) -> tuple[Decimal, Carried]:
    if not events:
        return Decimal(0), Carried()
    return round_units(Fraction(_sum(_values(events))) / len(events), QUOTIENT_DIGITS), Carried()


def _unique(_: Aggregation, events: list[UsageEvent], _period: Period, carry: Carried) -> tuple[Decimal, Carried]:
    active = set(carry.active)
    for event in events:
        (active.add if event.operation is Operation.ADD else active.discard)(counted_text(event))
    return _sum([carry.level, Decimal(len(active))]), Carried(carry.level, frozenset(active))


def _latest(_: Aggregation, events: list[UsageEvent], _period: Period, carry: Carried) -> tuple[Decimal, Carried]:
    latest = _values(events)[-1] if events else carry.level
    return latest, Carried(latest)


def _weighted(_: Aggregation, events: list[UsageEvent], period: Period, carry: Carried) -> tuple[Decimal, Carried]:
    # The area under the steps: each change of level lasts from its instant to the end of the period.
    values = _values(events)
    area = sum(
        (
            Fraction(value) * Period(max(event.time, period.start), period.end).microseconds
            for event, value in zip(events, values, strict=True)
        ),
        Fraction(carry.level) * period.microseconds,
    )
    return round_units(area / period.microseconds, QUOTIENT_DIGITS), Carried(_sum([carry.level, *values]))


def _percentile(
    aggregation: Aggregation, events: list[UsageEvent], _period: Period, _carry: Carried
) -> tuple[Decimal, Carried]:
    values = sorted(_values(events))
    return (values[nearest_rank(aggregation, len(values))] if values else Decimal(0)), Carried()


_FOLDS: Mapping[AggregationKind, _Fold] = MappingProxyType(
    {
        AggregationKind.COUNT: _count,
        AggregationKind.SUM: _total,
        AggregationKind.MAX: _max,
        AggregationKind.MIN: _min,
        AggregationKind.AVERAGE: _average,
        AggregationKind.UNIQUE_COUNT: _unique,
        AggregationKind.LATEST: _latest,
        AggregationKind.WEIGHTED_SUM: _weighted,
        AggregationKind.PERCENTILE: _percentile,
    }
)


def nearest_rank(aggregation: Aggregation, count: int) -> int:
    """Position, from 0, of the percentile among `count` ascending values: ceil(p / 100 x count) - 1."""
    share = Fraction(aggregation.percentile or _WHOLE) / 100
    return -(-share.numerator * count // share.denominator) - 1


def _values(events: Iterable[UsageEvent]) -> list[Decimal]:
    return [event.value for event in events if isinstance(event.value, Decimal)]


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def _group_order(key: GroupKey) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in key)
