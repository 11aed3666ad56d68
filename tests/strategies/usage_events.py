"""Random usage: few customers, ids, hours and values, so that they meet; corrections and cancellations among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from billing.metering.cloud_event import CloudEvent, event_of
from models.column_types import utc_text

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
_START = datetime(2026, 3, 4, tzinfo=UTC)

values = st.one_of(
    st.integers(0, 10**6),
    st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=9).map(lambda number: format(number, "f")),
    st.sampled_from([0, "0", "0.000000000000000000000001", "99999999999999999999999999", 2**53 - 1]),
)
times = st.builds(
    lambda hours, micros: utc_text(_START + timedelta(hours=hours, microseconds=micros)),
    st.integers(0, 3),
    st.integers(0, 3_599_999_999),
)


@st.composite
def usage_histories(draw: st.DrawFn, most: int = 9) -> list[CloudEvent]:
    """Events of distinct keys, some correcting or cancelling another, each at most once: their order is free."""
    count = draw(st.integers(1, most))
    targets = draw(st.lists(st.integers(0, count + 1), unique=True, max_size=count))
    events: list[CloudEvent] = []
    for number in range(count):
        corrects = targets[number] if number < len(targets) and draw(st.booleans()) else None
        if corrects == number:
            corrects = None
        cancels = corrects is not None and draw(st.booleans())
        events.append(
            event_of(
                source="s",
                event_id=str(number),
                event_type="llm",
                customer=draw(st.sampled_from(["acme", "acme", "acme", "bolt"])),
                time=draw(times),
                data={} if cancels else _data(draw),
                now=NOW,
                corrects=None if corrects is None else ("s", str(corrects)),
                cancels=cancels,
            )
        )
    return events


def _data(draw: st.DrawFn) -> dict[str, object]:
    data: dict[str, object] = {"input_tokens": draw(values), "model": draw(st.sampled_from(["small", "large"]))}
    if draw(st.booleans()):
        data["output_tokens"] = draw(values)
    if draw(st.booleans()):
        data["region"] = draw(st.sampled_from(["eu", "us"]))
    return data


@st.composite
def sends(draw: st.DrawFn, most: int = 8) -> list[CloudEvent]:
    """A stream in which keys repeat with equal and with other bodies."""
    return [
        event_of(
            source="s",
            event_id=str(draw(st.integers(0, 4))),
            event_type=draw(st.sampled_from(["llm", "llm", "llm", "unheard-of"])),
            customer=draw(st.sampled_from(["acme", "bolt", "nobody"])),
            time="2026-03-04T05:06:07Z",
            data={"input_tokens": draw(st.sampled_from([1, 2, -3, "x"]))},
            now=NOW,
            corrects=draw(st.sampled_from([None, None, None, ("s", "9"), ("s", "8")])),
        )
        for _ in range(draw(st.integers(1, most)))
    ]
