"""Wallets through both doors: what the API opens the command lists, and the books stay sound."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from api.cli.main import main
from billing.books_checks import BOOKS_CHECKS
from billing.ledger_checks import CHECKS
from billing.verification import verify
from tests.integration.api.door import START, Door

WALLETS = "/v1/customers/acme-default/wallets"


@pytest.fixture
def opened(door: Door) -> Door:
    wallet = {"id": "main", "currency": "USD", "features": ["seats"], "top_up_below": "5", "top_up": "20"}
    assert door.call("POST", WALLETS, wallet, key="open").status_code == 201
    return door


def _free(door: Door) -> list[tuple[str, str]]:
    return [(each["free"], each["held"]) for each in door.call("GET", WALLETS).json()["items"]]


def test_credit_is_granted_once_whichever_key_names_it(opened: Door) -> None:
    paid = {"id": "g1", "amount": "50.25", "processor": "stripe"}
    first = opened.call("POST", f"{WALLETS}/main/grants", paid, key="grant")
    assert (first.status_code, first.json()["remaining"]) == (201, "50.25")
    replayed = opened.call("POST", f"{WALLETS}/main/grants", paid, key="grant")
    assert replayed.json() == first.json()
    assert replayed.headers["idempotent-replayed"] == "true"
    opened.wait(hours=1)
    assert opened.call("POST", f"{WALLETS}/main/grants", paid, key="again").json() == first.json()
    other = opened.call("POST", f"{WALLETS}/main/grants", {**paid, "amount": "51"}, key="other")
    assert (other.status_code, other.json()["code"]) == (409, "grant_conflict")
    gift = {"id": "g2", "amount": "3", "kind": "promotional", "expires_at": "2026-04-01T00:00:00Z"}
    assert opened.call("POST", f"{WALLETS}/main/grants", gift, key="gift").status_code == 201
    assert _free(opened) == [("53.25", "0")]
    [wallet] = opened.call("GET", WALLETS).json()["items"]
    assert (wallet["features"], wallet["top_up_below"], wallet["top_up"]) == (["seats"], "5", "20")
    with opened.database.reading("default") as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_a_gift_repeats_as_often_as_was_said_and_once_each(opened: Door) -> None:
    gift = {"id": "monthly", "amount": "10", "kind": "promotional", "every": "month", "times": 2}
    gift |= {"starts_at": "2026-03-01T00:00:00Z", "expires_at": "2026-04-01T00:00:00Z"}
    grants = f"{WALLETS}/main/grants"
    first = opened.call("POST", grants, gift, key="series")
    assert (first.status_code, first.json()["id"]) == (201, "monthly")
    assert opened.call("POST", grants, {**gift, "times": 3}, key="longer").json() == first.json()
    other = opened.call("POST", grants, {**gift, "every": "week"}, key="weekly")
    assert (other.status_code, other.json()["code"]) == (409, "grant_conflict")
    free = []
    for _ in range(4):
        [wallet] = opened.call("GET", WALLETS).json()["items"]
        free.append([(each["id"], each["expires_at"][:10]) for each in wallet["grants"]])
        opened.wait(days=31)
    assert free == [
        [("monthly", "2026-04-01")], [("monthly:2", "2026-05-01")], [("monthly:3", "2026-06-01")], []
    ]  # fmt: skip
    with opened.database.reading("default") as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_unused_credit_is_taken_back_once_and_no_more_than_there_is(opened: Door) -> None:
    grants = f"{WALLETS}/main/grants"
    opened.call("POST", grants, {"id": "bought", "amount": "50", "processor": "stripe"}, key="bought")
    later = {"starts_at": "2026-05-01T00:00:00Z", "expires_at": "2026-06-01T00:00:00Z"}
    opened.call("POST", grants, {"id": "gift", "amount": "8", "kind": "promotional", **later}, key="gift")

    def withdrawn(grant: str, key: str, **body: str) -> tuple[int, str]:
        answer = opened.call("POST", f"{grants}/{grant}/withdrawals", body, key=key)
        return answer.status_code, answer.json().get("remaining") or answer.json()["code"]

    assert withdrawn("bought", "part", amount="20.50", processor="stripe") == (201, "29.5")
    assert withdrawn("bought", "part", amount="20.50", processor="stripe") == (201, "29.5")
    assert withdrawn("bought", "more", amount="29.51", processor="stripe") == (422, "insufficient_credit")
    assert withdrawn("bought", "whose") == (422, "invalid_value")
    assert withdrawn("gift", "theirs", processor="stripe") == (422, "invalid_value")
    assert withdrawn("gift", "before it begins") == (201, "0")
    assert withdrawn("gift", "again") == (422, "insufficient_credit")
    assert withdrawn("unknown", "nothing") == (404, "not_found")
    assert withdrawn("bought", "the rest", processor="stripe") == (201, "0")
    assert _free(opened) == [("0", "0")]
    opened.call("POST", WALLETS, {"id": "other", "currency": "USD"}, key="other wallet")
    beside = opened.call("POST", f"{WALLETS}/other/grants/bought/withdrawals", {"processor": "stripe"}, key="beside")
    assert (beside.status_code, beside.json()["code"]) == (404, "not_found")
    with opened.database.reading("default") as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount": "0.001"}, "too_many_decimal_places"),
        ({"amount": "-1"}, "below_minimum"),
        ({"amount": "NaN"}, "not_a_number"),
        ({"amount": 5.5}, "malformed"),
        ({"amount": "1e400"}, "number_too_large"),
        ({"processor": None}, "invalid_value"),
        ({"kind": "promotional"}, "invalid_value"),
        ({"kind": "stolen"}, "malformed"),
        ({"priority": 10**30}, "malformed"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "invalid_value"),
        ({"expires_at": "2026-04-01T00:00:00"}, "naive_time"),
        ({"cost": "5", "cost_currency": "USD"}, "invalid_value"),
        ({"rollover": "5"}, "invalid_value"),
        ({"every": "month"}, "invalid_value"),
        ({"every": "month", "times": 3}, "invalid_value"),
        ({"every": "month", "times": 121}, "malformed"),
        ({"every": "month", "times": 1}, "malformed"),
        ({"every": "fortnight", "times": 3}, "malformed"),
        ({"id": "a\tb"}, "invalid_id"),
        ({"surprise": 1}, "malformed"),
    ],
)
def test_a_malformed_grant_is_refused_and_grants_nothing(opened: Door, change: dict[str, object], code: str) -> None:
    body = {"id": "g", "amount": "5", "processor": "stripe", **change}
    answer = opened.call("POST", f"{WALLETS}/main/grants", body, key="bad")
    assert (answer.status_code in {400, 422}, answer.json()["code"]) == (True, code), answer.text
    assert _free(opened) == [("0", "0")]


def test_a_wallet_opens_in_a_known_currency_for_a_known_customer(opened: Door) -> None:
    unknown = opened.call("POST", WALLETS, {"id": "w", "currency": "usd"}, key="a")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_currency")
    nobody = opened.call("POST", "/v1/customers/nobody/wallets", {"id": "w", "currency": "USD"}, key="b")
    assert (nobody.status_code, opened.call("GET", "/v1/customers/nobody/wallets").status_code) == (404, 404)
    taken = opened.call("POST", WALLETS, {"id": "main", "currency": "EUR"}, key="c")
    assert (taken.status_code, taken.json()["code"]) == (409, "wallet_conflict")
    half = opened.call("POST", WALLETS, {"id": "w", "currency": "USD", "top_up": "5"}, key="d")
    assert (half.status_code, half.json()["field"]) == (422, "top_up")
    assert len(opened.call("GET", WALLETS).json()["items"]) == 1


def test_the_command_opens_grants_withdraws_lists_and_expires(
    door: Door, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))

    def run(*arguments: str) -> tuple[int, str]:
        status = main(["wallet", *arguments])
        return status, capsys.readouterr().out

    assert run("open", "acme-default", "tokens", "--currency", "XTOKENS.0", "--feature", "seats")[0] == 0
    start, end = START.isoformat(), (START + timedelta(days=1)).isoformat()
    terms = ("--amount", "1000", "--processor", "stripe", "--cost", "9.99", "--cost-currency", "USD")
    bought = ("grant", "acme-default", "tokens", "g1", *terms, "--starts-at", start, "--expires-at", end)
    assert [run(*bought)[0] for _ in range(2)] == [0, 0]
    assert _free(door) == [("1000", "0")]
    assert run("grant", "acme-default", "tokens", "g2", "--amount", "0.5", "--kind", "promotional")[0] == 3
    assert json.loads(run("list", "acme-default")[1])["id"] == "tokens"
    back = ("withdraw", "acme-default", "tokens", "g1", "--key", "k", "--amount", "100", "--processor", "stripe")
    assert [json.loads(run(*back)[1])["remaining"] for _ in range(2)] == ["900", "900"]
    assert run(*back[:-3], "200", *back[-2:])[0] == 3
    assert run("expire", "--at", start)[1] == "0 grants expired\n"
    assert run("expire", "--at", "9999-01-01T00:00:00Z")[0] == 3
    assert run("expire", "--at", end)[1] == "1 grants expired\n"
    assert run("expire", "--at", end)[1] == "0 grants expired\n"
    assert _free(door) == [("0", "0")]
