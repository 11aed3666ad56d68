"""`alacarte demand` from logged quotes to prices in force and back, as a product team runs it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from billing.repositories.quotes import QuoteRepository
from tests.demand_shop import QUOTES, TENANT, Shop


def test_from_logged_quotes_to_prices_in_force_and_back(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["demand", *arguments]) == status
        printed = capsys.readouterr()
        assert status == 3 or not printed.err, "no progress where nobody watches"
        return printed.err if status == 3 else printed.out

    shop.sell()
    assert f"learned from {QUOTES} of them" in run("fit", "--days", "36500")
    model = shop.model_hash()
    assert f"model 1 of gateway: {model}" in run("fit", "--days", "36500")  # The same quotes give the same model.

    card = json.loads(run("card", "--json"))
    assert (card["version"], card["model_hash"], card["confounding"]["verdict"]) == (1, model, "clear")
    low, likely, high = (float(end) for end in card["elasticities"][0]["elasticity_90"])
    assert low < -3 < high  # At 8: 0.75 x 8 x (1 - q), where half accept.
    assert likely < -1.5
    assert "confounding: clear" in run("card")

    file = str(shop.folder / "proposal.json")
    told = run("propose", "--holdout", "0", "--out", file)
    # The best price is about 6.57; ten percent a step from 8 allows 8 / 1.1, and the ladder rounds it inwards.
    assert "seats: 8 -> 7.28 (wanted " in told
    assert "rails: step at 7.27273; ladder at 7.28," in told  # 8 / 1.1 has no last digit.
    assert "doubly robust: refused, only" in told  # Not because the holdout's prices were not drawn.
    forged = shop.folder / "forged.json"
    forged.write_text(Path(file).read_text().replace('"7.28"', '"7.27"'))
    assert "seal_broken" in run("publish", str(forged), status=3)
    assert "unreadable" in run("publish", str(shop.folder / "nowhere.json"), status=3)

    held = shop.quote(0, datetime.now(UTC))
    assert "default: epoch 2, sheet" in run("publish", file, "--actor", "ann")
    assert "stale_proposal" in run("publish", file, status=3)
    total, named = shop.quoted_now(0)
    assert named == model
    assert Decimal("7.28") / Decimal("1.06") < total < Decimal("7.28") * Decimal("1.06")
    with shop.database.reading(TENANT) as uow:
        assert QuoteRepository(uow).get(held.id).total == held.total  # A held quote keeps its price.

    assert "list prices: too many complaints" in run("stop", "--reason", "too many complaints", "--actor", "bob")
    assert shop.quoted_now(0) == (Decimal(8), "")
    assert "there is no model to drift from" in run("drift")
    assert shop.audited() == [("ann", "price_epoch.publish"), ("bob", "price_epoch.stop")]
    assert "reason_needed" in run("stop", "--reason", " ", status=3)


def test_acceptance_that_leaves_the_model_puts_list_prices_back(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.sell()
    file = str(shop.folder / "proposal.json")
    for arguments in (["fit", "--days", "36500"], ["propose", "--out", file], ["publish", file], ["drift"]):
        assert main(["demand", *arguments]) == 0
    assert "0 alarms in 0 windows" in capsys.readouterr().out
    for number in range(100):
        shop.quote(number, datetime.now(UTC), intercept=3.0)
    assert main(["demand", "drift", "--stop"]) == 1
    told = capsys.readouterr().out
    assert "1 alarms in 1 windows" in told
    assert "list prices: model 1: 1 alarms" in told
    assert shop.quoted_now(1) == (Decimal(8), "")


def test_what_cannot_be_learned_or_proposed_is_said(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(shop.folder / "proposal.json")

    def refused(*arguments: str) -> str:
        assert main(["demand", *arguments]) == 3
        return capsys.readouterr().err

    assert "no_quotes" in refused("fit")
    for days in ("0", "99999999999"):
        assert "days: must be within 1..36525" in refused("fit", "--days", days)
    assert "epoch_hours" in refused("watch", "--epoch-hours", "99999999999")
    assert "seed: must be >= 0" in refused("propose", "--seed", "-1")
    assert "unknown_demand_model" in refused("card")
    for number in ("7", "-1", str(10**18 - 1)):
        assert "unknown_demand_model" in refused("propose", "--model", number)
        assert "unknown_demand_model" in refused("card", "--model", number)
    assert "unknown_price_book" in refused("fit", "--book", "other")
    assert "holdout" in refused("propose", "--holdout", "2", "--out", file)

    assert main(["demand", "propose", "--out", file]) == 0
    told = capsys.readouterr().out
    assert "list prices: no model" in told
    assert "seats: stays 8" in told
    proposal: dict[str, Any] = json.loads(Path(file).read_text())
    sheet = proposal["sections"]["sheets/default"]["content"]
    assert (sheet["fallback"], sheet["epoch"], sheet.get("model_hash", "")) == ("no model", 1, "")
    assert main(["demand", "publish", file]) == 0
    assert shop.quoted_now(0) == (Decimal(8), "")
