"""The meter's door over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from billing.api_keys import Scope
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


def test_the_list_of_unmatched_events_pages_between_two_reasons_of_one(door: Door) -> None:
    """An event of nobody known that corrects another of nobody known waits for two things."""
    for number in range(3):
        sent = event(f"e{number}", subject="nobody", correctsid=f"x{number}")
        assert door.call("POST", "/v1/events", sent).json()["status"] == "unmatched"
    whole = door.call("GET", "/v1/unmatched-events").json()["items"]
    assert len(whole) == 6
    seen: list[Any] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        found = door.call("GET", "/v1/unmatched-events", limit=1, **more).json()
        seen += found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    assert seen == whole


def test_what_was_refused_for_what_is_kept_is_listed_with_both_hashes(door: Door) -> None:
    assert door.call("POST", "/v1/events", event("e1")).status_code == 201
    refused = [door.call("POST", "/v1/events", event("e1", tokens)).json() for tokens in ("6", "7", "6")]
    first = door.call("GET", "/v1/event-conflicts", limit=1).json()
    rest = door.call("GET", "/v1/event-conflicts", limit=1, cursor=first["next_cursor"]).json()
    listed = first["items"] + rest["items"]
    assert sorted(each["refused_hash"] for each in listed) == sorted({each["sent_hash"] for each in refused})
    assert {(each["source"], each["id"], each["code"], each["kept_hash"]) for each in listed} == {
        ("gateway", "e1", "event_conflict", refused[0]["kept_hash"])
    }
    other = door.token(*Scope, tenant="other")
    assert door.call("GET", "/v1/event-conflicts", token=other).json()["items"] == []


def test_an_event_says_for_each_meter_what_became_of_it(door: Door) -> None:
    assert door.call("POST", "/v1/events", event("e1")).status_code == 201
    assert door.call("POST", "/v1/events", event("e1", "6")).status_code == 409
    assert door.call("POST", "/v1/events", event("e2", subject="nobody")).status_code == 201
    [told] = door.call("GET", "/v1/event-fates", id="e1", source="gateway").json()["items"]
    assert (told["customer"], told["type"], len(told["refused"])) == ("acme-default", "llm.request", 1)
    assert [each["fate"] for each in told["fates"]] == ["no_subscription"]
    [told] = door.call("GET", "/v1/event-fates", id="e2").json()["items"]
    assert [(each["fate"], each["detail"]) for each in told["fates"]] == [("unknown_customer", "nobody")]
    missing = door.call("GET", "/v1/event-fates", id="e1", source="elsewhere")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_event")
    other = door.token(*Scope, tenant="other")
    assert door.call("GET", "/v1/event-fates", id="e1", token=other).status_code == 404
