"""Entitlements over HTTP: what was bought, what is left of it, and what changes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.api_keys import Scope
from billing.database import Database
from tests.billing_story import Company, event, repriced
from tests.integration.api.door import START, Door, open_door

INCLUDED = {"model": "unit", "unit_amount": "0.01", "included_units": "100"}
NOTHING = {
    "subscriptions": [],
    "quantity": None,
    "used": None,
    "included": None,
    "left": None,
    "resets_at": None,
}


@pytest.fixture
def bought(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """A buyer of 5 seats, single sign-on, tokens without and calls with an allowance, since the 1st of February."""

    def sell(database: Database) -> None:
        company = Company(database)
        company.found("buyer", "stranger")
        book = company.publish(repriced("calls", INCLUDED))
        selection = {"seats": "5", "sso": "1", "tokens": "0", "calls": "0"}
        company.subscribe("buyer", book, selection, "2026-02-01", id="sub-1")

    yield from open_door(database_url, tmp_path, sell)


def asked(door: Door, feature: str, customer: str = "buyer") -> dict[str, Any]:
    answer = door.call("GET", f"/v1/customers/{customer}/entitlements/{feature}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def use(door: Door, number: int, calls: int, when: str = "2026-03-01T11:30") -> None:
    events = [event(f"{number}-{i}", "buyer", when, tokens=7) for i in range(calls)]
    outcomes = door.call("POST", "/v1/events/batch", events).json()["outcomes"]
    assert {each["status"] for each in outcomes} == {"accepted"}


def test_quantities_say_what_was_bought_and_switches_that_they_were(bought: Door) -> None:
    seats = {"feature": "seats", "kind": "quantity", "entitled": True, "reason": "subscribed"}
    assert asked(bought, "seats") == {**NOTHING, **seats, "subscriptions": ["sub-1"], "quantity": "5", "left": "5"}
    sso = {"feature": "sso", "kind": "switch", "entitled": True, "reason": "subscribed"}
    assert asked(bought, "sso") == {**NOTHING, **sso, "subscriptions": ["sub-1"]}
    support = {"feature": "support", "kind": "switch", "entitled": False, "reason": "not_subscribed"}
    assert asked(bought, "support") == {**NOTHING, **support}
    assert asked(bought, "sso", "stranger") == {**NOTHING, **sso, "entitled": False, "reason": "not_subscribed"}


def test_usage_takes_from_the_allowance_down_to_nothing_and_a_new_month_brings_a_new_one(bought: Door) -> None:
    use(bought, 0, 12, "2026-02-27T10:00")  # Last month's, no matter here.
    before = asked(bought, "calls")
    assert (before["used"], before["included"], before["left"]) == ("0", "100", "100")
    assert before["resets_at"] == "2026-04-01T00:00:00+00:00"
    use(bought, 1, 37)
    bought.wait(seconds=1)
    assert (asked(bought, "calls")["used"], asked(bought, "calls")["left"]) == ("37", "63")
    use(bought, 2, 80)
    bought.wait(seconds=1)
    beyond = asked(bought, "calls")
    assert (beyond["entitled"], beyond["used"], beyond["left"]) == (True, "117", "0")
    tokens = asked(bought, "tokens")
    assert (tokens["used"], tokens["included"], tokens["left"]) == (str(117 * 7), None, None)
    bought.wait(days=31)
    after = asked(bought, "calls")
    assert (after["used"], after["left"], after["resets_at"]) == ("0", "100", "2026-05-01T00:00:00+00:00")


def test_a_change_counts_for_the_next_request(bought: Door) -> None:
    assert asked(bought, "seats")["quantity"] == "5"
    change = {"action": "change", "selection": {"seats": "8", "tokens": "0"}}
    assert bought.call("POST", "/v1/subscriptions/sub-1/changes", change).status_code == 200
    assert asked(bought, "seats")["quantity"] == "8"
    assert asked(bought, "sso")["reason"] == "not_subscribed"
    bought.wait(hours=1)
    assert bought.call("POST", "/v1/subscriptions/sub-1/changes", {"action": "pause"}).status_code == 200
    paused = asked(bought, "seats")
    assert (paused["entitled"], paused["reason"], paused["quantity"]) == (False, "paused", None)
    bought.wait(hours=1)
    assert bought.call("POST", "/v1/subscriptions/sub-1/changes", {"action": "resume"}).status_code == 200
    assert asked(bought, "seats")["entitled"] is True
    bought.wait(hours=1)
    assert bought.call("POST", "/v1/subscriptions/sub-1/changes", {"action": "cancel"}).status_code == 200
    assert asked(bought, "seats")["reason"] == "not_subscribed"


def test_what_was_scheduled_counts_from_its_second_on(bought: Door) -> None:
    company = Company(bought.database)
    at = START + timedelta(seconds=2)
    book = company.publish(repriced("calls", INCLUDED, version=4))
    company.subscribe("stranger", book, {"seats": "2"}, at.isoformat(), id="sub-soon")
    assert asked(bought, "seats", "stranger")["entitled"] is False
    bought.wait(seconds=1)
    assert asked(bought, "seats", "stranger")["entitled"] is False
    bought.wait(seconds=1)
    assert asked(bought, "seats", "stranger")["entitled"] is True


def test_two_subscriptions_add_up(bought: Door) -> None:
    company = Company(bought.database)
    book = company.publish(repriced("calls", INCLUDED, version=4))
    company.subscribe("buyer", book, {"seats": "2.5"}, "2026-02-15", id="sub-2")
    both = asked(bought, "seats")
    assert (both["subscriptions"], both["quantity"], both["left"]) == (["sub-1", "sub-2"], "7.5", "7.5")


def test_the_list_says_the_same_of_every_feature(bought: Door) -> None:
    use(bought, 1, 3)
    listed = bought.call("GET", "/v1/customers/buyer/entitlements").json()["items"]
    assert [each["feature"] for each in listed] == ["tokens", "calls", "seats", "sso", "support"]
    assert listed == [asked(bought, each["feature"]) for each in listed]
    assert Decimal(listed[1]["left"]) == 97


def test_what_is_not_there_is_404(bought: Door) -> None:
    for path, code in (
        ("buyer/entitlements/nothing", "unknown_feature"),
        ("nobody/entitlements/seats", "unknown_customer"),
        ("nobody/entitlements", "unknown_customer"),
    ):
        answer = bought.call("GET", f"/v1/customers/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, code), answer.text
    foreign = bought.token(*Scope, tenant="other")
    answer = bought.call("GET", "/v1/customers/buyer/entitlements/seats", token=foreign)
    assert answer.status_code == 404
