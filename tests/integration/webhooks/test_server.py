"""The server delivers by itself, for every tenant that calls it: no other process has to run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billing.api_keys import Scope
from tests.integration.api.door import TENANTS, Door, open_door
from tests.webhook_receiver import Receiver, receiver


@pytest.fixture
def serving(database_url: str, tmp_path: Path) -> Iterator[Door]:
    yield from open_door(database_url, tmp_path, webhook_seconds=0.05)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


def test_the_server_delivers_for_every_tenant_that_calls(
    serving: Door, there: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    sold = {accept(serving, there, tenant) for tenant in TENANTS}
    deadline = time.monotonic() + 30
    while len(there.received) < len(sold):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)  # A few looks more, which find nothing.
    assert {json.loads(each.body)["data"]["quote"] for each in there.received} == sold
    assert len(there.received) == len(sold)
    assert there.url not in caplog.text, "an address often is a secret"


def accept(door: Door, there: Receiver, tenant: str) -> str:
    """Let a tenant hear of the quote that it sells, and return which that is."""
    token = door.token(*Scope, tenant=tenant)

    def made(path: str, body: dict[str, Any], status: int) -> dict[str, Any]:
        answer = door.call("POST", path, body, token=token, key=path)
        assert answer.status_code == status, answer.text
        document: dict[str, Any] = answer.json()
        return document

    made("/v1/webhook-endpoints", {"url": there.url, "event_types": ["quote.accepted"]}, 201)
    quote = made("/v1/quotes", {"customer": f"acme-{tenant}", "selection": {"seats": "3"}}, 201)
    return str(made(f"/v1/quotes/{quote['id']}/accept", {}, 200)["quote"])
