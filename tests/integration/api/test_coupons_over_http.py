"""Coupons through both doors: what is given halves the month that it covers, once, and is shown with its use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from api.cli.main import main
from billing.api_keys import Scope
from billing.audit import entries
from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.verification import verify
from tests.billing_story import Company, at
from tests.integration.api.door import Door, open_door

COUPONS = "/v1/customers/buyer/coupons"
JANUARY = "2026-01-01T00:00:00+00:00"
HALF = {"key": "half", "percent_off": "50", "features": ["seats"], "starts_at": JANUARY}


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """Two customers of the default tenant have the same subscription; it is the second of February."""

    def subscribe(database: Database) -> None:
        company = Company(database)
        company.found("buyer", "twin")
        book = company.publish()
        for customer in ("buyer", "twin"):
            company.subscribe(customer, book, {"seats": "2", "support": "1"})

    for door in open_door(database_url, tmp_path, subscribe):
        door.clock[0] = at("2026-02-02")
        yield door


def _net(door: Door, customer: str) -> dict[str, Decimal]:
    """Return what a customer was billed, by feature."""
    net: dict[str, Decimal] = {}
    for invoice in door.call("GET", "/v1/invoices", customer=customer).json()["items"]:
        for line in invoice["lines"]:
            net[line["feature"]] = net.get(line["feature"], Decimal(0)) + Decimal(line["net"])
    return net


def test_half_off_halves_the_lines_it_covers_and_no_others(billed: Door) -> None:
    given = billed.call("POST", COUPONS, HALF, key="give")
    assert given.status_code == 201, given.text
    assert (given.json()["periods_used"], given.json()["used"]) == (0, {})
    assert billed.call("POST", "/v1/closes/2026-01", key="close").status_code == 200
    full = _net(billed, "twin")
    assert full["seats"] == 20
    assert _net(billed, "buyer") == {**full, "seats": full["seats"] / 2}
    [held] = billed.call("GET", COUPONS).json()["items"]
    assert held == {**given.json(), "periods_used": 1, "used": {"USD": "10"}}
    assert billed.call("POST", COUPONS, HALF, key="later").json() == held
    assert billed.call("GET", "/v1/customers/twin/coupons").json() == {"items": []}
    with billed.database.reading("default") as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def test_a_fixed_amount_lasts_until_it_is_used_up(billed: Door) -> None:
    welcome = {"key": "welcome", "amount_off": "30", "currency": "USD", "carries_rest": True, "features": ["seats"]}
    assert billed.call("POST", COUPONS, {**welcome, "starts_at": JANUARY}, key="give").status_code == 201
    for month, now in (("2026-01", "2026-02-02"), ("2026-02", "2026-03-02"), ("2026-03", "2026-04-02")):
        billed.clock[0] = at(now)
        assert billed.call("POST", f"/v1/closes/{month}", key=month).status_code == 200
    [held] = billed.call("GET", COUPONS).json()["items"]
    assert (held["amount_off"], held["periods_used"], held["used"]) == ("30", 2, {"USD": "30"})
    assert _net(billed, "twin")["seats"] - _net(billed, "buyer")["seats"] == 30


def test_a_coupon_is_given_once_whichever_key_names_it(billed: Door) -> None:
    first = billed.call("POST", COUPONS, {"key": "half", "percent_off": "50"}, key="give")
    replayed = billed.call("POST", COUPONS, {"key": "half", "percent_off": "50"}, key="give")
    assert (replayed.json(), replayed.headers["idempotent-replayed"]) == (first.json(), "true")
    billed.wait(hours=1)
    assert billed.call("POST", COUPONS, {"key": "half", "percent_off": "50.0"}, key="again").json() == first.json()
    assert billed.call("GET", COUPONS).json()["items"] == [first.json()]
    with billed.database.reading("default") as uow:
        kept = [each for each in entries(uow) if each.action == "coupon.give"]
    assert [(each.actor, each.object_id) for each in kept] == [("test", "buyer")]


def test_one_key_stands_for_one_coupon(billed: Door) -> None:
    assert billed.call("POST", COUPONS, HALF, key="a").status_code == 201
    assert billed.call("POST", "/v1/customers/twin/coupons", HALF, key="b").status_code == 201
    third = billed.call("POST", COUPONS, {**HALF, "percent_off": "30"}, key="c")
    assert (third.status_code, third.json()["code"]) == (409, "coupon_conflict")
    later = billed.call("POST", COUPONS, {**HALF, "ends_at": "2026-09-01T00:00:00Z"}, key="d")
    assert (later.status_code, later.json()["code"]) == (409, "coupon_grant_conflict")


def test_many_at_once_give_one(billed: Door) -> None:
    billed.token(*Scope)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: billed.call("POST", COUPONS, HALF, key=f"k{number}"), range(16)))
    assert {each.status_code for each in answers} == {201}
    assert len(billed.call("GET", COUPONS).json()["items"]) == 1


def test_a_coupon_that_ended_takes_nothing_more_and_what_it_took_stands(billed: Door) -> None:
    forever = {"key": "half", "percent_off": "50", "features": ["seats"], "duration": "forever", "starts_at": JANUARY}
    for customer in ("buyer", "twin"):
        assert billed.call("POST", f"/v1/customers/{customer}/coupons", forever, key=customer).status_code == 201
    assert billed.call("POST", "/v1/closes/2026-01", key="2026-01").status_code == 200
    ended = billed.call("POST", f"{COUPONS}/half/end", {}, key="end")
    assert (ended.status_code, ended.json()["ends_at"]) == (200, "2026-02-02T00:00:00+00:00")
    later = billed.call("POST", "/v1/customers/twin/coupons/half/end", {"ends_at": "2026-03-01T00:00:00Z"}, key="later")
    assert later.json()["ends_at"] == "2026-03-01T00:00:00+00:00"
    billed.clock[0] = at("2026-03-02")
    assert billed.call("POST", f"{COUPONS}/half/end", key="again").json()["ends_at"] == ended.json()["ends_at"]
    assert billed.call("POST", "/v1/closes/2026-02", key="2026-02").status_code == 200
    assert (_net(billed, "buyer")["seats"], _net(billed, "twin")["seats"]) == (10 + 20, 10 + 10)
    kept = [each["action"] for each in billed.call("GET", "/v1/audit").json()["items"]]
    assert kept.count("coupon.end") == 2


def test_only_a_coupon_that_was_given_ends_and_not_before_now(billed: Door) -> None:
    assert billed.call("POST", COUPONS, HALF, key="give").status_code == 201
    for path, body, status, code in (
        (f"{COUPONS}/none/end", {}, 404, "unknown_coupon"),
        ("/v1/customers/twin/coupons/half/end", {}, 404, "unknown_coupon"),
        (f"{COUPONS}/half/end", {"ends_at": "2026-02-01T00:00:00Z"}, 422, "invalid_value"),
        (f"{COUPONS}/half/end", {"ends_at": "tomorrow"}, 422, "invalid_time"),
    ):
        answer = billed.call("POST", path, body, key=f"{path} {body}")
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert billed.call("GET", COUPONS).json()["items"][0]["ends_at"] is None


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"percent_off": 50.5}, 400, "malformed", "percent_off"),
        ({"surprise": 1}, 400, "malformed", "surprise"),
        ({"duration": "always"}, 400, "malformed", "duration"),
        ({"periods": 0}, 400, "malformed", "periods"),
        ({"key": "a b"}, 422, "invalid_key", "key"),
        ({"percent_off": "101"}, 422, "coupon_percent_out_of_range", "percent_off"),
        ({"percent_off": "NaN"}, 422, "not_a_number", "percent_off"),
        ({"percent_off": None}, 422, "coupon_kind_unclear", "percent_off"),
        ({"amount_off": "5", "currency": "USD"}, 422, "coupon_kind_unclear", "percent_off"),
        ({"percent_off": None, "amount_off": "5"}, 422, "invalid_value", "currency"),
        ({"currency": "USD"}, 422, "invalid_value", "currency"),
        ({"percent_off": None, "amount_off": "5", "currency": "usd"}, 422, "unknown_currency", "currency"),
        (
            {"percent_off": None, "amount_off": "0.001", "currency": "USD"},
            422,
            "too_many_decimal_places",
            "amount_off",
        ),
        ({"duration": "periods"}, 422, "coupon_periods_unclear", "periods"),
        ({"carries_rest": True}, 422, "rest_of_percentage", "carries_rest"),
        ({"ends_at": JANUARY}, 422, "invalid_value", "ends_at"),
        ({"starts_at": "2026-01-01T00:00:00"}, 422, "naive_time", "starts_at"),
    ],
)
def test_what_is_wrong_is_refused_and_gives_nothing(
    billed: Door, change: dict[str, object], status: int, code: str, field: str
) -> None:
    answer = billed.call("POST", COUPONS, {**HALF, **change}, key="bad")
    told = answer.json()
    assert (answer.status_code, told["code"], told.get("field", "")) == (status, code, field), answer.text
    assert billed.call("GET", COUPONS).json()["items"] == []


def test_only_a_known_customer_of_ones_own_is_given_one(billed: Door) -> None:
    nobody = billed.call("POST", "/v1/customers/nobody/coupons", HALF, key="a")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "unknown_customer")
    foreign = billed.token(*Scope, tenant="other")
    assert billed.call("POST", COUPONS, HALF, key="b", token=foreign).status_code == 404
    assert billed.call("GET", COUPONS, token=foreign).status_code == 404
    keyless = billed.call("POST", COUPONS, HALF)
    assert (keyless.status_code, keyless.json()["code"]) == (400, "idempotency_key_required")
    assert billed.call("POST", COUPONS, HALF, key="c").status_code == 201
    others = {"key": "half", "percent_off": "10"}  # A key of another tenant's coupon is free.
    assert billed.call("POST", "/v1/customers/acme-other/coupons", others, key="d", token=foreign).status_code == 201


def test_the_command_gives_all_or_none_and_lists(
    billed: Door, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))

    def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        status = main(["coupon", *arguments])
        printed = capsys.readouterr()
        return status, [json.loads(line) for line in printed.out.splitlines()], printed.err

    half, broken = tmp_path / "half.json", '{"key": "all", "percent_off": "101"}'
    half.write_text(json.dumps(HALF))
    welcome = '{"key": "welcome", "amount_off": "30", "currency": "USD"}'
    assert run("give", "buyer", str(half), broken)[0] == 3
    assert run("list", "buyer") == (0, [], "")
    status, given, _ = run("give", "buyer", str(half), welcome)
    assert (status, [each["key"] for each in given]) == (0, ["half", "welcome"])
    assert run("give", "buyer", str(half)) == (0, given[:1], "")
    assert run("list", "buyer")[1] == given == billed.call("GET", COUPONS).json()["items"]
    status, [ended], _ = run("end", "buyer", "half", "--at", "2099-01-01T00:00:00Z")
    assert (status, ended) == (0, {**given[0], "ends_at": "2099-01-01T00:00:00+00:00"})
    assert run("end", "buyer", "none")[0] == 3
    for wrong, code in (
        ("{", "malformed"),
        ('{"key": "x", "percent": "5"}', "malformed"),
        (str(tmp_path), "unreadable_file"),
        ('{"key": "half", "percent_off": "5"}', "coupon_conflict"),
    ):
        status, _, told = run("give", "buyer", wrong)
        assert (status, code in told) == (3, True), told
    assert run("give", "nobody", str(half))[0] == run("list", "nobody")[0] == 3
