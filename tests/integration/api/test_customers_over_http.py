"""Customers saved through both doors: the currency stays while a subscription bills in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli.main import main
from billing.database import Database
from tests.billing_story import Company
from tests.integration.api.door import Door, open_door

BUYER = {"legal_entity": "main", "legal_name": "Buyer GmbH", "country": "DE"}
FILE = "customers:\n  - {key: buyer, legal_entity: main, legal_name: Buyer GmbH, country: DE, currency: EUR}\n"


@pytest.fixture
def sold(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """A customer with a subscription in dollars."""

    def sell(database: Database) -> None:
        company = Company(database)
        company.found("buyer")
        company.subscribe("buyer", company.publish(), {"seats": "2"})

    yield from open_door(database_url, tmp_path, sell)


def test_a_currency_stays_until_the_last_subscription_in_it_has_ended(
    sold: Door, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    (tmp_path / "customers.yaml").write_text(FILE)
    refused = sold.call("PUT", "/v1/customers/buyer", {**BUYER, "currency": "EUR"})
    said = (refused.status_code, refused.json()["code"], refused.json()["field"])
    assert said == (422, "customer_currency_in_use", "currency")
    assert main(["customers", "load", str(tmp_path / "customers.yaml")]) == 3
    assert "customer_currency_in_use" in capsys.readouterr().err
    assert sold.call("GET", "/v1/customers/buyer").json()["currency"] == "USD"
    assert sold.call("PUT", "/v1/customers/buyer", {**BUYER, "currency": "USD"}).status_code == 200

    later = {"action": "cancel", "at_period_end": True}
    assert sold.call("POST", "/v1/subscriptions/sub-buyer/changes", later).status_code == 200
    assert sold.call("PUT", "/v1/customers/buyer", {**BUYER, "currency": "EUR"}).status_code == 422
    sold.wait(days=31)
    assert sold.call("PUT", "/v1/customers/buyer", {**BUYER, "currency": "EUR"}).status_code == 200
