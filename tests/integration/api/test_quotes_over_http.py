"""The checkout's door over HTTP: quotes, idempotency, strict decoding."""

from __future__ import annotations

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor

from api.openapi import operations
from api.requests import MAX_BODY_BYTES
from billing.api_keys import Scope
from billing.publishing import sealed_book, sealed_sheet
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository
from tests.integration.api.door import START, Door
from tests.quote_facts import SIGNER

QUOTE = {"customer": "acme-default", "selection": {"seats": "3", "sso": True}}


def quoted(door: Door, key: str = "q1") -> dict[str, object]:
    answer = door.call("POST", "/v1/quotes", QUOTE, key=key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_preview_is_what_the_quote_then_says_and_stores_nothing(door: Door) -> None:
    preview = door.call("POST", "/v1/quotes/preview", QUOTE)
    assert preview.status_code == 200
    assert preview.json()["rounded_total"] == "51.2"  # (3 x 8 + 40) less the bundle's 20 percent
    with door.database.reading("default") as uow:
        books = [release.content_hash for release in PriceBookRepository(uow).releases()]
        stored = QuoteRepository(uow).of_books(books, "USD", START.replace(year=2000), START.replace(year=2100))
        assert list(stored) == []
    assert quoted(door)["total"] == preview.json()["total"]


def test_a_quote_is_read_accepted_once_and_then_settled_for_good(door: Door) -> None:
    quote = quoted(door)
    read = door.call("GET", f"/v1/quotes/{quote['id']}")
    assert read.json() == quote
    accepted = door.call("POST", f"/v1/quotes/{quote['id']}/accept", {}, key="a1")
    assert accepted.status_code == 200
    assert accepted.json() == {"quote": quote["id"], "state": "accepted", "subscription": quote["id"]}
    [phase] = door.call("GET", f"/v1/subscriptions/{quote['id']}").json()["phases"]
    assert (phase["action"], phase["actor"]) == ("start", "test")
    again = door.call("POST", f"/v1/quotes/{quote['id']}/accept", {}, key="a2")
    assert (again.status_code, again.json()["code"]) == (409, "quote_resolved")
    released = door.call("POST", f"/v1/quotes/{quote['id']}/release", key="r1")
    assert released.status_code == 409


def test_a_released_quote_is_released_again_without_effect(door: Door) -> None:
    quote = quoted(door)
    for key in ("r1", "r2"):
        assert door.call("POST", f"/v1/quotes/{quote['id']}/release", key=key).json()["state"] == "released"


def test_an_expired_quote_is_refused_with_its_code(door: Door) -> None:
    quote = quoted(door)
    assert door.call("GET", f"/v1/quotes/{quote['id']}").json()["state"] == "open"
    door.wait(days=400)
    answer = door.call("POST", f"/v1/quotes/{quote['id']}/accept", {}, key="a1")
    assert answer.json()["code"] == "quote_expired"
    assert door.call("GET", f"/v1/quotes/{quote['id']}").json()["state"] == "expired"
    for state, listed in (("expired", [quote["id"]]), ("open", [])):
        items = door.call("GET", "/v1/quotes", state=state).json()["items"]
        assert [each["id"] for each in items if each["state"] == state] == listed


def test_a_quote_verifies_and_with_one_digit_changed_does_not(door: Door) -> None:
    quote = quoted(door)
    with door.database.reading("default") as uow:
        stored = QuoteRepository(uow).get(str(quote["id"]))
        books = PriceBookRepository(uow)
        book = sealed_book(books.get(stored.book_hash), SIGNER)
        sheet = sealed_sheet(books.sheet(stored.sheet_hash), SIGNER)
    body = {"quote": stored.sealed, "price_book": book, "price_sheet": sheet}
    good = door.call("POST", "/v1/quotes/verify", body)
    assert (good.status_code, good.json()["verified"]) == (200, True)
    text = good.request.content.replace(b'"51.2"', b'"51.3"')
    assert text != good.request.content
    bad = door.call("POST", "/v1/quotes/verify", raw=text)
    assert bad.status_code == 422 or bad.json()["verified"] is False


def test_one_key_has_one_effect_and_one_answer(door: Door) -> None:
    first = door.call("POST", "/v1/quotes", QUOTE, key="k")
    second = door.call("POST", "/v1/quotes", QUOTE, key="k")
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    other = door.call("POST", "/v1/quotes", {**QUOTE, "hold_days": 3}, key="k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    missing = door.call("POST", "/v1/quotes", QUOTE)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")


def test_a_failed_request_leaves_its_key_free(door: Door) -> None:
    failed = door.call("POST", "/v1/quotes", {**QUOTE, "selection": {"seats": "0.5.5"}}, key="k")
    assert failed.status_code == 422
    assert door.call("POST", "/v1/quotes", QUOTE, key="k").status_code == 201


def test_sixty_four_clients_with_one_key_make_one_quote(door: Door) -> None:
    door.token(*Scope)
    body = {"customer": "acme-default", "selection": {"slots": "7"}}
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: door.call("POST", "/v1/quotes", body, key="k"), range(64)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    # 93 of 100 slots are left: exactly one hold of 7 was taken.
    fits = {"customer": "acme-default", "selection": {"slots": "93"}}
    assert door.call("POST", "/v1/quotes", fits, key="rest").status_code == 201
    assert (
        door.call("POST", "/v1/quotes", {**body, "selection": {"slots": "1"}}, key="more").json()["code"] == "sold_out"
    )


MALFORMED = [
    b'{"customer": "acme-default", "selection": {}, "surprise": 1}',
    b'{"customer": 7, "selection": {}}',
    b'{"customer": "acme-default"}',
    b'{"customer": "acme-default", "selection": {"seats": NaN}}',
    b'{"customer": "acme-default", "customer": "acme-other", "selection": {}}',
    b'{"customer": "acme-default", "selection": {"seats": "1", "seats": "2"}}',
    b'{"customer": "acme\\u0000", "selection": {}}',
    b'{"customer": "acme-default", "selection": ',
    b'{"customer": "\xff", "selection": {}}',
    b"[" * 100_000,
    b"",
]


def test_malformed_bodies_are_refused_with_400_and_no_effect(door: Door) -> None:
    for raw in MALFORMED:
        answer = door.call("POST", "/v1/quotes", raw=raw, key="k")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), (raw[:80], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert door.call("POST", "/v1/quotes", QUOTE, key="k").status_code == 201


def test_a_compressed_body_is_refused_as_that(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.token(Scope.QUOTE)}", "Content-Type": "application/json"}
    body = json.dumps(QUOTE).encode()
    packed = door.client.post(
        "/v1/quotes/preview", content=gzip.compress(body), headers={**headers, "Content-Encoding": "gzip"}
    )
    assert (packed.status_code, packed.json()["code"]) == (415, "unsupported_media_type")
    assert packed.headers["accept-encoding"] == "identity"
    plain = door.client.post("/v1/quotes/preview", content=body, headers={**headers, "Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_a_body_that_is_too_large_is_told_how_large_it_may_be(door: Door) -> None:
    answer = door.call("POST", "/v1/events", raw=b" " * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert str(MAX_BODY_BYTES) in answer.json()["detail"]


def test_a_form_is_of_no_media_type_that_is_read(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.token(Scope.QUOTE)}", "Idempotency-Key": "form"}
    for path in ("/v1/quotes/preview", "/v1/quotes", "/v1/quotes/verify"):
        answer = door.client.post(path, data={"customer": "acme-default"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), path
    quote = quoted(door)
    bare = {**headers, "Content-Type": "application/x-www-form-urlencoded"}  # As `curl -d ""` sends nothing.
    assert door.client.post(f"/v1/quotes/{quote['id']}/release", headers=bare).status_code == 200


def test_the_key_that_a_buyer_verifies_with_is_handed_out(door: Door) -> None:
    shown = door.call("GET", "/v1/signing-key", token=door.token(Scope.READ)).json()
    assert shown == {"algorithm": "Ed25519", "public_key": SIGNER.public_pem.decode()}


def test_a_parameter_that_comes_twice_is_refused(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.token(Scope.READ)}"}
    for query in ("limit=1&limit=2", "limit=1&cursor=x&limit=1", "limit=1&limit", "limi%74=1&limit=2"):
        answer = door.client.get(f"/v1/customers?{query}", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), query
        assert "'limit' must not come twice" in answer.json()["detail"]
        assert answer.json()["field"] == "limit"
    assert door.client.get("/v1/subscriptions?limit=1&customer=acme", headers=headers).status_code == 200


def test_no_operation_takes_a_parameter_that_it_does_not_declare(door: Door) -> None:
    """Nor by the name that its handler has for one."""
    headers = {"Authorization": f"Bearer {door.token(*Scope)}"}
    tried = 0
    for path, method, handler in operations(door.client.app):
        if handler.opt.get("open"):
            continue
        for query, field in (("custmer=acme", "custmer"), ("cursor2", "cursor2"), ("state_=a&form=csv", "state_")):
            address = re.sub(r"\{\w+\}", "1", path)
            answer = door.client.request(method, f"{address}?{query}", headers=headers)
            named = (answer.status_code, answer.json()["code"], answer.json().get("field"))
            assert named == (400, "malformed", field), (method, path, answer.text)
        tried += 1
    assert tried > 80
    assert door.client.get("/v1/quotes?standing=open", headers=headers).json()["field"] == "standing"
    assert door.client.get("/v1/quotes?state=open", headers=headers).status_code == 200


def test_every_answer_has_an_identity_those_of_unknown_routes_too(door: Door) -> None:
    for path in ("/health", "/nowhere", "/v1/quotes/none", "/v1/quotes/a%00b"):
        answer = door.call("GET", path)
        assert answer.headers["alacarte-version"] == "2026-11-01"
        if answer.status_code >= 400:
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_rule_of_the_domain_is_422_and_names_the_field(door: Door) -> None:
    answer = door.call("POST", "/v1/quotes/preview", {**QUOTE, "currency": "EUR"})
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["field"]) == ("wrong_currency", "currency")
