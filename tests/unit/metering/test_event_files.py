"""Event files: read as they are, refused whole where their form is broken, with file and line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.metering.cloud_event import CloudEvent
from billing.metering.csv_mapping import CsvMapping, parse_mapping
from billing.metering.event_files import open_event_file
from billing.metering.parsing import InvalidEvent
from models.values.errors import InvalidValueError

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
MAPPING: dict[str, Any] = {
    "fields": {
        "source": {"file": "stem"},
        "id": {"row": {}},
        "type": {"constant": "llm"},
        "subject": {"row": {"modulo": 3}, "prefix": "customer-", "pad": 2},
        "time": {"column": "AT", "zone": "UTC"},
    },
    "data": {
        "tokens": {"column": "Tokens"},
        "model": {"row": {"divide": 3, "modulo": 2}, "lookup": ["small", "large"]},
        "kind": {"column": "Kind", "prefix": "k:"},
        "weight": {"constant": 2},
    },
}


def mapping(**changes: Any) -> CsvMapping:
    return parse_mapping({**MAPPING, **changes}, "mapping.yaml")


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rows_become_events_by_their_mapping(tmp_path: Path) -> None:
    rows = [f"2023-11-16 18:17:0{n}.9799600,{n * 10},a" for n in range(7)]
    path = written(tmp_path / "trace.csv", "\ufeffAT,Tokens,Kind\r\n" + "\r\n".join(rows))
    file = open_event_file(path, mapping())
    assert file.check() == 7
    events = [(line, event) for line, event in file.events(NOW) if isinstance(event, CloudEvent)]
    assert [line for line, _ in events] == [2, 3, 4, 5, 6, 7, 8]
    assert [event.customer for _, event in events] == [f"customer-0{n % 3}" for n in range(7)]
    assert [event.data["model"] for _, event in events] == ["small"] * 3 + ["large"] * 3 + ["small"]
    last = events[-1][1]
    assert (last.source, last.event_id, last.event_type) == ("trace", "6", "llm")
    assert last.time_text == "2023-11-16T18:17:06.979960Z"
    assert last.data == {"tokens": "60", "model": "small", "kind": "k:a", "weight": 2}


@pytest.mark.parametrize(
    ("written_time", "instant"),
    [
        ("2025-03-30 01:59:59", "2025-03-30T00:59:59.000000Z"),
        ("2025-03-30 02:30:00", "2025-03-30T01:30:00.000000Z"),  # Skipped: an hour later, 03:30 summer time.
        ("2025-10-26 02:30:00", "2025-10-26T00:30:00.000000Z"),  # Shown twice: the first.
        ("2025-10-26T02:30:00+01:00", "2025-10-26T01:30:00.000000Z"),
        ("2025-07-01 12:00:00Z", "2025-07-01T12:00:00.000000Z"),
    ],
)
def test_a_local_time_is_one_instant(tmp_path: Path, written_time: str, instant: str) -> None:
    fields = {**MAPPING["fields"], "time": {"column": "AT", "zone": "Europe/Berlin"}}
    path = written(tmp_path / "t.csv", f"AT\n{written_time}\n")
    ((_, event),) = open_event_file(path, mapping(fields=fields, data={})).events(NOW)
    assert isinstance(event, CloudEvent)
    assert event.time_text == instant


def test_a_row_that_breaks_a_rule_is_one_invalid_event(tmp_path: Path) -> None:
    path = written(
        tmp_path / "t.csv", "AT,Tokens,Kind\n2025-01-01 00:00:00,1,a\nyesterday,1,a\n2025-01-01 00:00:00,1,a\n"
    )
    file = open_event_file(path, mapping())
    assert file.check() == 3
    found = list(file.events(NOW))
    assert [type(event) for _, event in found] == [CloudEvent, InvalidEvent, CloudEvent]
    line, refused = found[1]
    assert isinstance(refused, InvalidEvent)
    assert (line, refused.code, refused.field, refused.event_id) == (3, "invalid_time", "time", "1")


BROKEN_CSV = {
    "missing column": ("AT,Kind\n2025-01-01 00:00:00,a\n", "missing_column", ":1"),
    "column twice": ("AT,Tokens,Tokens,Kind\n2025-01-01 00:00:00,1,2,a\n", "missing_column", ":1"),
    "empty": ("", "missing_header", ":1"),
    "cut off in a row": ("AT,Tokens,Kind\n2025-01-01 00:00:00,1,a\n2025-01-01 00:", "wrong_column_count", ":3"),
    "a row too wide": ("AT,Tokens,Kind\n2025-01-01 00:00:00,1,a,b\n", "wrong_column_count", ":2"),
    "cut off in quotes": ('AT,Tokens,Kind\n2025-01-01 00:00:00,1,"a', "truncated_file", ":2"),
    "text behind quotes": ('AT,Tokens,Kind\n2025-01-01 00:00:00,1,"a"b\n', "malformed_csv", ":2"),
    "not UTF-8": (b"AT,Tokens,Kind\n2025-01-01 00:00:00,1,\xff\n", "invalid_utf8", ":"),
}


@pytest.mark.parametrize("name", BROKEN_CSV)
def test_a_broken_csv_file_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    text, code, place = BROKEN_CSV[name]
    path = written(tmp_path / "t.csv", text)
    with pytest.raises(InvalidValueError) as refusal:
        open_event_file(path, mapping()).check()
    assert refusal.value.code == code
    assert refusal.value.field.startswith(f"{path}{place}")


EVENT = {"id": "1", "source": "s", "type": "llm", "subject": "acme", "time": "2026-03-04T05:06:07Z"}


def test_json_lines_are_events(tmp_path: Path) -> None:
    lines = [
        json.dumps(EVENT),
        "",
        json.dumps({**EVENT, "id": "2", "data": {"n": 1.5}}),
        json.dumps({**EVENT, "id": "3"}),
    ]
    file = open_event_file(written(tmp_path / "t.jsonl", "\n".join(lines)), None)
    assert file.check() == 3
    found = list(file.events(NOW))
    assert [(line, type(event)) for line, event in found] == [(1, CloudEvent), (3, InvalidEvent), (4, CloudEvent)]


BROKEN_JSON_LINES = {
    "cut off": (json.dumps(EVENT) + "\n" + json.dumps(EVENT)[:-9], "truncated_file", ":2"),
    "no JSON in the middle": (json.dumps(EVENT) + "\nnonsense\n" + json.dumps(EVENT) + "\n", "malformed_json", ":2"),
    "a line too long": ("x" * 200_000 + "\n", "event_too_large", ":1"),
    "not UTF-8": (b'{"id": "\xff"}\n', "malformed_json", ":1"),
}


@pytest.mark.parametrize("name", BROKEN_JSON_LINES)
def test_a_broken_json_lines_file_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    text, code, place = BROKEN_JSON_LINES[name]
    path = written(tmp_path / "t.jsonl", text)
    with pytest.raises(InvalidValueError) as refusal:
        open_event_file(path, None).check()
    assert (refusal.value.code, refusal.value.field) == (code, f"{path}{place}")


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError) as refusal:
        open_event_file(tmp_path / "none.jsonl", None).check()
    assert (refusal.value.code, refusal.value.field) == ("unreadable_file", str(tmp_path / "none.jsonl"))
    for name, code in (("t.xlsx", "unknown_file_kind"), ("t.csv", "missing_mapping")):
        with pytest.raises(InvalidValueError) as refusal:
            open_event_file(tmp_path / name, None)
        assert refusal.value.code == code


def field(name: str, expression: Any) -> dict[str, Any]:
    return {**MAPPING, "fields": {**MAPPING["fields"], name: expression}}


BAD_MAPPINGS: dict[str, tuple[Any, str]] = {
    "no fields": ({"data": {}}, "missing required field `fields`"),
    "a field missing": ({"fields": {"id": {"row": {}}}}, "fields"),
    "an unknown field": ({**MAPPING, "extra": 1}, "unknown field `extra`"),
    "nothing given": (field("id", {}), "fields.id"),
    "two things given": (field("id", {"row": {}, "constant": "x"}), "fields.id"),
    "lookup of another length": (field("id", {"row": {"modulo": 3}, "lookup": ["a"]}), "fields.id"),
    "modulo 0": (field("id", {"row": {"modulo": 0}}), "fields.id"),
    "pad without a number": (field("id", {"constant": "x", "pad": 2}), "fields.id"),
    "an unknown zone": (field("time", {"column": "AT", "zone": "Mars/Olympus"}), "fields.time"),
    "no object": ([], "Expected `object`"),
}


@pytest.mark.parametrize("name", BAD_MAPPINGS)
def test_a_bad_mapping_is_refused_with_its_place(name: str) -> None:
    document, place = BAD_MAPPINGS[name]
    with pytest.raises(InvalidValueError) as refusal:
        parse_mapping(document, "mapping.yaml")
    assert refusal.value.code == "invalid_mapping"
    assert "mapping.yaml" in str(refusal.value)
    assert place in str(refusal.value)
