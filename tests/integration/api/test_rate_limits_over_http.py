"""A key's share of requests and of events: stated with every answer, and refused before a body is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.token_buckets import Policy
from tests.integration.api.door import Door, open_door
from tests.integration.api.test_events_over_http import event


@pytest.fixture
def limited(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    """Six requests and five events a minute, on SQLite; the limits' clock stands still until a test moves it."""
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    for door in open_door(
        f"sqlite:///{tmp_path / 'alacarte.db'}",
        tmp_path,
        request_limit=Policy("requests", 6, 60),
        event_limit=Policy("events", 5, 60),
    ):
        move_to(door, 0.0)
        yield door


def move_to(door: Door, seconds: float) -> None:
    door.client.app.state.limits.clock = lambda: seconds


def refused(answer: Any) -> tuple[int, str, str, int]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["retry_after"] == int(answer.headers["retry-after"])
    return answer.status_code, answer.json()["code"], answer.headers["ratelimit"], answer.json()["retry_after"]


def test_every_answer_says_what_is_left_until_a_key_has_sent_its_share(limited: Door) -> None:
    for left in range(5, -1, -1):
        answer = limited.call("GET", "/v1/customers/nobody" if left % 2 else "/v1/customers")
        assert answer.status_code == (404 if left % 2 else 200)
        assert answer.headers["ratelimit-policy"] == '"requests";q=6;w=60'
        assert answer.headers["ratelimit"] == f'"requests";r={left};t={60 - left * 10}'
    answer = limited.call("GET", "/v1/customers")
    assert refused(answer) == (429, "rate_limited", '"requests";r=0;t=60', 10)
    move_to(limited, 9.0)
    assert limited.call("GET", "/v1/customers").status_code == 429
    move_to(limited, 10.0)
    assert limited.call("GET", "/v1/customers").status_code == 200


def test_keys_do_not_share_and_open_doors_have_no_limit(limited: Door) -> None:
    while limited.call("GET", "/v1/customers").status_code == 200:
        pass
    assert limited.call("GET", "/v1/customers", token=limited.token("read")).status_code == 200
    for _ in range(10):
        answer = limited.client.get("/health")
        assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        assert limited.call("GET", "/v1/customers", token="").status_code == 401


def test_a_batch_is_taken_whole_and_its_debt_is_waited_for(limited: Door) -> None:
    taken = limited.call("POST", "/v1/events/batch", [event(f"e{number}") for number in range(9)])
    assert taken.status_code == 200
    assert taken.headers["ratelimit-policy"] == '"requests";q=6;w=60, "events";q=5;w=60'
    assert taken.headers["ratelimit"] == '"requests";r=5;t=10, "events";r=0;t=108'
    assert refused(limited.call("POST", "/v1/events", event("late")))[3] == 48
    assert limited.call("GET", "/v1/customers").headers["ratelimit"] == '"requests";r=4;t=20'  # Refusals cost nothing.
    move_to(limited, 48.0)
    assert limited.call("POST", "/v1/events", event("late")).status_code == 201


def test_what_is_refused_is_not_read_and_leaves_nothing(limited: Door) -> None:
    limited.call("POST", "/v1/events/batch", [event(f"e{number}") for number in range(6)])
    for path in ("/v1/events", "/v1/events/batch"):
        assert limited.call("POST", path, raw=b"{not json").status_code == 429
    assert limited.call("POST", "/v1/events", event("late")).status_code == 429
    with limited.database.reading("default") as uow:
        assert uow.connection.execute(text("select count(*) from usage_event")).scalar_one() == 6


def test_refusals_are_counted_among_the_requests(limited: Door) -> None:
    while limited.call("GET", "/v1/customers").status_code == 200:
        pass
    scraped = limited.client.get("/metrics").text
    assert 'alacarte_requests_total{method="GET",path="/v1/customers",status_code="429"} 1.0' in scraped
