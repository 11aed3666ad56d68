"""Every operation's examples, as the OpenAPI document tells them, sent to the API and held against its schemas."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.examples import PLACES
from billing.database import Database
from billing.repositories.price_books import PriceBookRepository
from tests.billing_story import BOOK, Company, at
from tests.integration.api.door import Door, open_door

ADAPTIVE = {
    **BOOK,
    "features": [{**each, "adaptive": True} if each["key"] == "seats" else each for each in BOOK["features"]],
}
LAST = {"ArchivePriceBook"}
"""What takes away what the others need."""


@pytest.fixture
def seeded(sqlite_template: Path, tmp_path: Path) -> Iterator[Door]:
    """A company with customers of whom each has a subscription, an invoice of January, and no other history."""

    def bill(database: Database) -> None:
        company = Company(database)
        buyers = ["acme", *(f"buyer{number}" for number in range(10))]
        company.found(*buyers, "metered")
        book = company.publish(ADAPTIVE)
        for buyer in buyers:
            company.subscribe(buyer, book, {"seats": "5"})
        company.close("2026-01", "2026-02-02")
        company.subscribe("metered", book, {"tokens": "1"})

    shutil.copy(sqlite_template, tmp_path / "alacarte.db")
    yield from open_door(f"sqlite:///{tmp_path / 'alacarte.db'}", tmp_path, bill)


class World:
    """Makes what an example's ids stand for, anew for each example that names it."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._numbers = count()
        self._invoices = iter(self._call("GET", "/v1/invoices")["items"])
        self._call("POST", "/v1/customers/acme/wallets", {"id": PLACES["wallet"], "currency": "USD"})
        with door.database.reading("default") as uow:
            books = PriceBookRepository(uow)
            self._book = books.releases()[-1].content_hash
            self._sheet = books.current_sheet(self._book, "default", at("2026-03-01")).sheet_hash
        self._makers: dict[str, Callable[[], dict[str, str]]] = {
            "quote_id": lambda: {"quote_id": self._quote()},
            "subscription": lambda: {"subscription": self._accepted(self._quote())},
            "invoice": lambda: {"invoice": next(self._invoices)["id"]},
            "content_hash": lambda: {"content_hash": self._book, "other_hash": self._book},
            "sheet_hash": lambda: {"sheet_hash": self._sheet},
            "key_id": lambda: {
                "key_id": self._call("POST", "/v1/api-keys", {"name": "till", "scopes": ["read"]})["id"]
            },
            "endpoint": self._endpoint,
            "proposal": lambda: {"proposal": self._call("POST", "/v1/demand/gateway/proposals", {})["proposal"]["id"]},
            "price_proposal": lambda: {"price_proposal": self._proposal()},
            "credit_note": lambda: {"credit_note": self._credit_note()},
            "hold": lambda: {"hold": self._hold()},
            "alert": lambda: {"alert": self._alert()},
            "coupon": lambda: {"coupon": self._coupon()},
            "grant": lambda: {"grant": self._grant()},
        }

    def places(self, names: set[str]) -> dict[str, str]:
        """Return what stands for the ids of an example."""
        made = dict(PLACES)
        for name, make in self._makers.items():
            if name in names:
                made |= make()
        return made

    def _endpoint(self) -> dict[str, str]:
        endpoint = self._call("POST", "/v1/webhook-endpoints", {"url": "https://receiver.example/"})["id"]
        self._accepted(self._quote())
        event = self._call("GET", f"/v1/webhook-endpoints/{endpoint}/deliveries")["items"][0]["event"]
        return {"endpoint": endpoint, "event": event}

    def _proposal(self) -> str:
        return str(self._call("POST", "/v1/price-proposals", {"price_book": BOOK})["id"])

    def _credit_note(self) -> str:
        invoice = next(self._invoices)["id"]
        return str(self._call("POST", f"/v1/invoices/{invoice}/credit-notes", {"reason": "outage"})["id"])

    def _hold(self) -> str:
        usage = {"customer": "metered", "event": {"type": "llm.request", "data": {"tokens": 5}}, "prepaid": False}
        return str(self._call("POST", "/v1/usage-holds", {"id": f"hold-{next(self._numbers)}", **usage})["id"])

    def _alert(self) -> str:
        alert = {"id": f"alert-{next(self._numbers)}", "meter": "tokens", "threshold": "9"}
        return str(self._call("POST", "/v1/customers/acme/usage-alerts", alert)["id"])

    def _coupon(self) -> str:
        coupon = {"key": f"coupon-{next(self._numbers)}", "percent_off": "5"}
        return str(self._call("POST", "/v1/customers/acme/coupons", coupon)["key"])

    def _grant(self) -> str:
        grant = {"id": f"order-{next(self._numbers)}", "amount": "50.25", "processor": "stripe"}
        path = f"/v1/customers/acme/wallets/{PLACES['wallet']}/grants"
        return str(self._call("POST", path, grant)["id"])

    def _quote(self) -> str:
        return str(self._call("POST", "/v1/quotes", {"customer": "acme", "selection": {"seats": "5"}})["id"])

    def _accepted(self, quote: str) -> str:
        return str(self._call("POST", f"/v1/quotes/{quote}/accept", {})["subscription"])

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._door.call(method, path, body, key=f"world-{next(self._numbers)}")
        assert answer.status_code < 300, answer.text
        return answer.json()


def told(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Yield path, method, operation and name of every example."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for name in operation["x-examples"]:
                yield path, method.upper(), operation, name


def wrong_with(answer: Any, operation: dict[str, Any], name: str, document: dict[str, Any]) -> str:
    """Say what an answer has that the document did not promise."""
    if answer.status_code != operation["x-examples"][name]["status"]:
        return f"answers {answer.status_code}: {answer.text[:300]}"
    promised = operation["responses"].get(str(answer.status_code), {})
    if "$ref" in promised:
        promised = document["components"]["responses"][promised["$ref"].rpartition("/")[2]]
    content = promised.get("content", {})
    media = answer.headers.get("content-type", "").partition(";")[0]
    if (media or None) not in (content or {None: None}):
        return f"answers with {media}, not one of {[*content]}"
    schema = content.get(media, {}).get("schema")
    if schema is None:
        return ""
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    return "; ".join(error.message for error in validator.iter_errors(answer.json()))


def test_every_operation_has_examples_that_are_answered_as_the_document_says(seeded: Door) -> None:
    document = seeded.call("GET", "/openapi/openapi.json").json()
    world, wrong, tried = World(seeded), {}, set()
    for path, method, operation, name in sorted(told(document), key=lambda each: each[2]["operationId"] in LAST):
        given = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        places = world.places(given)
        body = None
        if "requestBody" in operation:
            written = operation["requestBody"]["content"]["application/json"]["examples"]
            assert name in written, f"{operation['operationId']} takes a body and has no example of it"
            body = written[name]["value"]
            if body == {"after": PLACES["event"]}:
                body = {"after": places["event"]}
        answer = seeded.call(
            method,
            path.format(**places),
            body,
            key=f"{operation['operationId']} {name}",
            if_match=next((each["example"] for each in operation["parameters"] if each["name"] == "If-Match"), None),
            **operation["x-examples"][name].get("query", {}),
        )
        tried.add(operation["operationId"])
        if found := wrong_with(answer, operation, name, document):
            wrong[operation["operationId"], name] = found
    assert not wrong, "\n".join(f"{example}: {found}" for example, found in wrong.items())
    assert tried == {each["operationId"] for every in document["paths"].values() for each in every.values()}
