"""Demand over HTTP: cards, curves, a draft tried on last month, and an epoch from proposal to force and back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from billing import audit
from billing.database import Database
from billing.demand_models import LogWindow, keep_model
from pricing_engine.demand.learning import learn
from tests.billing_story import Company, repriced
from tests.demand_shop import BEGAN, QUOTES, TENANT, Shop
from tests.integration.api.door import START, Door, open_door
from tests.unit.demand.test_selections import log_of

GATEWAY = "/v1/demand/gateway"


def test_a_proposed_epoch_is_shown_published_and_stopped(door: Door, sold: Shop) -> None:
    card = door.call("GET", f"{GATEWAY}/models/newest").json()
    assert card == door.call("GET", f"{GATEWAY}/models/1").json()
    assert (card["model"]["version"], card["model"]["content_hash"]) == (1, sold.model_hash())
    assert card["card"]["confounding"]["verdict"] == "clear"
    assert card["model"]["warnings"] == card["card"]["warnings"]
    assert door.call("GET", f"{GATEWAY}/models").json()["items"] == [card["model"]]
    assert door.call("GET", f"{GATEWAY}/models/{2**40}").status_code == 404

    made = door.call("POST", f"{GATEWAY}/proposals", {"holdout": "0.1"}, key="next")
    assert made.status_code == 201
    whole = made.json()
    [seats] = [each for each in whole["changes"] if each["segment"] == "default"]
    assert (seats["feature"], seats["before"], seats["after"]) == ("seats", "8", "7.28")
    assert [(hit["rail"], hit["bound"]) for hit in seats["rails"]] == [("step", "7.27272727273"), ("ladder", "7.28")]
    assert whole["epoch"]["holdout"] == "0.1"
    assert whole["epoch"]["evaluation"]["estimates"]["direct"]["refused"] == ""
    assert whole["proposal"]["state"] == "open"
    assert any("do not say what it earns" in objection for objection in whole["proposal"]["objections"])
    again = door.call("POST", f"{GATEWAY}/proposals", {"holdout": "0.1"}, key="next")
    assert again.headers["Idempotent-Replayed"] == "true"
    mine = f"{GATEWAY}/proposals/{whole['proposal']['id']}"
    assert door.call("GET", mine).json() == whole
    assert door.call("GET", f"{GATEWAY}/proposals").json()["items"] == [whole["proposal"]]

    published = door.call("POST", f"{mine}/publish", token=door.token("price_approve", name="second")).json()
    assert [(sheet["epoch"], sheet["model"]) for sheet in published["sheets"]] == [(2, sold.model_hash())]
    refused = door.call("POST", f"{mine}/publish")
    assert (refused.status_code, refused.json()["code"]) == (409, "stale_proposal")
    shown = door.call("GET", mine).json()["proposal"]
    assert (shown["state"], shown["published_by"]) == ("published", "second")

    door.wait(hours=1)
    for number in range(2):
        door.call("POST", f"{GATEWAY}/proposals", {"seed": number})
    first = door.call("GET", f"{GATEWAY}/proposals", limit=2).json()
    rest = door.call("GET", f"{GATEWAY}/proposals", limit=2, cursor=first["next_cursor"]).json()
    assert [each["state"] for each in [*first["items"], *rest["items"]]] == ["open", "open", "published"]

    stopped = door.call("POST", f"{GATEWAY}/stop", {"reason": "too many complaints"}).json()
    assert [sheet["fallback"] for sheet in stopped["sheets"]] == ["too many complaints"]
    assert {each["state"] for each in door.call("GET", f"{GATEWAY}/proposals").json()["items"]} == {
        "stale",
        "published",
    }
    with door.database.reading(TENANT) as uow:
        actions = [entry.action for entry in audit.entries(uow) if entry.action.startswith("price_epoch")]
    assert actions == ["price_epoch.publish", "price_epoch.stop"]


@pytest.mark.usefixtures("sold")
def test_an_epoch_is_put_in_force_by_another_name_or_a_key_of_both_scopes(door: Door) -> None:
    made = door.call("POST", f"{GATEWAY}/proposals", {}, token=door.token("price_admin")).json()
    publish = f"{GATEWAY}/proposals/{made['proposal']['id']}/publish"
    for scopes, status, code in (
        (("price_admin",), 403, "forbidden"),
        (("price_approve",), 422, "second_person_needed"),
    ):
        answer = door.call("POST", publish, token=door.token(*scopes))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert door.call("POST", publish, token=door.token("price_admin", "price_approve")).status_code == 200


def test_curves_are_drawn_from_what_was_posted_or_say_what_is_lacking(door: Door, sold: Shop) -> None:
    found = door.call("GET", f"{GATEWAY}/curves").json()
    [seats] = found["items"]
    assert (found["book"], seats["feature"], seats["list_price"], seats["lacking"]) == ("gateway", "seats", "8", "")
    assert seats["quotes"] == sum(each["quoted"] for each in seats["seen"]) == QUOTES
    assert all(float(each["low"]) <= float(each["mode"]) <= float(each["high"]) for each in seats["curve"])
    assert float(seats["seen"][-1]["price"]) > 9

    [poor] = door.call("GET", f"{GATEWAY}/curves", token=door.token("price_admin", tenant="other")).json()["items"]
    assert (poor["curve"], poor["lacking"], poor["quotes"], poor["minimum_quotes"]) == ([], "quotes", 0, 200)


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """January is closed for one customer with three seats at 10 and support."""

    def bill(database: Database) -> None:
        company = Company(database)
        company.found("buyer", country="US")
        company.subscribe("buyer", company.publish(), {"seats": "3", "support": "1"})
        company.close("2026-01", "2026-02-01T01:00", rates=None)

    yield from open_door(database_url, tmp_path, bill)


def test_a_draft_is_tried_on_last_month(billed: Door) -> None:
    dearer = repriced("seats", {"model": "unit", "unit_amount": "11"})
    found = billed.call("POST", "/v1/demand/simulate", {"price_book": dearer}).json()
    assert (found["period"], found["reproduced"], found["model"]) == ("2026-01", True, None)
    [total] = found["totals"]
    assert Decimal(total["draft"]) - Decimal(total["live"]) == Decimal(total["change"]) == 3
    assert (total["draft_margin"], total["pay_more"], total["expected"]) == (total["draft"], 1, None)
    assert [(each["customer"], each["change"]) for each in found["pay_more"]] == [("buyer", "3")]
    assert found["pay_less"] == []

    refusals = {
        "unknown_demand_model": {"price_book": dearer, "demand": True},
        "period_not_closed": {"price_book": dearer, "period": "2026-07"},
        "malformed": {"price_book": dearer, "surprise": 1},
    }
    for code, body in refusals.items():
        assert billed.call("POST", "/v1/demand/simulate", body).json()["code"] == code


@pytest.mark.parametrize("card", [{"warnings": ["few quotes"], "distrust": "", "proxies": None}, None])
def test_a_draft_is_tried_with_what_its_models_card_warns_of(billed: Door, card: dict[str, Any] | None) -> None:
    draft = repriced("seats", {"model": "unit", "unit_amount": "11"})
    log = log_of(600).with_columns(segment=pl.lit("default"))
    with billed.database.writing(TENANT) as uow:
        keep_model(uow, draft["key"], learn(log), LogWindow(BEGAN, START), START, card=card)
    found = billed.call("POST", "/v1/demand/simulate", {"price_book": draft, "demand": True}).json()
    assert found["model"]
    assert found["warnings"] == (None if card is None else ["few quotes"])
    assert found["totals"][0]["expected"] is not None
    without = billed.call("POST", "/v1/demand/simulate", {"price_book": draft}).json()
    assert (without["model"], without["warnings"]) == (None, None)


def test_nothing_is_learned_yet(door: Door) -> None:
    for path in ("models/newest", "models/1"):
        assert door.call("GET", f"{GATEWAY}/{path}").json()["code"] == "unknown_demand_model"
    assert door.call("GET", "/v1/demand/nowhere/models").json()["code"] == "unknown_price_book"
    whole = door.call("POST", f"{GATEWAY}/proposals", {}).json()
    assert whole["epoch"]["fallback"] == "no model"
    assert whole["proposal"]["objections"] == ["nothing is proposed but list prices: no model"]
    assert door.call("POST", f"{GATEWAY}/proposals", {"holdout": "2"}).status_code == 422
    assert door.call("POST", f"{GATEWAY}/proposals", {"model": 3}).status_code == 404


def test_what_was_proposed_is_not_worked_out_again(door: Door, sold: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    first = door.call("POST", f"{GATEWAY}/proposals", {"seed": 7}, key="again")
    monkeypatch.setattr("api.controllers.demand.draft_epoch", None)
    again = door.call("POST", f"{GATEWAY}/proposals", {"seed": 7}, key="again")
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert first.status_code == 201
    assert door.call("POST", f"{GATEWAY}/proposals", {"seed": 8}, key="again").status_code == 422
