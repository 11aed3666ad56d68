"""A tenant's own time in a sandbox: forward only, for everything it does, and for nobody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from api.cli.main import main
from billing.api_keys import Scope, create_key
from billing.database import Database
from billing.repositories import stripe_outbox
from billing.stripe.operations import Aggregate, Kind
from billing.tenant_time import TenantTime
from models.values.errors import InvalidValueError
from tests.integration.api.door import START, Door, open_door

CLOCK = "/v1/sandbox/clock"
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "gateway",
    "type": "llm.request",
    "subject": "acme-default",
    "data": {"tokens": "500"},
}


def quote(door: Door, key: str, selection: dict[str, str]) -> str:
    answer = door.call("POST", "/v1/quotes", {"customer": "acme-default", "selection": selection}, key=key)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def test_moving_the_clock_moves_everything_of_the_tenant(door: Door) -> None:
    left = quote(door, "left", {"slots": "80"})
    bought = quote(door, "bought", {"seats": "2", "tokens": "0"})
    refused = door.call("POST", "/v1/quotes", {"customer": "acme-default", "selection": {"slots": "80"}}, key="full")
    assert (refused.status_code, refused.json()["code"]) == (422, "sold_out")
    assert door.call("POST", f"/v1/quotes/{bought}/accept", {}, key="yes").status_code == 200
    assert "alacarte-clock" not in door.call("GET", "/v1/customers").headers
    early = door.call("POST", "/v1/events", {**EVENT, "time": "2026-03-20T12:00:00Z"})
    assert (early.status_code, early.json()["code"]) == (422, "time_in_future")

    moved = door.call("POST", CLOCK, {"now": "2026-03-20T12:00:00Z"})
    assert moved.json() == {"now": "2026-03-20T12:00:00+00:00", "ahead_seconds": 19 * 86_400}
    assert door.call("GET", CLOCK).json() == moved.json()
    assert door.call("GET", "/v1/customers").headers["alacarte-clock"] == "2026-03-20T12:00:00+00:00"
    # The quote has expired, and what it held is free for the next one.
    late = door.call("POST", f"/v1/quotes/{left}/accept", {}, key="late")
    assert (late.status_code, late.json()["code"]) == (422, "quote_expired")
    again = quote(door, "again", {"slots": "80"})
    assert door.call("GET", f"/v1/quotes/{again}").json()["created_at"].startswith("2026-03-20T12:00:00")
    assert door.call("POST", "/v1/events", {**EVENT, "time": "2026-03-20T12:00:00Z"}).status_code == 201

    open_month = door.call("POST", "/v1/closes/2026-03", key="c1")
    assert (open_month.status_code, open_month.json()["code"]) == (422, "close_blocked")
    door.wait(hours=1)  # The clock that was moved goes on.
    assert door.call("POST", f"{CLOCK}/advance", {"days": 15}).json()["now"] == "2026-04-04T13:00:00+00:00"
    assert door.call("POST", "/v1/closes/2026-03", key="c2").status_code == 200
    [invoice] = door.call("GET", "/v1/invoices").json()["items"]
    assert {line["feature"] for line in invoice["lines"]} >= {"seats", "tokens"}
    assert door.call("GET", "/v1/customers/acme-default/cost").json()["as_of"] == "2026-04-04T13:00:00+00:00"
    recorded = door.call("GET", "/v1/audit", limit=500).json()["items"]
    assert [each["action"] for each in recorded].count("sandbox_clock.move") == 2

    other = door.token(*Scope, tenant="other")
    assert door.call("GET", CLOCK, token=other).json() == {"now": "2026-03-01T13:00:00+00:00", "ahead_seconds": 0}
    assert "alacarte-clock" not in door.call("GET", "/v1/customers", token=other).headers


def test_time_goes_forward_only_and_keys_do_not_age_with_it(door: Door) -> None:
    token = door.token(*Scope, expires_at=START + timedelta(days=1))
    for body, code in (
        ({"now": "2026-02-28T00:00:00Z"}, "time_goes_forward"),
        ({"now": "2026-03-01T12:00:00"}, "naive_time"),
        ({"now": "9999-01-01T00:00:00Z"}, "limit_exceeded"),
    ):
        answer = door.call("POST", CLOCK, body, token=token)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert door.call("POST", CLOCK, {"now": "2026-03-11T12:00:00Z"}, token=token).status_code == 200
    back = door.call("POST", CLOCK, {"now": "2026-03-11T11:59:59Z"}, token=token)
    assert (back.status_code, back.json()["code"]) == (422, "time_goes_forward")
    assert door.call("POST", f"{CLOCK}/advance", {}, token=token).status_code == 422
    advanced = [door.call("POST", f"{CLOCK}/advance", {"days": 1}, token=token, key="once").json() for _ in range(2)]
    assert advanced == [{"now": "2026-03-12T12:00:00+00:00", "ahead_seconds": 11 * 86_400}] * 2
    assert door.call("GET", CLOCK).json() == advanced[0]


def test_of_those_who_move_it_at_once_none_moves_it_back(database: Database) -> None:
    time = TenantTime(lambda: START, "sandbox")

    def move(day: int) -> bool:
        try:
            database.write("default", lambda uow: time.move(uow, START + timedelta(days=day), "ann"))
        except InvalidValueError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(move, [3, 8, 5, 2, 7, 1]))
    assert done[1]
    with database.reading("default") as uow:
        assert time.now(uow) == START + timedelta(days=8)


def test_what_is_handed_to_a_collector_then_is_due_now(database: Database) -> None:
    with database.writing("default") as uow:
        TenantTime(lambda: START, "sandbox").move(uow, START + timedelta(days=400), "ann")
        now = TenantTime(lambda: START, "sandbox").now(uow)
        stripe_outbox.append(uow, Aggregate.CUSTOMER, "acme", [(Kind.CREATE_CUSTOMER, {})], now=now)
        [leased] = stripe_outbox.lease(uow, "worker", START, timedelta(minutes=1), 10)
    assert (leased.aggregate_id, leased.created_at) == ("acme", now)


@pytest.fixture
def live_door(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    yield from open_door(f"sqlite:///{tmp_path / 'alacarte.db'}", tmp_path, environment="live")


def test_in_live_there_is_no_clock_to_move(live_door: Door) -> None:
    with live_door.database.writing("default") as uow:
        _, token = create_key(uow, "live", "live", [*Scope], uuid4().hex, uuid4().hex * 2, START)
        # Left behind by a time as a sandbox.
        TenantTime(lambda: START, "sandbox").move(uow, START + timedelta(days=400), "ann")
    for method, path, body in (
        ("GET", CLOCK, None),
        ("POST", CLOCK, {"now": "2027-03-20T12:00:00Z"}),
        ("POST", f"{CLOCK}/advance", {"days": 1}),
    ):
        answer = live_door.call(method, path, body, token=token)
        assert (answer.status_code, answer.json()["code"]) == (403, "sandbox_only")
    cost = live_door.call("GET", "/v1/customers/acme-default/cost", token=token)
    assert cost.json()["as_of"] == START.isoformat()
    assert "alacarte-clock" not in cost.headers


def test_commands_go_by_the_same_clock(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{tmp_path / 'alacarte.db'}")
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    assert main(["clock", "--days", "400"]) == 0
    shown = datetime.fromisoformat(capsys.readouterr().out.strip())
    assert timedelta(days=399) < shown - datetime.now(UTC) < timedelta(days=401)
    last_month = (shown.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    assert main(["close", last_month, "--check"]) == 0
    assert main(["clock", "--to", "2026-01-01T00:00:00Z"]) == 3
    assert "time_goes_forward" in capsys.readouterr().err
    monkeypatch.setenv("ALACARTE_ENVIRONMENT", "live")
    assert main(["close", last_month, "--check"]) == 1  # Live, that month is not over.
    assert main(["clock", "--days", "1"]) == 3
