"""A company on its first day: every page says what is missing instead of failing."""

from __future__ import annotations

from pathlib import Path

import pytest
from litestar.testing import TestClient

from api.app import create_app
from api.services import Services
from api.settings import Settings
from billing import people
from billing.database import Database
from billing.people import Role, add_person
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import PASSWORD, Browsing
from tests.quote_facts import SIGNER

SAYS = {
    "/console/product": (404, "there is no customer yet"),
    "/console/product/prices": (200, "Nothing is published yet"),
    "/console/product/prices/new": (404, "no price book is in force"),
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
