"""Deliveries over real HTTP: signed, retried, replayed, given up; each step seen through the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected
from standardwebhooks import Webhook, WebhookVerificationError

from api.cli.main import main
from billing.repositories import webhook_endpoints, webhook_outbox
from billing.timing import Timing
from billing.webhooks import sending
from billing.webhooks.schedule import WAITS
from billing.webhooks.signatures import verify_webhook
from billing.webhooks.worker import SHARE
from pricing_engine.sealing import new_signer
from tests.integration.api.door import Door
from tests.integration.webhooks.worker import drain, worker, worker_by
from tests.stripe_twin.clock import PassingClock
from tests.webhook_receiver import Received, Receiver, receiver

ENDPOINTS = "/v1/webhook-endpoints"


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


def listen(door: Door, there: Receiver, *types: str) -> dict[str, Any]:
    body = {"url": there.url, "event_types": list(types) or ["quote.accepted"]}
    answer = door.call("POST", ENDPOINTS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def accept(door: Door, key: str) -> str:
    quote = door.call("POST", "/v1/quotes", {"customer": "acme-default", "selection": {"seats": "3"}}, key=f"q-{key}")
    quote_id = quote.json()["id"]
    answer = door.call("POST", f"/v1/quotes/{quote_id}/accept", {}, key=f"a-{key}")
    assert answer.status_code == 200, answer.text
    return str(quote_id)


def fits(message: Received, secret: str) -> bool:
    """Judge as the reference library does, its clock aside."""
    stamp = message.headers["webhook-timestamp"]
    signed = Webhook(secret).sign(message.headers["webhook-id"], _at(stamp), message.body.decode())
    return signed in message.headers["webhook-signature"].split(" ")


def _at(stamp: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(stamp), UTC)


def deliveries(door: Door, endpoint: str) -> list[dict[str, Any]]:
    return door.call("GET", f"{ENDPOINTS}/{endpoint}/deliveries").json()["items"]


def test_an_accepted_quote_arrives_once_signed_and_readable(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    quote = accept(door, "1")
    again = door.call("POST", f"/v1/quotes/{quote}/accept", {}, key="a-1")
    assert again.headers["idempotent-replayed"] == "true"
    assert drain(door.database, door.clock).delivered == 1
    assert drain(door.database, door.clock).delivered == 0
    (message,) = there.received
    body = json.loads(message.body)
    assert (body["type"], body["data"]["quote"]) == ("quote.accepted", quote)
    assert message.headers["content-type"] == "application/json"
    assert message.headers["webhook-id"].startswith("evt_")
    assert fits(message, made["secret"])
    assert verify_webhook(message.body, message.headers, [made["secret"]], door.clock[0])
    (delivery,) = deliveries(door, made["id"])
    assert (delivery["state"], delivery["attempts"], delivery["next_try_at"]) == ("delivered", 1, None)
    attempts = door.call("GET", f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['event']}/attempts").json()["items"]
    assert [(each["number"], each["status"], each["answer"]) for each in attempts] == [(1, 200, "ok")]
    shown = door.call("GET", f"{ENDPOINTS}/{made['id']}").json()
    assert "secret" not in shown
    assert made["secret"].encode() not in door.call("GET", ENDPOINTS).content


def test_a_try_that_other_writers_undo_is_written_down_once(
    door: Door, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(door, there)
    accept(door, "1")
    finish, undone = webhook_outbox.finish, []

    def undo_once(*args: Any, **kwargs: Any) -> bool:
        done = finish(*args, **kwargs)
        if not undone:
            undone.append(1)
            raise DeadlockDetected
        return done

    monkeypatch.setattr(webhook_outbox, "finish", undo_once)
    report = drain(door.database, door.clock)
    assert (len(undone), report.delivered, report.failed, len(there.received)) == (1, 1, 0, 1)


def test_a_failing_receiver_is_tried_again_on_schedule_under_one_id(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    accept(door, "1")
    there.answers = [(500, {}, b"down"), (302, {"location": there.url}, b"")]
    start = door.clock[0]
    report = drain(door.database, door.clock, timedelta(hours=1))
    assert (report.delivered, report.failed) == (1, 2)
    assert len({each.headers["webhook-id"] for each in there.received}) == 1
    stamps = [int(each.headers["webhook-timestamp"]) - int(start.timestamp()) for each in there.received]
    assert stamps[0] == 0
    assert 5 <= stamps[1] <= 6
    assert 305 <= stamps[2] <= 5 + 300 * 1.2 + 2
    (delivery,) = deliveries(door, made["id"])
    path = f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['event']}/attempts"
    assert [each["status"] for each in door.call("GET", path).json()["items"]] == [500, 302, 200]
    assert door.call("GET", f"{ENDPOINTS}/{made['id']}").json()["failing_since"] is None


def test_after_ten_tries_it_is_given_up_and_a_replay_brings_it_after_all(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    accept(door, "1")
    there.answers = [(503, {}, b"")] * 10
    report = drain(door.database, door.clock, timedelta(days=2))
    assert (report.failed, report.given_up, report.disabled) == (len(WAITS) + 1, 1, 0)
    (delivery,) = deliveries(door, made["id"])
    assert (delivery["state"], delivery["attempts"]) == ("failed", 10)
    answer = door.call("POST", f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['event']}/replay")
    assert (answer.status_code, answer.json()) == (202, {"queued": 1})
    assert drain(door.database, door.clock).delivered == 1
    (delivery,) = deliveries(door, made["id"])
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 11)
    unknown = door.call("POST", f"{ENDPOINTS}/{made['id']}/deliveries/evt_none/replay")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_webhook_delivery")


def test_an_endpoint_where_nothing_arrives_for_days_is_disabled_and_can_come_back(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    there.answers = [(500, {}, b"")] * 12
    first = accept(door, "1")
    drain(door.database, door.clock, timedelta(days=2))
    door.wait(days=3)
    second = accept(door, "2")
    assert drain(door.database, door.clock).disabled == 1
    shown = door.call("GET", f"{ENDPOINTS}/{made['id']}").json()
    assert (shown["state"], shown["reason"]) == ("disabled", "nothing arrived since 2026-03-01")
    missed = accept(door, "3")
    there.answers, there.received = [], []
    door.wait(days=30)
    assert drain(door.database, door.clock).delivered == 0
    assert door.call("POST", f"{ENDPOINTS}/{made['id']}/enable").json()["state"] == "active"
    assert drain(door.database, door.clock).delivered == 1, "what waited"
    last = there.received[-1].headers["webhook-id"]
    assert json.loads(there.received[-1].body)["data"]["quote"] == second
    answer = door.call("POST", f"{ENDPOINTS}/{made['id']}/replay", {"after": last})
    assert answer.json() == {"queued": 1}
    drain(door.database, door.clock)
    assert [json.loads(each.body)["data"]["quote"] for each in there.received] == [second, missed]
    assert first not in {second, missed}


def test_the_command_says_which_endpoint_fails_before_it_is_disabled(
    door: Door,
    there: Receiver,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    made = listen(door, there)
    accept(door, "1")
    there.answers = [(500, {}, b"")]
    drain(door.database, door.clock)
    assert main(["webhooks", "status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{made['id']}\t{there.url}\tactive\tfailing since 2026-03-01T12:00:00+00:00",
        "deliveries waiting 1",
    ]
    assert drain(door.database, door.clock, timedelta(minutes=1)).delivered == 1
    assert main(["webhooks", "status"]) == 0
    assert "failing" not in capsys.readouterr().out


def test_by_command_an_endpoint_is_enabled_and_what_it_missed_is_sent(
    door: Door,
    there: Receiver,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    endpoint = listen(door, there)["id"]
    accept(door, "1")
    drain(door.database, door.clock)
    [first] = [each["event"] for each in deliveries(door, endpoint)]
    door.wait(minutes=1)
    assert main(["webhooks", "disable", endpoint]) == 0
    missed = accept(door, "2")
    assert main(["webhooks", "enable", endpoint]) == 0
    assert main(["webhooks", "replay", endpoint, "--after", first]) == 0
    assert main(["webhooks", "replay", endpoint, "--event", first]) == 0
    assert main(["webhooks", "replay", endpoint, "--event", "evt_none"]) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{endpoint} is disabled",
        f"{endpoint} is active",
        "1 queued",
        "1 queued",
    ]
    assert drain(door.database, door.clock).delivered == 2
    sent = [(each.headers["webhook-id"], json.loads(each.body)["data"]["quote"]) for each in there.received[1:]]
    assert {event for event, _ in sent} > {first}
    assert missed in {quote for _, quote in sent}
    kept = [each["action"] for each in door.call("GET", "/v1/audit").json()["items"] if each["actor"] == "cli"]
    assert kept == [f"webhook_endpoint.{each}" for each in ("disable", "enable", "replay", "replay")]


def test_a_receiver_that_is_gone_is_disabled_at_once(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    accept(door, "1")
    there.answers = [(410, {}, b"")]
    assert drain(door.database, door.clock, timedelta(days=1)).disabled == 1
    assert door.call("GET", f"{ENDPOINTS}/{made['id']}").json()["reason"] == "answered 410 Gone"
    assert len(there.received) == 1


def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    newer = door.call("POST", f"{ENDPOINTS}/{made['id']}/rotate-secret", {"old_secret_hours": 2}).json()["secret"]
    assert newer != made["secret"]
    accept(door, "1")
    drain(door.database, door.clock)
    assert [fits(there.received[0], secret) for secret in (made["secret"], newer)] == [True, True]
    door.wait(hours=2)
    accept(door, "2")
    drain(door.database, door.clock)
    assert [fits(there.received[1], secret) for secret in (made["secret"], newer)] == [False, True]
    for _ in range(3):
        newest = door.call("POST", f"{ENDPOINTS}/{made['id']}/rotate-secret", {}).json()["secret"]
    accept(door, "3")
    drain(door.database, door.clock)
    assert len(there.received[2].headers["webhook-signature"].split(" ")) == 2, "never more than two are live"
    assert fits(there.received[2], newest)
    beyond = door.call("POST", f"{ENDPOINTS}/{made['id']}/rotate-secret", {"old_secret_hours": 1000})
    assert beyond.status_code == 400


def test_secrets_lie_encrypted_and_another_signing_key_says_so(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    accept(door, "1")
    with door.database.reading("default") as uow:
        (kept,) = webhook_endpoints.live_secrets(uow, made["id"], door.clock[0])
    import base64

    assert base64.b64decode(made["secret"].removeprefix("whsec_")) not in kept.encrypted
    assert drain(door.database, door.clock, signer=new_signer()).failed == 1
    assert there.received == []
    (delivery,) = deliveries(door, made["id"])
    path = f"{ENDPOINTS}/{made['id']}/deliveries/{delivery['event']}/attempts"
    assert "rotate it" in door.call("GET", path).json()["items"][0]["error"]


def test_a_private_receiver_is_refused_when_added_and_when_its_name_turns(door: Door) -> None:
    for url, code in (
        ("http://10.0.0.1/", "private_address"),
        ("http://[::ffff:169.254.169.254]/latest", "private_address"),
        ("ftp://receiver.example/", "invalid_url"),
        ("http://user:pw@receiver.example/", "invalid_url"),
    ):
        answer = door.call("POST", ENDPOINTS, {"url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert door.call("POST", ENDPOINTS, {"url": "https://a.example/", "event_types": ["x"]}).status_code == 422
    for _ in range(20):
        assert door.call("POST", ENDPOINTS, {"url": "https://a.example/"}).status_code == 201
    assert door.call("POST", ENDPOINTS, {"url": "https://a.example/"}).json()["code"] == "limit_exceeded"


def test_a_deleted_endpoint_takes_its_log_along(door: Door, there: Receiver) -> None:
    made = listen(door, there)
    accept(door, "1")
    there.answers = [(500, {}, b"")]
    drain(door.database, door.clock)
    assert door.call("DELETE", f"{ENDPOINTS}/{made['id']}").status_code == 204
    assert door.call("GET", f"{ENDPOINTS}/{made['id']}/deliveries").status_code == 404
    assert drain(door.database, door.clock, timedelta(days=1)).delivered == 0
    actions = [each["action"] for each in door.call("GET", "/v1/audit").json()["items"]]
    assert actions[-1] == "webhook_endpoint.delete"


def test_workers_share_the_work_and_a_silent_ones_part_comes_back(door: Door, there: Receiver) -> None:
    listen(door, there)
    for number in range(12):
        accept(door, str(number))
    clock = door.clock
    with door.database.writing("default") as uow:
        silent = webhook_outbox.lease(uow, "dead", clock[0], timedelta(seconds=60), webhook_outbox.Share(3, 3))
    assert len(silent) == 3

    async def both() -> int:
        workers = [worker(door.database, clock, name) for name in ("one", "two")]
        reports = await asyncio.gather(*(each.drain() for each in workers))
        return sum(each.delivered for each in reports)

    assert asyncio.run(both()) == 9
    door.wait(seconds=61)
    assert asyncio.run(both()) == 3
    ids = [each.headers["webhook-id"] for each in there.received]
    assert len(ids) == len(set(ids)) == 12
    with door.database.writing("default") as uow:
        late = webhook_outbox.Attempt(1, 200, None, "", 1, clock[0])
        assert not webhook_outbox.finish(uow, silent[0], "dead", late, state="delivered")


@pytest.mark.parametrize("left", [1.5, 2.5, 3.5, 4.5])
def test_a_lease_that_runs_out_behind_the_last_look_is_not_left(door: Door, there: Receiver, left: float) -> None:
    listen(door, there)
    accept(door, "1")
    passing = PassingClock(door.clock[0])
    with door.database.writing("default") as uow:
        lasts = timedelta(seconds=left)
        assert len(webhook_outbox.lease(uow, "killed", door.clock[0], lasts, webhook_outbox.Share(1, 1))) == 1
    alive = worker_by(door.database, Timing(passing.now, passing.sleep))
    assert asyncio.run(alive.drain(timedelta(seconds=10))).delivered == 1


def test_a_receiver_that_hangs_holds_up_nobody_but_itself(
    door: Door, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 2)
    with receiver() as hanging:
        hanging.delay_seconds = 30
        listen(door, hanging)
        listen(door, there)
        for number in range(10):
            accept(door, str(number))
        report = drain(door.database, door.clock)
    assert (report.delivered, report.failed) == (10, 10)
    assert sum(each.at < there.received[-1].at for each in hanging.received) <= SHARE.to_one
    ones = [each.at for each in hanging.received[SHARE.to_one :]]
    assert min(later - earlier for earlier, later in pairwise(ones)) > 1.5, "where it failed it is tried by one at once"


def test_the_reference_library_refuses_what_is_not_ours(door: Door, there: Receiver) -> None:
    listen(door, there)
    accept(door, "1")
    drain(door.database, door.clock)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "eA==" * 10).verify(there.received[0].body, there.received[0].headers)
