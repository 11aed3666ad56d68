"""Usage billed as it happens: what the latest event adds to what was billed before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from models.values.errors import InvalidValueError
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.aggregation import NO_CARRY, Aggregation, Carried, GroupKey, aggregate
from pricing_engine.usage_event import UsageEvent, event_order


def units_in_advance(
    aggregation: Aggregation,
    events: Iterable[UsageEvent],
    period: Period,
    *,
    carried: Mapping[GroupKey, Carried] = NO_CARRY,
    billed: Decimal,
) -> Decimal:
    """Return by how many units the last event lifts its aggregate above `billed` and above where it ever stood.

    What was billed once in a period is not billed again when units are removed and come back (Lago, pay in
    advance). Takes time in proportion to the square of the number of events. Raises InvalidValueError with groups.
    """
    if aggregation.group_by:
        raise InvalidValueError("is billed one group at a time", field="group_by", code="one_group_only")
    ordered = sorted(events, key=event_order)
    if not ordered:
        return Decimal(0)
    highest = billed
    for count in range(len(ordered)):
        highest = max(highest, aggregate(aggregation, ordered[:count], period, carried=carried).units)
    now = aggregate(aggregation, ordered, period, carried=carried).units
    return max(EXACT.subtract(now, highest), Decimal(0))
