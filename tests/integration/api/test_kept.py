"""What is kept between requests is dropped with the change that makes it untrue."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest

from api.kept import KEPT_SECONDS, Kept
from billing.api_keys import Scope, create_key
from billing.database import Database
from tests.integration.api.door import Door
from tests.quote_facts import BOOK

NOW = datetime(2026, 2, 3, tzinfo=UTC)
QUOTE = {"customer": "acme-default", "selection": {"seats": "3", "sso": True}}


def test_a_revoked_key_stops_working_at_once(door: Door) -> None:
    made = door.call("POST", "/v1/api-keys", {"name": "till", "scopes": ["quote"]}).json()
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=made["token"]).status_code == 200
    assert door.call("DELETE", f"/v1/api-keys/{made['id']}").status_code < 300
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=made["token"]).status_code == 401


def test_a_key_works_in_its_own_environment_alone_whatever_it_says(door: Door) -> None:
    with door.database.writing("default") as uow:
        _, live = create_key(uow, "till", "live", ["quote"], uuid4().hex, uuid4().hex * 2, door.clock[0])
    for token in (live, live.replace("ala_live", "ala_sandbox"), door.token("quote").replace("_sandbox_", "_live_")):
        assert door.call("POST", "/v1/quotes/preview", QUOTE, token=token).status_code == 401


def test_a_kept_key_says_nothing_of_another_secret(door: Door) -> None:
    token = door.token("quote")
    for presented, status in ((token, 200), (token[:-1] + ("0" if token[-1] != "0" else "1"), 401), (token, 200)):
        assert door.call("POST", "/v1/quotes/preview", QUOTE, token=presented).status_code == status


def test_a_kept_key_expires_on_time(door: Door) -> None:
    token = door.token("quote", expires_at=door.clock[0] + timedelta(milliseconds=200))
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=token).status_code == 200
    door.wait(milliseconds=200)
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=token).status_code == 401
    token = door.token("quote", expires_at=door.clock[0].replace(hour=13))
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=token).status_code == 200
    door.wait(hours=1)
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=token).status_code == 401


def test_a_rotated_key_works_beside_its_successor_until_the_overlap_is_over(door: Door) -> None:
    old = door.call("POST", "/v1/api-keys", {"name": "till", "scopes": ["quote"]}).json()
    assert door.call("POST", "/v1/quotes/preview", QUOTE, token=old["token"]).status_code == 200
    answer = door.call("POST", f"/v1/api-keys/{old['id']}/rotate", {"overlap_hours": 2})
    assert answer.status_code == 201
    new = answer.json()
    assert (new["name"], new["scopes"], new["expires_at"]) == ("till", ["quote"], None)
    for key, hours, status in ((old, 0, 200), (new, 0, 200), (old, 2, 401), (new, 0, 200)):
        door.wait(hours=hours)
        assert door.call("POST", "/v1/quotes/preview", QUOTE, token=key["token"]).status_code == status
    again = door.call("POST", f"/v1/api-keys/{old['id']}/rotate", {})
    assert (again.status_code, again.json()["code"]) == (422, "api_key_ended")
    listed = door.call("GET", "/v1/audit").json()["items"]
    assert [each["action"] for each in listed][-1] == "key.rotate"


def test_rotation_prolongs_no_key(door: Door) -> None:
    ends = {"expires_at": door.clock[0].replace(hour=13).isoformat()}
    old = door.call("POST", "/v1/api-keys", {"name": "till", "scopes": ["quote"], **ends}).json()
    new = door.call("POST", f"/v1/api-keys/{old['id']}/rotate", {"overlap_hours": 2}).json()
    for hours, status in ((0, 200), (1, 401)):
        door.wait(hours=hours)
        for key in (old, new):
            assert door.call("POST", "/v1/quotes/preview", QUOTE, token=key["token"]).status_code == status


def test_a_key_cannot_rotate_one_that_may_do_more(door: Door) -> None:
    strong = door.call("POST", "/v1/api-keys", {"name": "all", "scopes": [*Scope]}).json()
    answer = door.call("POST", f"/v1/api-keys/{strong['id']}/rotate", {}, token=door.token("key_admin"))
    assert (answer.status_code, answer.json()["code"]) == (422, "beyond_own_scopes")


def test_a_key_has_a_name_and_an_end_that_is_ahead(door: Door) -> None:
    known = len(door.call("GET", "/v1/api-keys").json()["items"])
    for change, code, field in (
        ({"name": " "}, "name_required", "name"),
        ({"expires_at": door.clock[0].isoformat()}, "expires_in_the_past", "expires_at"),
        ({"scopes": ["quote", "everything"]}, "invalid_value", "scopes"),
    ):
        answer = door.call("POST", "/v1/api-keys", {"name": "till", "scopes": ["quote"], **change})
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, code, field)
    assert "must be one of quote, ingest" in answer.json()["detail"]
    assert len(door.call("GET", "/v1/api-keys").json()["items"]) == known


def test_the_next_preview_after_a_change_is_priced_by_it(door: Door) -> None:
    before = door.call("POST", "/v1/quotes/preview", QUOTE).json()
    features = [
        {**each, "tariff": {"model": "unit", "unit_amount": "9"}} if each["key"] == "seats" else each
        for each in BOOK["features"]
    ]
    book = {**BOOK, "version": 4, "features": features, "effective_from": "2026-02-01T00:00:00Z"}
    assert door.call("POST", "/v1/price-books", book, key="p4").status_code == 201
    after = door.call("POST", "/v1/quotes/preview", QUOTE).json()
    assert (before["rounded_total"], after["rounded_total"]) == ("51.2", "53.6")
    assert after["price_book"] != before["price_book"]


def test_quotes_that_come_together_keep_apart_what_is_refused(door: Door) -> None:
    door.token(*Scope)
    bodies = [{"customer": "acme-default", "selection": {"slots": "30"}}] * 5 + [QUOTE] * 5
    bodies += [{"customer": "nobody", "selection": {"seats": "1"}}] * 3
    with ThreadPoolExecutor(13) as pool:
        answers = list(pool.map(lambda n: door.call("POST", "/v1/quotes", bodies[n], key=f"k{n}"), range(13)))
    assert sorted(answer.status_code for answer in answers[:5]) == [201, 201, 201, 422, 422]
    assert {answer.status_code for answer in answers[5:10]} == {201}
    assert {answer.status_code for answer in answers[10:]} == {404}
    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert all(door.call("GET", f"/v1/quotes/{each}").status_code == 200 for each in made)
    refused = next(n for n in range(5) if answers[n].status_code == 422)
    assert door.call("POST", "/v1/quotes", QUOTE, key=f"k{refused}").status_code == 201


def test_what_nobody_asks_for_again_does_not_stay(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fact:
        pass

    clock = [100.0]
    monkeypatch.setattr("api.kept.time", SimpleNamespace(monotonic=lambda: clock[0]))

    async def ask() -> tuple[list[bool], bool]:
        kept = Kept(database)
        first, alive = weakref.ref(await kept.get("default", "first", lambda _uow: Fact(), at=NOW)), []
        for name in ("second", "third"):
            gc.collect()
            alive.append(first() is not None)
            clock[0] += 1.5 * KEPT_SECONDS
            await kept.get("default", name, lambda _uow: Fact(), at=NOW)
        gc.collect()
        return alive, first() is not None

    assert asyncio.run(ask()) == ([True, False], False)


def test_a_fact_that_is_asked_for_again_is_read_again_before_its_time_is_over(database: Database) -> None:
    reads: list[int] = []

    def read(_uow: object) -> int:
        reads.append(len(reads) + 1)
        if len(reads) == 2:
            raise ValueError("nobody waits for this one")
        return reads[-1]

    async def ask() -> list[int]:
        kept, found = Kept(database), []
        for second in (0, 0.4, 0.6, 0.6, 0.7, 1.1, 2.5, -1):
            found.append(await kept.get("default", "count", read, at=NOW + timedelta(seconds=second)))
            meanwhile = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*meanwhile, return_exceptions=True)
        return found

    # Read at 0, again at 0.6 (in vain) and at 0.6; at 1.1 that is half a second old; 2.5 and -1 are too far away.
    assert asyncio.run(ask()) == [1, 1, 1, 1, 3, 3, 4, 5]


def test_the_database_stays_open_for_what_is_read_ahead(database: Database) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def read(_uow: object) -> str:
        if begun.is_set():
            may_end.wait(30)
            ended.append("again")
        begun.set()
        return "fact"

    async def ask() -> bool:
        kept = Kept(database)
        for second in (0, 0.6):
            await kept.get("default", "fact", read, at=NOW + timedelta(seconds=second))
        settling = asyncio.create_task(kept.settle())
        await asyncio.sleep(0.05)
        waited = not settling.done()
        may_end.set()
        await settling
        return waited

    assert (asyncio.run(ask()), ended) == (True, ["again"])
