"""`alacarte aggregate`, through the command itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli import aggregate, json_lines
from api.cli.main import main

AUGUST = {"from": "2023-08-01T00:00:00Z", "to": "2023-09-01T00:00:00Z"}


@pytest.fixture
def answers(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    def ask(*requests: dict[str, Any] | str) -> list[dict[str, Any]]:
        path = tmp_path / "requests.jsonl"
        lines = [request if isinstance(request, str) else json.dumps(request) for request in requests]
        path.write_text("\n".join(lines) + "\n")
        assert main(["aggregate", str(path)]) == 0
        return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]

    return ask


def request(kind: str, events: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {"id": "r", "aggregation": kind, "period": AUGUST, "events": events, **fields}


def at(day: int, **fields: Any) -> dict[str, Any]:
    return {"time": f"2023-08-{day:02d}T00:00:00Z", **fields}


def test_every_line_is_answered_in_order(answers: Any) -> None:
    found = answers(
        request("sum", [at(1, value="1.50"), at(2, value="2")]), "", "{not json", {"id": 7}, request("count", [at(1)])
    )
    assert [(one.get("id"), one.get("units"), one.get("error", {}).get("code")) for one in found] == [
        ("r", "3.5", None),
        (None, None, "invalid_json"),
        (7, None, "missing_field"),
        ("r", "1", None),
    ]


def test_the_example_of_a_level(answers: Any) -> None:
    asked = {
        "id": "w", "aggregation": "weighted_sum", "period": AUGUST, "initial_value": "10", "group_by": [],
        "rounding": None, "events": [at(1, value="2", id="e1", operation="add")],
    }  # fmt: skip
    assert answers(asked) == [{"id": "w", "units": "12", "event_count": "1", "groups": [], "carry_forward": "12"}]


def test_groups_filters_and_reasons(answers: Any) -> None:
    events = [
        at(1, value="1", region="eu", agent="x"),
        at(2, value="2", properties={"region": "eu", "agent": "y", "cached": True, "tier": 3}),
        at(3, value="4", region="us"),
        at(4, value="many", region="eu"),
        at(5, region="eu"),
    ]
    (found,) = answers(request("sum", events, group_by=["agent"], filter={"region": ["eu"]}))
    assert found["units"] == "3"
    assert found["groups"] == [
        {"group": {"agent": "x"}, "units": "1", "event_count": "1"},
        {"group": {"agent": "y"}, "units": "2", "event_count": "1"},
    ]
    assert found["skipped"] == [
        {"event": 2, "reason": "filtered_out"},
        {"event": 3, "reason": "not_a_number"},
        {"event": 4, "reason": "no_value"},
    ]


def test_seats_by_id_or_by_value(answers: Any) -> None:
    by_id = [at(1, id="a"), at(2, id="b"), at(3, id="a", operation="remove")]
    by_value = [at(1, id="e1", value="a"), at(1, id="e1", value="a"), at(2, id="e2", value="b")]
    first, second = answers(
        request("unique_count", by_id, recurring=True, initial_active=["c"], initial_value="2"),
        request("unique_count", by_value),
    )
    assert (first["units"], first["carry_forward"], first["carry_active"]) == ("4", "2", ["b", "c"])
    assert (second["units"], second["skipped"]) == ("2", [{"event": 1, "reason": "duplicate"}])


def test_what_groups_carry(answers: Any) -> None:
    (found,) = answers(
        request(
            "weighted_sum",
            [at(1, value="1", agent="x")],
            group_by=["agent"],
            initial_groups=[
                {"group": {"agent": "x"}, "initial_value": "2"},
                {"group": {"agent": "y"}, "initial_value": "5"},
            ],
        )
    )
    assert {(group["group"]["agent"], group["units"]) for group in found["groups"]} == {("x", "3"), ("y", "5")}


def test_in_advance_answers_what_the_last_event_adds(answers: Any) -> None:
    asked = request("unique_count", [at(1, id="c")], initial_value="2", billed_units="2", in_advance=True)
    assert answers(asked) == [{"id": "r", "billable_units": "1"}]


def test_without_a_period_all_events_count(answers: Any) -> None:
    events = [{"value": "1"}, {"value": "123.456"}]
    asked = {"id": "r", "aggregation": "sum", "rounding": {"function": "round", "precision": "-2"}, "events": events}
    assert answers(asked)[0]["units"] == "100"
    assert (
        answers({"id": "r", "aggregation": "latest", "events": [at(2, value="2"), at(1, value="1")]})[0]["units"] == "2"
    )


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"aggregation": "median"}, "unknown_aggregation", "aggregation"),
        ({"aggregation": None}, "missing_field", "aggregation"),
        ({"period": {"from": "2023-08-01"}}, "missing_field", "period.to"),
        ({"period": {"from": "2023-08-02", "to": "2023-08-01"}}, "period_reversed", "end"),
        ({"period": {"from": "2023-08-01T00:00:00", "to": "2023-08-02"}}, "naive_time", "period.from"),
        ({"events": None}, "missing_field", "events"),
        ({"events": {}}, "not_a_list", "events"),
        ({"events": [[]]}, "not_an_object", "events[0]"),
        ({"events": [{"value": "1"}]}, "time_required", "events[0].time"),
        ({"events": [at(1, value=1.5)]}, "float_refused", "events[0].value"),
        ({"events": [at(1, value="1" + "0" * 30)]}, "number_too_large", "events[0].value"),
        ({"events": [at(1, value="1", operation="set")]}, "unknown_operation", "events[0].operation"),
        ({"events": [at(1, value="1", operation="remove")]}, "operation_not_allowed", "operation"),
        ({"events": [at(1, value="1", id="e"), at(1, value="2", id="e")]}, "event_conflict", "event_id"),
        ({"events": [at(1, value="1", region=1.5)]}, "invalid_property", "events[0].region"),
        ({"rounding": {"function": "truncate"}}, "unknown_rounding", "rounding.function"),
        (
            {"rounding": {"function": "round", "precision": "1.5"}},
            "rounding_precision_out_of_range",
            "rounding.precision",
        ),
        ({"percentile": "50"}, "percentile_mismatch", "percentile"),
        ({"aggregation": "percentile"}, "percentile_mismatch", "percentile"),
        ({"aggregation": "max", "recurring": True}, "not_recurring", "recurring"),
        ({"aggregation": "max", "initial_value": "1"}, "not_recurring", "carried"),
        ({"group_by": ["a"], "initial_value": "1"}, "group_mismatch", "initial_value"),
        ({"group_by": [1]}, "not_text", "group_by"),
        ({"group_by": ["a"], "in_advance": True}, "one_group_only", "group_by"),
        ({"aggregation": "weighted_sum", "period": None}, "missing_field", "period"),
        ({"timezone": "UTC"}, "unknown_field", "timezone"),
    ],
    ids=map(str, range(26)),
)
def test_a_bad_request_is_refused_with_code_and_field(
    answers: Any, change: dict[str, Any], code: str, field: str
) -> None:
    (found,) = answers(request("sum", []) | change)
    assert (found["id"], found["error"]["code"], found["error"]["field"]) == ("r", code, field)
    assert found["error"]["message"]


def test_a_file_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["aggregate", str(tmp_path / "none")]) == 3
    assert "alacarte: unreadable_file: file:" in capsys.readouterr().err


def test_a_line_without_end_is_refused() -> None:
    (found,) = json_lines.answers([b" " * 10 + b"[" * (json_lines.MAX_LINE_BYTES)], aggregate.answer)
    assert found["error"]["code"] == "line_too_long"
    (deep,) = json_lines.answers([b"[" * 100_000], aggregate.answer)
    assert deep["error"]["code"] == "invalid_json"
