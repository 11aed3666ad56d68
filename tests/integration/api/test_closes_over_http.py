"""A month's close over HTTP has what the command has: days of grace, a date, and a way back with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.audit import entries
from billing.database import Database
from billing.repositories.closes import CloseRepository
from tests.billing_story import Company, at
from tests.integration.api.door import Door, open_door


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """The default tenant has a subscription; it is the second of February."""

    def subscribe(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})

    for door in open_door(database_url, tmp_path, subscribe):
        door.clock[0] = at("2026-02-02")
        yield door


def test_grace_leaves_drafts_and_a_reopened_month_closes_again(billed: Door) -> None:
    closed = billed.call("POST", "/v1/closes/2026-01", {"grace_days": 3, "issued_on": "2026-02-05"}, key="close")
    assert closed.status_code == 200, closed.text
    body = closed.json()
    assert (body["was_closed"], body["invoices"], len(body["drafts"])) == (False, [], 1)
    [draft] = billed.call("GET", "/v1/invoices").json()["items"]
    assert (draft["state"], draft["issued_on"]) == ("draft", "2026-02-05")

    opened = billed.call("POST", "/v1/closes/2026-01/reopen", {"reason": "a late file"}, key="again")
    assert (opened.status_code, opened.json()) == (200, {"period": "2026-01", "state": "open", "attempt": 1})
    assert (
        billed.call("POST", "/v1/closes/2026-01/reopen", {"reason": "a late file"}, key="again").json() == opened.json()
    )
    with billed.database.reading("default") as uow:
        [*_, (action, actor, reason, _)] = CloseRepository(uow).actions("2026-01")
        assert (action, actor, reason) == ("reopen", "test", "a late file")
        assert [each.action for each in entries(uow)][-2:] == ["month.close", "month.reopen"]

    closed = billed.call("POST", "/v1/closes/2026-01", key="close again")
    assert (closed.status_code, len(closed.json()["invoices"]), closed.json()["drafts"]) == (200, 1, [])
    assert billed.call("POST", "/v1/closes/2026-01", key="and again").json()["was_closed"] is True


def test_a_close_whose_answer_was_lost_is_in_the_audit_trail_once(
    billed: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month was closed, the request that closed it fell over before it could say so."""
    with monkeypatch.context() as broken:
        broken.setattr("api.controllers.closes._closed", lambda *_: 1 / 0)
        assert billed.call("POST", "/v1/closes/2026-01", key="close").status_code == 500
    for key in ("close", "another"):
        assert billed.call("POST", "/v1/closes/2026-01", key=key).json()["was_closed"] is True
    with billed.database.reading("default") as uow:
        closed = [(each.action, each.actor, each.object_id) for each in entries(uow)]
    assert closed.count(("month.close", "test", "2026-01")) == 1


def test_what_cannot_be_done_is_refused_and_changes_nothing(billed: Door) -> None:
    def refused(path: str, body: dict[str, object]) -> tuple[int, str]:
        answer = billed.call("POST", f"/v1/closes/2026-01{path}", body, key=f"{path} {body}")
        return answer.status_code, answer.json()["code"]

    for body in (
        {"grace_days": -1},
        {"grace_days": 367},
        {"grace_days": "soon"},
        {"issued_on": "2026-02-30"},
        {"x": 3},
    ):
        assert refused("", body)[0] == 400, body
    assert refused("/reopen", {})[0] == 400
    assert refused("/reopen", {"reason": " "})[1] == "reason_required"
    assert refused("/reopen", {"reason": "why not"})[1] == "period_not_closed"
    with billed.database.reading("default") as uow:
        assert CloseRepository(uow).all() == []


def test_the_last_month_there_is_is_refused(billed: Door) -> None:
    answer = billed.call("POST", "/v1/closes/9999-12", {}, key="the last")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_period")


def test_reopening_needs_a_key(billed: Door) -> None:
    answer = billed.call("POST", "/v1/closes/2026-01/reopen", {"reason": "why not"})
    assert answer.json()["code"] == "idempotency_key_required"
