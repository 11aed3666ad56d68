"""The meter's door over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.api.door import Door


def event(name: str, tokens: object = "5", **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": name,
        "source": "gateway",
        "type": "llm.request",
        "subject": "acme-default",
        "time": "2026-03-01T11:00:00Z",
        "data": {"tokens": tokens},
        **more,
    }


def test_an_event_is_stored_once_and_another_body_under_its_id_is_a_conflict(door: Door) -> None:
    assert door.call("POST", "/v1/events", event("e1")).status_code == 201
    again = door.call("POST", "/v1/events", event("e1"))
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    other = door.call("POST", "/v1/events", event("e1", "6"))
    assert other.status_code == 409
    assert other.json()["kept_hash"] != other.json()["sent_hash"]
    assert other.headers["content-type"] == "application/problem+json"


def test_an_event_of_nobody_known_is_stored_and_says_so(door: Door) -> None:
    answer = door.call("POST", "/v1/events", event("e1", subject="nobody"))
    assert (answer.status_code, answer.json()["status"]) == (201, "unmatched")
    assert answer.json()["reasons"] == [["unknown_customer", "nobody"]]


def test_a_batch_is_answered_item_by_item_in_order(door: Door) -> None:
    batch = [event("b1"), event("b1"), event("b1", "9"), {"id": "b2"}, event("b3")]
    answer = door.call("POST", "/v1/events/batch", batch)
    assert answer.status_code == 200
    statuses = [outcome["status"] for outcome in answer.json()["outcomes"]]
    assert statuses == ["accepted", "duplicate", "conflict", "invalid", "accepted"]


@pytest.mark.parametrize(
    ("tokens", "code"),
    [("abc", "not_a_number"), ("", "not_a_number"), (True, "boolean_as_number"), ([], "not_a_number"),
     ({}, "not_a_number"), ("-1", "negative_quantity"), ("9" * 40, "number_too_large")],
)  # fmt: skip
def test_what_a_meter_cannot_read_is_refused_alone_as_in_a_batch(door: Door, tokens: object, code: str) -> None:
    alone = door.call("POST", "/v1/events", event("e1", tokens))
    assert (alone.status_code, alone.json()["code"]) == (422, code), alone.text
    [outcome] = door.call("POST", "/v1/events/batch", [event("e1", tokens)]).json()["outcomes"]
    assert (outcome["status"], outcome["code"], outcome["field"]) == ("invalid", code, alone.json()["field"])
    assert door.call("POST", "/v1/events", event("e1")).status_code == 201  # Nothing was kept under its id.


def test_malformed_events_are_refused(door: Door) -> None:
    for raw in (b"{", b'{"id": "a", "id": "b"}', b"[]", b'{"surprise": 1}'):
        answer = door.call("POST", "/v1/events", raw=raw)
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"
    assert door.call("POST", "/v1/events/batch", raw=b"{}").status_code in {400, 422}
