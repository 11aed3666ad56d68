"""Reserve, settle and release through both doors, and limits through them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from billing.database import Database
from billing.metering.alerts import alerts_of
from tests.billing_story import Company, event
from tests.integration.api.door import Door, open_door
from tests.integration.usage_holds.story import give

HOLDS = "/v1/usage-holds"
ALERTS = "/v1/customers/buyer/usage-alerts"
TOKENS = {"customer": "buyer", "event": {"type": "llm.request", "data": {"tokens": 1000}}}


@pytest.fixture
def sold(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """A customer who pays tokens and calls from 10 dollars of credit."""

    def sell(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"tokens": "1", "calls": "1"})
        give(company, 1000, "buyer")

    yield from open_door(database_url, tmp_path, sell)


def free(door: Door) -> tuple[str, str]:
    [wallet] = door.call("GET", "/v1/customers/buyer/wallets").json()["items"]
    return wallet["free"], wallet["held"]


def happened(number: int, tokens: int) -> dict[str, Any]:
    return event(number, "buyer", "2026-03-01T11:00", tokens)


def test_a_hold_is_made_settled_and_read(sold: Door) -> None:
    held = sold.call("POST", HOLDS, {"id": "h", **TOKENS})
    assert held.status_code == 201, held.text
    assert held.json()["reserved"][-1] == {"feature": "tokens", "currency": "USD", "amount": "3", "held": "3"}
    assert sold.call("POST", HOLDS, {"id": "h", **TOKENS}).json() == held.json()
    assert free(sold) == ("6.99999999", "3.00000001")
    settled = sold.call("POST", f"{HOLDS}/h/settle", happened(1, 400), key="k").json()
    assert settled["settled"]["features"][-1] == {
        "feature": "tokens", "currency": "USD", "amount": "1.2", "paid": "1.2",
    }  # fmt: skip
    assert (settled["settled"]["source"], settled["settled"]["id"], settled["state"]) == ("test", "e1", "settled")
    assert sold.call("POST", f"{HOLDS}/h/settle", happened(1, 400)).json() == settled
    assert sold.call("GET", f"{HOLDS}/h").json() == settled
    assert free(sold) == ("8.8", "0")
    assert sold.call("POST", "/v1/events", happened(1, 400)).json()["status"] == "duplicate"
    ended = sold.call("POST", f"{HOLDS}/h/release", {})
    assert (ended.status_code, ended.json()["code"]) == (422, "hold_ended")


def test_units_of_a_feature_are_held_and_released(sold: Door) -> None:
    body = {"id": "u", "customer": "buyer", "feature": "tokens", "units": "2000.5"}
    held = sold.call("POST", HOLDS, body).json()
    assert (held["type"], held["data"]) == ("llm.request", {"tokens": "2000.5"})
    assert held["reserved"][-1]["amount"] == "5.10105"
    released = sold.call("POST", f"{HOLDS}/u/release", {}).json()
    assert (released["state"], free(sold)) == ("released", ("10", "0"))
    sold.wait(hours=1)
    late = sold.call("POST", f"{HOLDS}/u/settle", happened(2, 1))
    assert (late.status_code, late.json()["code"]) == (422, "hold_ended")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"event": None}, 422, "invalid_value"),
        ({"feature": "tokens", "units": "1"}, 422, "invalid_value"),
        ({"properties": {"a": "b"}}, 422, "invalid_value"),
        ({"event": None, "feature": "calls", "units": "2"}, 422, "invalid_value"),
        ({"event": None, "feature": "seats", "units": "2"}, 422, "not_metered"),
        ({"event": None, "feature": "nothing", "units": "2"}, 404, "unknown_feature"),
        ({"event": None, "feature": "tokens", "units": "-1"}, 422, "below_minimum"),
        ({"event": {"type": "llm.request", "data": {"tokens": 0.5}}}, 422, "float_refused"),
        ({"event": {"type": "llm.request", "data": {"tokens": "NaN"}}}, 422, "not_a_number"),
        ({"event": {"type": "llm.request", "data": {"tokens": "10000"}}}, 422, "insufficient_credit"),
        ({"event": {"type": "other"}}, 422, "not_metered"),
        ({"customer": "nobody"}, 404, "unknown_customer"),
        ({"id": "a\tb"}, 422, "invalid_id"),
        ({"expires_in_seconds": 0}, 400, "malformed"),
        ({"surprise": 1}, 400, "malformed"),
    ],
)
def test_what_cannot_be_authorised_is_refused_and_keeps_nothing(
    sold: Door, change: dict[str, Any], status: int, code: str
) -> None:
    answer = sold.call("POST", HOLDS, {"id": "bad", **TOKENS, **change})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert free(sold) == ("10", "0")
    assert sold.call("GET", f"{HOLDS}/bad").status_code == 404


def test_an_event_that_nobody_counts_is_refused_by_its_type(sold: Door) -> None:
    answer = sold.call("POST", HOLDS, {"id": "bad", **TOKENS, "event": {"type": "other"}}).json()
    assert answer["field"] == "event.type"
    assert answer["detail"] == "event.type: is counted by no active subscription, got 'other'"


def test_a_limit_is_set_kept_and_lifted(sold: Door) -> None:
    limit = {"id": "daily", "meter": "tokens", "threshold": "1500", "interval": "day", "is_limit": True}
    made = sold.call("POST", ALERTS, limit, key="a")
    assert (made.status_code, made.json()["raised"]) == (201, [])
    assert sold.call("POST", ALERTS, {**limit, "threshold": "1"}, key="b").json()["code"] == "alert_conflict"
    assert sold.call("POST", ALERTS, {**limit, "id": "x", "meter": "nothing"}, key="c").status_code == 404
    assert sold.call("POST", HOLDS, {"id": "h1", **TOKENS}).status_code == 201
    beyond = sold.call("POST", HOLDS, {"id": "h2", **TOKENS})
    assert (beyond.status_code, beyond.json()["code"]) == (422, "limit_reached")
    units = {"id": "u", "customer": "buyer", "feature": "tokens", "units": "2000"}
    beyond = [sold.call("POST", HOLDS, each).json()["field"] for each in ({"id": "h2", **TOKENS}, units)]
    assert beyond == ["event", "units"]
    assert sold.call("POST", "/v1/events", happened(3, 1500)).status_code == 201
    [listed] = sold.call("GET", ALERTS).json()["items"]
    assert [each["units"] for each in listed["raised"]] == ["1500"]
    assert sold.call("DELETE", f"{ALERTS}/daily").status_code == 204
    assert sold.call("DELETE", f"{ALERTS}/daily").status_code == 404
    assert sold.call("POST", HOLDS, {"id": "h2", **TOKENS}).status_code == 201


def test_the_command_does_the_same(
    sold: Door, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))

    def run(*arguments: str) -> tuple[int, str]:
        status = main(["usage", *arguments])
        return status, capsys.readouterr().out

    status, said = run("authorize", "buyer", "h", "--feature", "tokens", "--units", "1000")
    assert (status, json.loads(said)["reserved"][-1]["held"]) == (0, "3")
    sent = tmp_path / "event.json"
    sent.write_text(json.dumps(happened(1, 400)))
    status, said = run("settle", "h", str(sent))
    assert (status, json.loads(said)["settled"]["features"][-1]["paid"]) == (0, "1.2")
    assert json.loads(run("show", "h")[1])["state"] == "settled"
    event_form = ("authorize", "buyer", "g", "--type", "llm.request", "--data", '{"tokens": 5}', "--postpaid")
    assert json.loads(run(*event_form)[1])["reserved"][-1]["held"] == "0"
    assert json.loads(run("release", "g")[1])["state"] == "released"
    assert run("authorize", "buyer", "x", "--type", "llm.request", "--data", "[]")[0] == 3
    assert run("authorize", "buyer", "x", "--feature", "tokens", "--units", "1", "--expires-in", "0")[0] == 3
    assert run("alert", "buyer", "top", "--meter", "tokens", "--threshold", "0.5", "--limit")[0] == 0
    assert [json.loads(line)["id"] for line in run("alerts", "buyer")[1].splitlines()] == ["top"]
    assert run("authorize", "buyer", "y", "--feature", "tokens", "--units", "1")[0] == 3
    assert run("unalert", "buyer", "top")[0] == 0
    with sold.database.reading("default") as uow:
        assert alerts_of(uow, "buyer") == []
