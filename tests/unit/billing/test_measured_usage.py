"""What a window measures depends on the events that pass by, and not on how many pass by at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.measured_usage import Measured, UsageMeasurer, Window
from billing.metering.history import StoredEvent, in_batches
from pricing_engine.aggregation import AggregationKind
from pricing_engine.catalog import Meter

START = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS: list[object] = [0, 3, 7, "12", "2.5", "0.0000000001", -4, "-0", True, None, "many", {"a": 1}, "9" * 30]
METERED = [kind for kind in AggregationKind if kind is not AggregationKind.PERCENTILE]
"""A percentile needs to be told which, so no meter is one."""
WINDOWS = [
    Window("m", START, START + timedelta(hours=30), by_event=False),
    Window("m", START + timedelta(hours=6), START + timedelta(hours=12), by_event=True),
]


@st.composite
def usage(draw: st.DrawFn) -> list[StoredEvent]:
    """Draw events of an hour each, some unreadable, some outside every window, some of another type."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        data: dict[str, Any] = {
            "model": draw(st.sampled_from(["small", "large", 3])),
            "amount": draw(st.sampled_from(AMOUNTS)),
        }
        at = START + timedelta(hours=draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["used", "used", "used", "other"]))
        made.append(StoredEvent("s", str(number), kind, "c", at, at, json.dumps(data)))
    return made


def measured(meter: Meter, batches: list[list[StoredEvent]]) -> dict[Window, Measured]:
    measurer = UsageMeasurer({"m": meter}, WINDOWS)
    for events in batches:
        measurer.add(events)
    return measurer.measured()


@pytest.mark.parametrize("filters", [{}, {"model": ("small", "3")}])
@pytest.mark.parametrize("group_by", [(), ("model",)])
@pytest.mark.parametrize("kind", METERED)
@given(events=usage(), cut=st.integers(0, 12))
def test_one_event_at_a_time_measures_what_many_at_once_do(
    kind: AggregationKind, group_by: tuple[str, ...], filters: dict[str, Any], events: list[StoredEvent], cut: int
) -> None:
    value = None if kind is AggregationKind.COUNT else "amount"
    meter = Meter(
        key="m", event_type="used", aggregation=kind.value, value_property=value, group_by=group_by, filters=filters
    )
    singly = measured(meter, [[event] for event in events])
    assert measured(meter, [events]) == singly
    assert measured(meter, [events[:cut], events[cut:]]) == singly


def test_a_sum_is_that_of_what_can_be_read_inside() -> None:
    events = [
        StoredEvent("s", str(hour), "used", "c", START + timedelta(hours=hour), START, json.dumps({"amount": amount}))
        for hour, amount in [(0, 1), (6, "2.5"), (11, 4), (12, 8), (29, "many"), (30, 16)]
    ]
    meter = Meter(key="m", event_type="used", aggregation="sum", value_property="amount")
    whole, inner = (measured(meter, [events])[window] for window in WINDOWS)
    assert (whole.units, whole.event_count, whole.listed) == (Decimal("15.5"), 4, ())
    assert (inner.units, inner.event_count) == (Decimal("6.5"), 2)
    assert [value for _, value in inner.listed] == [Decimal("2.5"), Decimal(4)]


def test_batches_hold_every_event_in_order() -> None:
    events = [StoredEvent("s", str(number), "used", "c", START, START, "{}") for number in range(4_001)]
    batches = list(in_batches(iter(events)))
    assert [event for some in batches for event in some] == events
    assert max(map(len, batches)) == 2_000
