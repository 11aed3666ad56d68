"""`alacarte subscription`: each change is previewed without a trace, then done once, with who and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from billing.audit import entries
from billing.database import Database
from tests.billing_story import Company, repriced
from tests.quote_facts import SIGNER


@pytest.fixture
def company(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    company = Company(database)
    company.found("acme")
    company.publish()
    return company


def test_features_and_price_books_change_one_by_one(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        assert main(["subscription", *arguments]) == 0
        phase: dict[str, Any] = json.loads(capsys.readouterr().out)["phases"][-1]
        return phase

    run("start", "s1", "acme", "seats=2")
    assert run("quantity", "s1", "seats", "5")["agreement"]["selection"] == {"seats": "5"}
    assert run("add", "s1", "sso")["agreement"]["selection"] == {"seats": "5", "sso": "1"}
    assert run("drop", "s1", "sso", "--proration", "whole")["agreement"]["selection"] == {"seats": "5"}
    dearer = company.publish(repriced("seats", {"model": "unit", "unit_amount": "20"}, 2))
    assert run("move", "s1")["price_book"] == dearer
    assert run("upgrade", "s1", "seats=9")["agreement"]["selection"] == {"seats": "9"}
    cycle = run("cycle", "s1", "--interval", "year", "--minimum-spend", "1000")["agreement"]
    assert (cycle["cycle"]["interval"], cycle["minimum_spend"]) == ("year", "1000")
    assert main(["subscription", "cycle", "s1", "--interval", "month"]) == 3
    assert "minimum_spend" in capsys.readouterr().err
    assert run("downgrade", "s1", "seats=1")["action"] == "downgrade"
    assert main(["subscription", "upgrade", "s1"]) == 3
    assert main(["subscription", "add", "s1", "seats"]) == 3
    assert "chosen already" in capsys.readouterr().err


def test_who_asks_again_for_what_is_so_changes_nothing(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    def phases(*arguments: str) -> int:
        assert main(["subscription", *arguments]) == 0
        return len(json.loads(capsys.readouterr().out)["phases"])

    phases("start", "s1", "acme", "seats=2")
    for arguments, expected in (
        (("quantity", "s1", "seats", "2"), 1),
        (("change", "s1", "seats=2", "--proration", "whole"), 1),
        (("unschedule", "s1"), 1),
        (("cycle", "s1"), 1),
        (("pause", "s1"), 2),
        (("pause", "s1"), 2),
        (("resume", "s1"), 3),
        (("cancel", "s1", "--at-period-end"), 4),
        (("cancel", "s1", "--at-period-end"), 4),
        (("quantity", "s1", "seats", "2"), 4),
        (("unschedule", "s1"), 5),
    ):
        assert phases(*arguments) == expected, arguments
    with company.database.reading(company.tenant) as uow:
        recorded = [each.action for each in entries(uow) if each.object_type == "subscription"]
    assert len(recorded) == 5


def test_a_subscription_from_start_to_end(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, Any]:
        status = main(["subscription", *arguments])
        printed = capsys.readouterr().out
        return status, json.loads(printed) if printed else None

    start = ("start", "s1", "acme", "seats=2", "tokens", "--trial-days", "0")
    status, seen = run(*start, "--preview")
    assert (status, [line["feature"] for line in seen["after"][0]["lines"]]) == (0, ["seats"])
    assert run("show", "s1") == (3, None)
    status, started = run(*start, "--actor", "ann")
    assert (status, started["phases"][0]["agreement"]["selection"]) == (0, {"seats": "2", "tokens": "1"})
    assert started["phases"][0]["actor"] == "ann"

    status, seen = run("change", "s1", "seats=5", "tokens", "--preview")
    assert (status, seen["difference"][0]["amount"] > "0") == (0, True)
    assert run("show", "s1")[1] == started
    later = ("--proration", "next_period")
    status, seen = run("change", "s1", "seats=5", "tokens", *later, "--preview")
    assert (status, [each["amount"] for each in seen["difference"]]) == (0, ["0"])
    for arguments, action in (
        (("change", "s1", "seats=5", "tokens", "--reason", "grown", *later), "change"),
        (("pause", "s1"), "pause"),
        (("resume", "s1"), "resume"),
        (("cancel", "s1", "--at-period-end"), "cancel"),
        (("unschedule", "s1"), "unschedule"),
        (("cancel", "s1"), "cancel"),
    ):
        status, after = run(*arguments)
        assert (status, after["phases"][-1]["action"]) == (0, action)
    assert [phase["reason"] for phase in after["phases"]] == ["", "grown", "", "", "", "", ""]
    how = [phase["agreement"]["proration"]["mid_period"] for phase in after["phases"]]
    assert how == ["prorated", "next_period", *["prorated"] * 5]
    assert run("show", "s1") == (0, after)
    assert run("resume", "s1") == (3, None)
    assert run("start", "s2", "acme", "nothing=1") == (3, None)
    with company.database.reading(company.tenant) as uow:
        recorded = [(each.actor, each.action) for each in entries(uow) if each.object_type == "subscription"]
    assert recorded[0] == ("ann", "subscription.start")
    done = ["change", "pause", "resume", "cancel", "unschedule", "cancel"]
    assert [action for _, action in recorded[1:]] == [f"subscription.{each}" for each in done]


def test_a_switch_is_chosen_by_true(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quote", "preview", "acme", "seats=2", "sso=true"]) == 0
    assert main(["subscription", "start", "s1", "acme", "seats=2"]) == 0
    capsys.readouterr()
    assert main(["subscription", "change", "s1", "seats=2", "sso=true"]) == 0
    assert json.loads(capsys.readouterr().out)["phases"][-1]["agreement"]["selection"] == {"seats": "2", "sso": "1"}
    assert main(["quote", "preview", "acme", "seats=true"]) == 3
