"""What has not arrived since a time is sent again, and nothing else; what is sent twice acts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from api.cli.main import main
from billing.webhooks import endpoints
from billing.webhooks.secret_box import SecretBox
from models.values.errors import ConflictError
from tests.integration.api.door import Door
from tests.integration.webhooks.test_delivery import ENDPOINTS, accept, listen
from tests.integration.webhooks.worker import LOOPBACK, drain
from tests.quote_facts import SIGNER
from tests.webhook_receiver import Receiver, receiver


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


def missed(door: Door, there: Receiver) -> tuple[str, list[str]]:
    """Return an endpoint and its quotes: given up, delivered, waiting for a try, never queued. It is enabled again."""
    endpoint = str(listen(door, there)["id"])
    there.answers = [(503, {}, b"")] * 10
    quotes = [accept(door, "given up")]
    drain(door.database, door.clock, timedelta(days=2))
    door.clock[0] = door.clock[0].replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    quotes.append(accept(door, "delivered"))
    drain(door.database, door.clock)
    door.wait(minutes=1)
    there.answers = [(503, {}, b"")]
    quotes.append(accept(door, "waiting"))
    drain(door.database, door.clock)
    door.call("POST", f"{ENDPOINTS}/{endpoint}/disable")
    door.wait(minutes=1)
    quotes.append(accept(door, "never queued"))
    door.call("POST", "/v1/quotes", {"customer": "acme-default", "selection": {"seats": "4"}}, key="not wanted")
    door.call("POST", f"{ENDPOINTS}/{endpoint}/enable")
    there.received = []
    return endpoint, quotes


def arrived(there: Receiver) -> list[str]:
    return [json.loads(each.body)["data"]["quote"] for each in there.received]


def test_what_has_not_arrived_since_a_time_is_sent_again(door: Door, there: Receiver) -> None:
    endpoint, (given_up, _, waiting, never) = missed(door, there)
    path, hour_ago = f"{ENDPOINTS}/{endpoint}/replay", (door.clock[0] - timedelta(hours=1)).isoformat()
    assert door.call("POST", path, {"missed_since": hour_ago}).json() == {"queued": 2}
    assert drain(door.database, door.clock).delivered == 2
    assert sorted(arrived(there)) == sorted([waiting, never])
    assert door.call("POST", path, {"missed_since": "2026-03-01"}).json() == {"queued": 1}
    drain(door.database, door.clock)
    assert arrived(there)[2:] == [given_up]
    assert door.call("POST", path, {"missed_since": "2026-03-01"}).json() == {"queued": 0}
    last = door.call("GET", "/v1/audit").json()["items"][-1]
    assert (last["action"], last["object"]["id"]) == ("webhook_endpoint.replay", endpoint)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_value"),
        ({"after": "evt_1", "missed_since": "2026-03-01"}, "invalid_value"),
        ({"missed_since": "yesterday"}, "invalid_time"),
        ({"missed_since": "2026-03-01T10:00:00"}, "naive_time"),
    ],
)
def test_a_replay_says_since_when_in_one_way(door: Door, there: Receiver, body: dict[str, str], code: str) -> None:
    answer = door.call("POST", f"{ENDPOINTS}/{listen(door, there)['id']}/replay", body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_by_command_too(
    door: Door,
    there: Receiver,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    endpoint, quotes = missed(door, there)
    assert main(["webhooks", "replay", endpoint, "--missed-since", "2026-03-01"]) == 0
    assert main(["webhooks", "replay", endpoint, "--missed-since", "yesterday"]) == 3
    assert capsys.readouterr().out == "3 queued\n"
    drain(door.database, door.clock)
    assert sorted(arrived(there)) == sorted([quotes[0], *quotes[2:]])


def test_one_id_is_added_once_even_where_there_is_no_room_for_more(door: Door) -> None:
    def add(name: str) -> None:
        with door.database.writing("default") as uow:
            url = "https://a.example/"
            endpoints.add_endpoint(uow, SecretBox(SIGNER), LOOPBACK, name, b"x" * 32, url, [], "", door.clock[0])

    for number in range(endpoints.MAX_ENDPOINTS):
        add(f"whe_{number}")
    with pytest.raises(ConflictError) as refused:
        add("whe_0")
    assert refused.value.code == "endpoint_exists"


def test_a_secret_is_replaced_once_by_whoever_has_seen_it(door: Door, there: Receiver) -> None:
    endpoint = listen(door, there)["id"]

    def rotate(replacing: int) -> str:
        with door.database.writing("default") as uow:
            box, secret = SecretBox(SIGNER), bytes([replacing]) * 32
            return endpoints.rotate_secret(uow, box, endpoint, secret, door.clock[0], replacing=replacing)

    rotate(1)
    with pytest.raises(ConflictError) as refused:
        rotate(1)
    assert refused.value.code == "secret_replaced"
    rotate(2)
