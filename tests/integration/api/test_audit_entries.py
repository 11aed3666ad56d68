"""The audit trail tells acts: what is asked for again, by whichever door, and was done before leaves no entry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from api.cli.main import main
from tests.integration.api.door import Door

ACME = "acme-default"
CUSTOMER = f"/v1/customers/{ACME}"


@pytest.fixture
def shell(door: Door, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Door:
    """The same database for commands."""
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    return door


def _acts(door: Door) -> Counter[str]:
    return Counter(each["action"] for each in door.call("GET", "/v1/audit", limit=500).json()["items"])


def _twice(*arguments: str) -> None:
    for _ in range(2):
        assert main([*arguments]) == 0


def test_a_command_again_is_no_second_act(shell: Door) -> None:
    _twice("wallet", "open", ACME, "main", "--currency", "USD")
    _twice("wallet", "grant", ACME, "main", "gift", "--amount", "10", "--kind", "promotional")
    _twice("wallet", "withdraw", ACME, "main", "gift", "--key", "back", "--amount", "4")
    _twice("coupon", "give", ACME, '{"key": "half", "percent_off": "50"}')
    _twice("coupon", "end", ACME, "half")
    _twice("usage", "alert", ACME, "much", "--meter", "tokens", "--threshold", "100")
    _twice("people", "roles", _somebody(), "--role", "finance")
    _twice("people", "disable", "ann")
    key = shell.call("POST", "/v1/api-keys", {"name": "old", "scopes": ["read"]}).json()["id"]
    _twice("keys", "revoke", key)
    assert _acts(shell) == {
        each: 1
        for each in (
            "wallet.open",
            "credit.grant",
            "credit.withdraw",
            "coupon.give",
            "coupon.end",
            "usage_alert.set",
            "person.add",
            "person.roles",
            "person.disable",
            "key.create",
            "key.revoke",
        )
    }


def _somebody() -> str:
    assert main(["people", "add", "ann", "--role", "product"]) == 0
    return "ann"


def test_a_request_again_under_another_key_is_no_second_act(door: Door) -> None:
    endpoint = door.call("POST", "/v1/webhook-endpoints", {"url": "https://a.example/"}).json()["id"]
    old = door.call("POST", "/v1/api-keys", {"name": "old", "scopes": ["read"]}).json()["id"]
    saved = {
        "legal_entity": "hq",
        "legal_name": "ACME GmbH",
        "country": "DE",
        "currency": "USD",
        "email": "a@b.example",
    }
    before = _acts(door)
    for method, path, body in (
        ("POST", f"{CUSTOMER}/wallets", {"id": "main", "currency": "USD"}),
        ("POST", f"{CUSTOMER}/wallets/main/grants", {"id": "gift", "amount": "10", "kind": "promotional"}),
        ("POST", f"{CUSTOMER}/coupons", {"key": "half", "percent_off": "50"}),
        ("POST", f"{CUSTOMER}/coupons/half/end", {}),
        ("POST", f"{CUSTOMER}/usage-alerts", {"id": "much", "meter": "tokens", "threshold": "100"}),
        ("POST", f"/v1/webhook-endpoints/{endpoint}/disable", None),
        ("DELETE", f"/v1/api-keys/{old}", None),
        ("PUT", CUSTOMER, saved),
    ):
        for number in ("1", "2"):
            answer = door.call(method, path, body, key=f"{path} {number}")
            assert answer.status_code < 300, answer.text
    assert set((_acts(door) - before).values()) == {1}
    assert len(_acts(door) - before) == 8


def test_a_series_that_is_longer_this_time_is_an_act(door: Door) -> None:
    assert door.call("POST", f"{CUSTOMER}/wallets", {"id": "main", "currency": "USD"}, key="open").status_code == 201
    gift = {"id": "gift", "amount": "10", "kind": "promotional", "every": "month"}
    for times in (2, 3, 3):
        answer = door.call("POST", f"{CUSTOMER}/wallets/main/grants", {**gift, "times": times}, key=f"{times}")
        assert answer.status_code == 201, answer.text
    assert _acts(door)["credit.grant"] == 2


def test_an_endpoint_that_is_disabled_keeps_its_reason(door: Door) -> None:
    endpoint = door.call("POST", "/v1/webhook-endpoints", {"url": "https://a.example/"}).json()["id"]
    path, bob = f"/v1/webhook-endpoints/{endpoint}/disable", door.token("key_admin", name="bob")
    assert door.call("POST", path).json()["reason"] == "disabled by test"
    assert door.call("POST", path, token=bob).json()["reason"] == "disabled by test"


def test_a_file_of_customers_is_in_the_trail_as_far_as_it_changes_them(shell: Door, tmp_path: Path) -> None:
    file = tmp_path / "customers.yaml"

    def load(name: str) -> None:
        file.write_text(
            "legal_entities: [{key: main, name: Gateway Ltd, country: IE}]\n"
            f"customers: [{{key: bolt, legal_entity: main, legal_name: {name}, country: IE, currency: USD}}]\n"
        )
        assert main(["customers", "load", str(file)]) == 0

    for name in ("Bolt Ltd", "Bolt Ltd", "Bolt GmbH"):
        load(name)
    kept = shell.call("GET", "/v1/audit").json()["items"]
    assert [(each["action"], each["object"]["id"], each["actor"]) for each in kept] == [
        ("legal_entity.save", "main", "cli"),
        ("customer.save", "bolt", "cli"),
        ("customer.save", "bolt", "cli"),
    ]
    assert kept[1]["after_hash"] == kept[2]["before_hash"]
    saved = {"legal_entity": "main", "legal_name": "Bolt GmbH", "country": "IE", "currency": "USD"}
    assert shell.call("PUT", "/v1/customers/bolt", saved).status_code == 200
    assert len(shell.call("GET", "/v1/audit").json()["items"]) == 3, "both doors know the same document"
