"""Both clients against a real server, and against one that fails in every way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest

from api.client import calls, exchange
from api.client.documents import Customer, Event
from api.client.errors import (
    ClientError,
    ConflictError,
    MalformedError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    RuleBrokenError,
    UnavailableError,
)
from api.client.exchange import Attempts
from api.client.http import AsyncClient, Client
from tests.integration.client.conftest import CUSTOMERS, Served

SELECTION = {"seats": 3, "sso": True, "calls": "0"}


def test_from_quote_to_entitlement_and_cost(client: Client) -> None:
    preview = client.send(calls.preview_quote("acme", SELECTION))
    wanted = calls.create_quote("acme", SELECTION)
    quote = client.send(wanted)
    assert client.send(wanted) == quote  # The same call again asks for the same quote.
    assert quote.total == preview.total == Decimal("585")  # (3 x 10 + 620) less the bundle's 10 percent
    assert client.send(calls.read_quote(quote.id)) == quote
    accepted = client.send(calls.accept_quote(quote.id))
    assert client.send(calls.accept_quote(quote.id)) == accepted
    seats = client.send(calls.check_entitlement("acme", "seats"))
    assert (seats.entitled, seats.quantity, seats.left) == (True, 3, 3)
    now = datetime.now(UTC)
    events = [Event(id=f"e{i}", source="test", type="llm.request", subject="acme", time=now) for i in range(3)]
    events[0].data["tokens"] = 5
    sent = client.send(calls.send_events(events)).outcomes
    assert {each.status for each in sent} == {"accepted"}
    assert {each.status for each in client.send(calls.send_events(events)).outcomes} == {"duplicate"}
    listed = {each.feature: each for each in client.send(calls.list_entitlements("acme")).items}
    assert (listed["calls"].used, listed["calls"].left) == (3, 97)
    assert listed["calls"].resets_at is not None
    assert listed["calls"].resets_at > now
    cost = client.send(calls.live_cost("acme"))
    assert {line.feature for invoice in cost.invoices for line in invoice.lines} >= {"seats", "sso"}
    assert list(client.items(calls.list_invoices("acme"))) == []


def test_a_coupon_is_given_once_and_listed(client: Client) -> None:
    wanted = calls.give_coupon("acme", {"key": "half", "percent_off": Decimal("50.0"), "features": ["seats"]})
    given = client.send(wanted)
    assert client.send(wanted) == given
    assert (given.percent_off, given.duration, given.periods_used, given.used) == (50, "once", 0, {})
    assert client.send(calls.list_coupons("acme")).items == [given]


def test_a_list_is_followed_over_its_pages_by_both_clients(served: Served, client: Client) -> None:
    keys = [each.key for each in client.items(calls.list_customers(limit=2))]
    assert keys == sorted(CUSTOMERS)

    async def awaited() -> list[str]:
        async with AsyncClient(served.address, served.keys["all"]) as opened:
            preview = await opened.send(calls.preview_quote("bolt", SELECTION))
            assert preview.currency == "USD"
            return [each.key async for each in opened.items(calls.list_customers(limit=2))]

    assert asyncio.run(awaited()) == keys


def test_a_customer_is_saved_whole(client: Client) -> None:
    saved = Customer(
        key="a/b c", legal_entity="main", legal_name="Ä & B", country="DE", currency="USD", email="b@c.example"
    )
    assert client.send(calls.save_customer(msgspec.structs.replace(saved, key="dune"))).legal_name == "Ä & B"
    assert client.send(calls.read_customer("dune")).email == "b@c.example"


def test_refusals_have_a_type_a_code_and_the_request(served: Served, client: Client) -> None:
    quote = client.send(calls.create_quote("bolt", SELECTION))
    client.send(calls.release_quote(quote.id))
    refused: list[tuple[Client, calls.Call[Any], type[ClientError], str]] = [
        (client, calls.read_quote("none"), NotFoundError, "unknown_quote"),
        (client, calls.read_customer("a/b"), NotFoundError, ""),
        (client, calls.create_quote("bolt", {"nothing": 1}), NotFoundError, "unknown_feature"),
        (client, calls.preview_quote("bolt", {"seats": "-1"}), RuleBrokenError, ""),
        (client, calls.accept_quote(quote.id), ConflictError, "quote_resolved"),
        (client, calls.create_quote("bolt", {"seats": [1]}), MalformedError, "malformed"),
        (Client(served.address, "nonsense"), calls.list_customers(), NotAllowedError, "unauthenticated"),
        (Client(served.address, served.keys["quote"]), calls.list_customers(), NotAllowedError, "forbidden"),
    ]
    for sender, call, kind, code in refused:
        with pytest.raises(kind) as caught:
            sender.send(call)
        assert code in {"", caught.value.code}, (call, caught.value)
        assert caught.value.request_id
        if sender is not client:
            sender.close()


# A server that fails: what is tried again, how often, and under which key.


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"code": code, "detail": "not now", "request_id": "r-1", "status": status}
    return httpx.Response(status, content=json.dumps(body), headers={"x-request-id": "r-1", **headers})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("api.client.http.time.sleep", waited.append)
    monkeypatch.setattr("api.client.http.asyncio.sleep", pause)
    return waited


def failing(*answers: httpx.Response | Exception) -> tuple[Callable[[httpx.Request], httpx.Response], list[str]]:
    left, keys = list(answers), []

    def handle(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers.get("idempotency-key", ""))
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, keys


RELEASED = b'{"quote": "q", "state": "released", "later": "members are left out"}'


def test_what_may_end_otherwise_is_tried_again_under_the_same_key(pauses: list[float]) -> None:
    for run in (_at_once, _awaited):
        pauses.clear()
        failures = [httpx.ConnectError("refused"), problem(503, "busy"), problem(409, "request_in_progress")]
        handle, keys = failing(*failures, httpx.Response(200, content=RELEASED))
        assert run(handle, calls.release_quote("q", key="k")).state == "released"
        assert keys == ["k"] * 4
        assert len(pauses) == 3


def test_it_gives_up_and_says_what_the_last_answer_was(pauses: list[float]) -> None:
    for run in (_at_once, _awaited):
        handle, keys = failing(*[problem(429, "rate_limited", **{"Retry-After": "7"})] * 4)
        with pytest.raises(UnavailableError, match="rate_limited"):
            run(handle, calls.read_quote("q"))
        assert len(keys) == 4
        handle, _ = failing(*[httpx.ReadTimeout("slow")] * 4)
        with pytest.raises(NoAnswerError, match="slow"):
            run(handle, calls.read_quote("q"))
    assert all(seconds >= 7 for seconds in pauses[:3])


def test_what_cannot_end_otherwise_is_not_tried_again(pauses: list[float]) -> None:
    for answer, kind in (
        (problem(409, "quote_resolved"), ConflictError),
        (problem(422, "sold_out"), RuleBrokenError),
        (problem(500, "internal"), UnavailableError),
        (httpx.Response(404, content=b"<html>a proxy's page</html>"), NotFoundError),
        (httpx.Response(200, content=b"<html>a proxy's page</html>"), ClientError),
        (httpx.Response(200, content=b'{"quote": 7}'), ClientError),
    ):
        handle, keys = failing(answer)
        with pytest.raises(kind):
            _at_once(handle, calls.release_quote("q"))
        assert len(keys) == 1
    assert pauses == []


def test_pauses_grow_and_stay_below_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange._RANDOM, "uniform", lambda _low, high: high)
    attempts = Attempts(12)
    found = [attempts.pause_after(problem(503, "busy")) for _ in range(12)]
    assert found[:3] == [0.4, 0.8, 1.6]
    assert found[-1] is None
    assert max(each for each in found if each is not None) == exchange.LONGEST_PAUSE_SECONDS


def _at_once(handle: Callable[[httpx.Request], httpx.Response], call: calls.Call[Any]) -> Any:
    with Client("http://server", "key", transport=httpx.MockTransport(handle)) as client:
        return client.send(call)


def _awaited(handle: Callable[[httpx.Request], httpx.Response], call: calls.Call[Any]) -> Any:
    async def run() -> Any:
        async with AsyncClient("http://server", "key", transport=httpx.MockTransport(handle)) as client:
            return await client.send(call)

    return asyncio.run(run())


def test_every_call_is_an_operation_of_the_document(served: Served) -> None:
    """What the client sends and reads has the members that the API describes."""
    document = httpx.get(f"{served.address}/openapi/openapi.json").json()
    made: list[calls.Call[Any]] = [
        calls.list_customers(), calls.read_customer("key"), calls.save_customer(Customer(**_ANY_CUSTOMER)),
        calls.read_balances("key"), calls.live_cost("key"), calls.preview_quote("key", SELECTION),
        calls.create_quote("key", SELECTION),
        calls.read_quote("quote_id"), calls.accept_quote("quote_id"), calls.release_quote("quote_id"),
        calls.send_events([]), calls.check_entitlement("key", "feature"), calls.list_entitlements("key"),
        calls.list_invoices(), calls.read_invoice("invoice"),
    ]  # fmt: skip
    compared: list[str] = []
    for call in made:
        path = "/".join(
            f"{{{part}}}" if part in {"key", "quote_id", "feature", "invoice"} else part
            for part in call.path.split("/")
        )
        operation = document["paths"][path][call.method.lower()]
        answer = next(each for status, each in operation["responses"].items() if status in {"200", "201"})
        name = answer["content"]["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
        described = document["components"]["schemas"].get(name, {}).get("properties")
        if described is not None and isinstance(call.answer, type):
            assert set(call.answer.__struct_fields__) == set(described), (call, described.keys())
            compared.append(name)
        needs_key = any(
            each["name"] == "Idempotency-Key" and each["required"] for each in operation.get("parameters", ())
        )
        assert not needs_key or call.key, call
    assert len(compared) >= 9, compared


_ANY_CUSTOMER = {"key": "key", "legal_entity": "main", "legal_name": "n", "country": "DE", "currency": "USD"}
