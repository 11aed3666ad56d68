"""Stripe's notifications through the whole application: signed instead of authorised, kept raw, read by nobody yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from api.app import create_app
from api.services import Services
from api.settings import Settings
from billing.database import Database
from billing.repositories import stripe_events
from billing.stripe.settings import StripeSettings
from tests.integration.api.door import START
from tests.quote_facts import SIGNER
from tests.stripe_twin.webhooks import signed

SIGNED_WITH = "whsec_test"
EVENT = {
    "id": "evt_1",
    "type": "invoice.paid",
    "created": int(START.timestamp()),
    "data": {"object": {"object": "invoice", "id": "in_1"}},
}


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    settings = Settings("", tmp_path / "key.pem")
    stripe = StripeSettings("sk_test_x", webhook_secrets=(SIGNED_WITH,))
    return Services(settings, database, SIGNER, lambda: START, stripe=stripe)


@pytest.fixture
def client(services: Services) -> Iterator[TestClient[Any]]:
    with TestClient(create_app(services), raise_server_exceptions=False) as opened:
        yield opened


def _post(client: TestClient[Any], event: dict[str, Any], key: str = SIGNED_WITH, tamper: bytes = b"") -> Any:
    body, header = signed(event, [key], int(START.timestamp()))
    return client.post("/v1/stripe/events", content=body + tamper, headers={"Stripe-Signature": header})


def test_a_signed_event_is_kept_as_it_came_and_once(client: TestClient[Any], database: Database) -> None:
    assert [_post(client, EVENT).json() for _ in range(2)] == [{"new": True}, {"new": False}]
    with database.reading("default") as uow:
        (kept,) = stripe_events.waiting(uow, START, 10)
    assert (kept.event_id, json.loads(kept.body), kept.state) == ("evt_1", EVENT, "waiting")


def test_a_bad_signature_is_refused_and_nothing_is_kept(client: TestClient[Any], database: Database) -> None:
    answers = [
        _post(client, EVENT, key="whsec_other"),
        _post(client, EVENT, tamper=b" "),
        client.post("/v1/stripe/events", content=b"{}"),
    ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(400, "invalid_signature")] * 3
    assert _post(client, {"id": "evt_2"}).json()["code"] == "invalid_event"
    with database.reading("default") as uow:
        assert stripe_events.counts(uow) == {}


def test_where_stripe_is_not_set_up_the_sender_is_asked_to_come_back(services: Services) -> None:
    with TestClient(create_app(replace(services, stripe=None))) as client:
        answer = _post(client, EVENT)
    assert (answer.status_code, answer.json()["code"]) == (503, "stripe_not_configured")
