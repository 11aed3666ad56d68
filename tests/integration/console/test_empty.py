"""A company on its first day: every page says what is missing instead of failing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from litestar.testing import TestClient

from api.app import create_app
from api.catalog_file import write_catalog
from api.services import Services
from api.settings import Settings
from billing import people
from billing.database import Database
from billing.people import Role, add_person
from billing.repositories.price_books import PriceBookRepository
from pricing_engine.price_book import price_book_document
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import PASSWORD, Browsing
from tests.quote_facts import SIGNER, price_book

SAYS = {
    "/console/product": (404, "there is no customer yet"),
    "/console/product/prices": (200, "Draft the first catalog"),
    "/console/product/prices/new": (200, "paste or choose the first catalog"),
    "/console/product/replay": (404, "no price book is in force"),
    "/console/product/demand": (404, "no price book is in force"),
    "/console/product/experiments": (404, "no price book is in force"),
    "/console/checkout": (404, "there is no customer yet"),
    "/console/finance": (200, "Months"),
    "/console/finance/invoices": (200, "No invoice yet"),
    "/console/finance/events": (200, "Every event is matched."),
    "/console/finance/receivables": (200, "Nobody owes anything"),
    "/console/finance/balance": (200, "Nothing is posted yet"),
    "/console/finance/reconciliation": (200, "Stripe is not set up"),
    "/console/finance/downloads": (200, "No month was closed yet"),
    "/console/finance/months/2026-01": (200, "Checklist"),
    "/console/webhooks": (200, "No endpoint yet"),
}


def test_pages_of_an_empty_company_say_what_is_missing(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_SCRYPT", {"n": 2, "r": 8, "p": 1})
    services = Services(Settings(database_url, tmp_path / "key.pem"), database, SIGNER, lambda: START)
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        browsing = Browsing(Door(client, database, [START]))
        assert "Nobody can sign in yet" in browsing.get("/console/sign-in").text
        with database.writing("default") as uow:
            add_person(uow, "ann", list(Role), PASSWORD, b"0123456789abcdef", START)
        browsing.sign_in("ann")
        for path, (status, said) in SAYS.items():
            answer = browsing.get(path)
            assert (answer.status_code, said in answer.text) == (status, True), (path, answer.status_code)
        assert 'href="/console/product/prices/new"' in browsing.get("/console/product/replay").text


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_first_catalog_is_drafted_by_one_and_approved_by_another(
    form: str, database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_SCRYPT", {"n": 2, "r": 8, "p": 1})
    services = Services(Settings(database_url, tmp_path / "key.pem"), database, SIGNER, lambda: START)
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        with database.writing("default") as uow:
            add_person(uow, "pia", [Role.PRODUCT], PASSWORD, b"0123456789abcdef", START)
            add_person(uow, "bob", [Role.APPROVER], PASSWORD, b"0123456789abcdef", START)
        author, approver = (Browsing(Door(client, database, [START])) for _ in range(2))
        author.sign_in("pia")
        prices = "/console/product/prices"
        wrong = author.post(prices, {"document": "key: gateway\nfeature: []\n", "reason": "the first"})
        assert (wrong.status_code, 'id="refusal"' in wrong.text, "feature: []" in wrong.text) == (422, True, True)
        assert "feature" in wrong.text.split('id="refusal"')[1].split("</div>")[0]
        written = write_catalog(price_book()) if form == "yaml" else json.dumps(price_book_document(price_book()))
        kept = author.post(prices, {"document": written, "reason": "the first"})
        assert kept.status_code == 303
        proposal = kept.headers["location"]
        assert author.post(f"{proposal}/ask").status_code == 303
        assert author.post(f"{proposal}/approve").status_code == 403
        approver.sign_in("bob")
        assert "unit_amount: " in approver.get(proposal).text
        assert approver.post(f"{proposal}/approve").status_code == 303
    with database.reading("default") as uow:
        [release] = PriceBookRepository(uow).releases()
        assert (release.actor, release.approver) == ("pia", "bob")
        assert PriceBookRepository(uow).in_force(START)[0].book == price_book()
