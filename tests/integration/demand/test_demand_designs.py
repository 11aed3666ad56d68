"""Designs by command: from logged quotes to a draft catalog that can be simulated and published."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from api.catalog_file import read_catalog
from api.cli import demand_designs
from api.cli.main import main
from pricing_engine.catalog import Bundle
from pricing_engine.demand.catalog_drafts import BundleDraft
from pricing_engine.demand.tariff_design import Estimate
from pricing_engine.price_sheet import list_price
from tests.demand_shop import Shop


def test_a_design_is_written_as_the_next_version_of_the_book(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["demand", *arguments]) == status
        printed = capsys.readouterr()
        return printed.err if status == 3 else printed.out

    assert "unknown_demand_model" in run("design-tariff", status=3)
    shop.sell()
    run("fit", "--days", "36500")

    draft = shop.folder / "draft.yaml"
    told = run("design-tariff", "--customers", "2000", "--out", str(draft))
    assert "seats: 8 -> " in told
    assert "expected gain in profit a customer: " in told
    assert f"alacarte simulate {draft}" in told
    written = read_catalog(draft)
    assert written.version == shop.book.book.version + 1
    figures = json.loads(run("design-tariff", "--customers", "2000", "--json"))
    assert figures["warnings"] == json.loads(run("card", "--json"))["warnings"]
    price = Decimal(figures["prices"]["seats"])
    assert list_price(written.feature("seats")) == price
    assert 5 < price < 8  # The best price is about 6.6.
    assert float(figures["gain_a_customer"]["mean"]) > 0
    assert main(["catalog", "publish", str(draft)]) == 0
    capsys.readouterr()

    assert "nothing_to_design" in run("suggest-bundle", status=3)  # Seats were all that was quoted.
    offer = json.loads(run("group-offer", "seats=1", "--invited", "30", "--setup-cost", "40", "--json"))
    assert Decimal(offer["list_total"]) == price
    assert offer["tiers"][0]["pledges"] > 1
    assert float(offer["profit"]["low"]) < float(offer["profit"]["mean"]) < float(offer["profit"]["high"])
    assert float(offer["gain"]["high"]) > 0
    assert "pledges on, " in run("group-offer", "seats=1", "--invited", "30")
    assert "seed: must be >= 0" in run("group-offer", "seats=1", "--invited", "30", "--seed", "-1", status=3)
    assert "stands twice" in run("group-offer", "seats=1", "seats=2", "--invited", "30", status=3)
    assert "sold at one price" in run("group-offer", "tokens=5", "--invited", "30", status=3)


def test_a_bundle_that_adds_no_profit_is_not_suggested(
    shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.sell()
    assert main(["demand", "fit", "--days", "36500"]) == 0
    bundle = Bundle("suggested-1", "Both", ("seats", "sso"), Decimal(5))
    losing = BundleDraft(shop.book.book, bundle, Estimate(-5.04, -5.04, 0.0), 0.1)
    monkeypatch.setattr(demand_designs, "draft_bundle", lambda *_args, **_options: losing)
    capsys.readouterr()
    draft = shop.folder / "bundle.yaml"
    assert main(["demand", "suggest-bundle", "--out", str(draft)]) == 0
    told = capsys.readouterr().out
    assert "no bundle: the best found adds no profit (seats, sso together at 5 % off)" in told
    assert "-5.04, 90 % -5.04 to 0" in told
    assert "alacarte simulate" not in told
    assert not draft.exists()
    assert main(["demand", "suggest-bundle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["worthwhile"] is False


def test_a_design_says_what_speaks_against_its_model(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.sell(lambda _customer, _price: 0.5)
    assert main(["demand", "fit", "--days", "36500"]) == 0
    capsys.readouterr()
    for command in (["design-tariff", "--customers", "2000"], ["group-offer", "seats=1", "--invited", "30"]):
        assert main(["demand", *command]) == 0
        assert "warning: no effect of price is seen" in capsys.readouterr().out
