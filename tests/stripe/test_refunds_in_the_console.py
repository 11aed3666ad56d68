"""What Stripe collected it is asked to pay back from the console too, unless that was done by hand; both are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar.testing import TestClient

from api.app import create_app
from api.console.wording import catalog
from api.services import Services
from api.settings import Settings
from billing import people
from billing.database import Database
from billing.people import Role, add_person
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import PASSWORD, Browsing
from tests.integration.console.test_invoice_forms import fields
from tests.quote_facts import SIGNER
from tests.stripe.bridge import Bridge, settings_for
from tests.stripe.test_refunds_on_their_way import assert_posted, at_stripe, collected, invoice
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.twin import Twin


@pytest.fixture
def booked(database: Database, twin: Twin, twin_url: str, clock: MovableClock) -> Bridge:
    """One customer's invoice in the real ledger, paid at the twin."""
    return collected(Bridge(database, clock, settings_for(twin_url)), twin, customers=1)


@pytest.fixture
def browsing(booked: Bridge, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browsing]:
    """The console over the same books; ron pays money back."""
    monkeypatch.setattr(people, "_SCRYPT", {"n": 2, "r": 8, "p": 1})
    with booked.database.writing(booked.tenant) as uow:
        add_person(uow, "ron", [Role.FINANCE, Role.REFUND], PASSWORD, b"0123456789abcdef", START)
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    settings = Settings(database_url, tmp_path / "key.pem", webhook_seconds=0, upkeep_seconds=0)
    services = Services(settings, Database(database_url), SIGNER, booked.clock.now)
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        visitor = Browsing(Door(client, booked.database, [START]))
        visitor.sign_in("ron")
        yield visitor


def test_stripe_is_asked_and_the_page_says_what_is_on_its_way(booked: Bridge, browsing: Browsing, twin: Twin) -> None:
    home, words = f"/console/finance/invoices/{invoice(booked).id}", catalog("en")
    form = fields(browsing.get(home).text, "refunds")
    assert browsing.post(f"{home}/refunds", {**form, "amount": "3", "processor": ""}).status_code == 303
    waits = words["invoice.refund_awaited"].format(amount="3.00", currency="USD")
    assert waits in browsing.get(home).text
    form = fields(browsing.get(home).text, "refunds")
    assert browsing.post(f"{home}/refunds", {**form, "amount": "2", "processor": "manual"}).status_code == 303
    assert invoice(booked).open_minor == 200  # What Stripe has yet to make is not posted.
    booked.drain()
    booked.settle_everything()
    assert waits not in browsing.get(home).text
    assert at_stripe(twin) == [300]
    assert_posted(booked, back=500)
