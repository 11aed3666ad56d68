"""Bad inputs: each is refused with a code of its own and leaves nothing, or is harmless and taken as it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.metering.cloud_event import CloudEvent
from billing.metering.counters import counter_of, read_value
from billing.metering.parsing import InvalidEvent, parse_batch, parse_event, parse_or_refuse
from models.values.errors import DomainError, InvalidValueError, LimitExceededError
from pricing_engine.catalog import Meter

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "gateway",
    "type": "llm",
    "subject": "acme",
    "time": "2026-03-04T05:06:07Z",
    "data": {"tokens": 5},
}
TOKENS = counter_of(Meter(key="tokens", event_type="llm", value_property="tokens"))


def sent(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def raw(**texts: str) -> bytes:
    """The event with raw JSON in place of some values."""
    text = json.dumps({**GOOD, **{name: f"@{name}@" for name in texts}})
    for name, value in texts.items():
        text = text.replace(f'"@{name}@"', value)
    return text.encode("utf-8", "surrogatepass")


BAD_EVENTS: dict[str, tuple[bytes, str, str]] = {
    "1 NaN": (raw(data='{"tokens": NaN}'), "malformed_json", "event"),
    "2 Infinity": (raw(data='{"tokens": Infinity}'), "malformed_json", "event"),
    "3 1e400": (raw(data='{"tokens": 1e400}'), "number_out_of_range", "data"),
    "6 a float": (raw(data='{"tokens": 0.30000000000000004}'), "float_refused", "data.tokens"),
    "6 a nested float": (raw(data='{"tokens": 1, "more": [{"x": 1.5}]}'), "float_refused", "data.more.0.x"),
    "7 10^30 integer": (raw(data='{"tokens": 1' + "0" * 30 + "}"), "unsafe_integer", "data.tokens"),
    "11 null id": (sent(id=None), "missing_field", "id"),
    "11 null subject": (sent(subject=None), "missing_field", "subject"),
    "11 no time": (without("time"), "missing_field", "time"),
    "11 null data": (sent(data=None), "missing_field", "data"),
    "12 unknown attribute": (sent(price="0"), "unknown_field", "price"),
    "12 tenant in the body": (sent(tenant="other"), "unknown_field", "tenant"),
    "13 attribute twice": (raw()[:-1] + b', "id": "2"}', "duplicate_key", "id"),
    "13 property twice": (raw(data='{"tokens": 1, "tokens": 2}'), "duplicate_key", "tokens"),
    "13 property twice, escaped": (raw(data='{"tokens": 1, "tok\\u0065ns": 2}'), "duplicate_key", "tokens"),
    "13 nested property twice": (raw(data='{"tokens": 1, "a": {"b": 1, "b": 1}}'), "duplicate_key", "b"),
    "14 nested 10k deep": (raw(data='{"tokens": ' + "[" * 10_000 + "]" * 10_000 + "}"), "data_too_deep", "data"),
    "14 nested 9 deep": (raw(data='{"tokens": ' + "[" * 9 + "]" * 9 + "}"), "data_too_deep", "data"),
    "15 a large event": (sent(data={"tokens": 1, "text": "x" * 200_000}), "event_too_large", "event"),
    "15 large data": (sent(data={"tokens": 1, "text": "x" * 70_000}), "data_too_large", "data"),
    "22 key of 10 kB": (sent(id="x" * 10_000), "invalid_id", "id"),
    "22 key with NUL": (sent(id="a\0b"), "invalid_id", "id"),
    "22 empty key": (sent(id=""), "invalid_id", "id"),
    "23 key not in NFC": (sent(id="e\u0301"), "invalid_id", "id"),
    "25 lone surrogate": (raw(id='"\\ud800"'), "malformed_json", "event"),
    "25 invalid UTF-8": (raw().replace(b"acme", b"ac\xff\xfe"), "invalid_utf8", "event"),
    "27 no zone": (sent(time="2026-03-04T05:06:07"), "naive_time", "time"),
    "27 no clock": (sent(time="2026-03-04"), "invalid_time", "time"),
    "28 year 9999": (sent(time="9999-12-31T23:59:59Z"), "time_in_future", "time"),
    "28 beyond year 9999": (sent(time="9999-12-31T23:59:59-01:00"), "date_out_of_range", "time"),
    "28 year 1": (sent(time="0001-01-01T00:00:00Z"), "time_too_early", "time"),
    "29 ten years ahead": (sent(time="2036-03-04T05:06:07Z"), "time_in_future", "time"),
    "29 a day and a moment ahead": (sent(time="2026-04-01T12:00:00.000001Z"), "time_in_future", "time"),
    "the last moment of 1999": (sent(time="1999-12-31T23:59:59.999999Z"), "time_too_early", "time"),
    "32 leap second": (sent(time="2016-12-31T23:59:60Z"), "leap_second", "time"),
    "a time that is none": (sent(time="2026-02-30T05:06:07Z"), "invalid_time", "time"),
    "a number as id": (sent(id=5), "wrong_type", "id"),
    "a list": (b"[1]", "not_an_object", "event"),
    "another specversion": (sent(specversion="0.3"), "unknown_specversion", "specversion"),
    "another content type": (sent(datacontenttype="text/csv"), "unknown_content_type", "datacontenttype"),
    "correcting itself": (sent(correctsid="1"), "corrects_itself", "correctsid"),
    "a source to correct without an id": (sent(correctssource="x"), "missing_field", "correctsid"),
    "a cancellation of nothing": (sent(cancels=True), "missing_field", "correctsid"),
    "a cancellation with data": (sent(cancels=True, correctsid="0"), "cancellation_has_data", "data"),
    "cut off": (raw()[:-5], "malformed_json", "event"),
}

BAD_VALUES: dict[str, tuple[object, str]] = {
    "1 NaN as text": ("NaN", "not_a_number"),
    "2 Infinity as text": ("Infinity", "not_a_number"),
    "3 1e400 as text": ("1e400", "number_too_large"),
    "4 negative": (-1, "negative_quantity"),
    "4 negative text": ("-0.5", "negative_quantity"),
    "7 10^30 as text": ("1" + "0" * 30, "number_too_large"),
    "8 40 decimal places": ("0." + "0" * 39 + "1", "too_many_decimal_places"),
    "9 a decimal comma": ("1,5", "not_a_number"),
    "10 a boolean": (True, "boolean_as_number"),
    "26 a CSV formula": ("=cmd|' /C calc'!A0", "not_a_number"),
    "a list": ([1], "not_a_number"),
    "a superscript": ("²", "not_a_number"),
}

BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "14 nested 10k deep": (b"[" * 10_000, "data_too_deep"),
    "15 50 MB": (b" " * 50_000_000, "body_too_large"),
    "17 batch of 0": (b"[]", "empty_batch"),
    "18 batch of 1,000,001": (b"[" + b"0," * 1_000_000 + b"0]", "batch_too_large"),
    "no list": (raw(), "not_a_list"),
    "cut off": (b"[" + raw(), "malformed_json"),
    "nothing": (b"", "malformed_json"),
}

HARMLESS: dict[str, bytes] = {
    "5 minus zero": (raw(data='{"tokens": -0}')),
    "5 minus zero as text": (sent(data={"tokens": "-0"})),
    "24 right-to-left and zero-width id": (sent(id="\u202eabc\u200b")),
    "26 SQL as id": (sent(id="'; DROP TABLE usage_event; --")),
    "26 HTML in a property": (sent(data={"tokens": 1, "note": "<script>alert(1)</script>"})),
    "26 a formula in a property": (sent(data={"tokens": 1, "note": "=cmd()"})),
    "29 a day ahead": (sent(time="2026-04-01T12:00:00Z")),
    "the first moment of 2000": (sent(time="2000-01-01T00:00:00Z")),
    "31 the first 01:30": (sent(time="2025-10-26T01:30:00+02:00")),
    "31 the second 01:30": (sent(time="2025-10-26T01:30:00+01:00")),
    "40 a path in a name": (sent(source="../../etc/passwd")),
    "a NUL in a property": (sent(data={"tokens": 1, "note": "a\0b"})),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_with_its_own_code(name: str) -> None:
    body, code, field = BAD_EVENTS[name]
    with pytest.raises((InvalidValueError, LimitExceededError)) as refusal:
        parse_event(body, NOW)
    assert (refusal.value.code, refusal.value.field) == (code, field)
    refused = parse_or_refuse(body, NOW)
    assert isinstance(refused, InvalidEvent)
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_by_the_meter_that_reads_it(name: str) -> None:
    value, code = BAD_VALUES[name]
    event = parse_event(sent(data={"tokens": value}), NOW)
    with pytest.raises(DomainError) as refusal:
        read_value(TOKENS, event.data)
    assert (refusal.value.code, refusal.value.field) == (code, "data.tokens")


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_cannot_be_taken_apart_is_refused_whole(name: str) -> None:
    body, code = BAD_BODIES[name]
    with pytest.raises(DomainError) as refusal:
        parse_batch(body, NOW)
    assert refusal.value.code == code


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_bad_is_taken_as_it_is(name: str) -> None:
    body = HARMLESS[name]
    event = parse_event(body, NOW)
    document = json.loads(body)
    assert (event.event_id, event.source, dict(event.data)) == (document["id"], document["source"], document["data"])
    read_value(TOKENS, event.data)


def test_one_bad_event_does_not_fail_its_batch() -> None:
    received = parse_batch(b"[" + b",".join([sent(id="a"), sent(id=None), sent(id="c")]) + b"]", NOW)
    assert [type(each) for each in received] == [CloudEvent, InvalidEvent, CloudEvent]
    refused = received[1]
    assert isinstance(refused, InvalidEvent)
    assert "id" in refused.message


@pytest.mark.parametrize("spoilt", [rb'"\ud800"', b"NaN", b"-Infinity"])
def test_a_text_or_number_that_is_none_does_not_fail_its_batch(spoilt: bytes) -> None:
    bad = sent(id="b", data={"note": "?"}).replace(b'"?"', spoilt)
    received = parse_batch(b" [ " + b" , ".join([sent(id="a"), bad, sent(id="c")]) + b" ] ", NOW)
    assert [type(each) for each in received] == [CloudEvent, InvalidEvent, CloudEvent]
    assert received[1].code == "malformed_json"  # type: ignore[union-attr]


def test_a_refused_event_is_answered_with_its_key_as_far_as_it_can_be_read() -> None:
    refused = parse_or_refuse(sent(time="never"), NOW)
    assert isinstance(refused, InvalidEvent)
    assert (refused.source, refused.event_id) == ("gateway", "1")
