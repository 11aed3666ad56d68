"""`alacarte demand` from logged quotes to prices in force and back, as a product team runs it."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from api.cli.main import main
from billing import audit
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import add_sheet, publish, sealed_book, sealed_sheet
from billing.quotes import QuoteRequest, create_quote
from billing.repositories.customers import CustomerRepository
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository, StoredQuote
from pricing_engine.verification import verify_quote
from tests.quote_facts import SIGNER, jittered_sheet, price_book

QUOTES = 300
TENANT = "default"


class Shop:
    """A company that sells seats at 8, its database and a folder to work in."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.dice = random.Random(5)
        self.began = datetime(2026, 1, 2, tzinfo=UTC)  # Fixed, as draws depend on when a sheet begins.
        with database.writing(TENANT) as uow:
            customers = CustomerRepository(uow)
            customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
            everyone = [Customer(f"c{number}", "hq", f"c{number}", "DE", "USD") for number in range(QUOTES)]
            customers.save(everyone, self.began)
            self.book = publish(uow, price_book(), SIGNER, self.began, "ann")

    def sell(self) -> None:
        """Draw a price between 6 and 10 for nine customers of ten, whose chance to take it is sigma(6 - 0.75 price)."""
        sheet = jittered_sheet(self.book.content_hash)
        wide = structs.replace(
            sheet.prices[0], price=Decimal(8), lowest=Decimal(6), highest=Decimal(10), jitter=Decimal("0.2")
        )
        sheet = structs.replace(sheet, epoch=1, effective_from=self.began, prices=(wide,), holdout=Decimal("0.1"))
        with self.database.writing(TENANT) as uow:
            add_sheet(uow, sheet, SIGNER, self.began)
        for number in range(QUOTES):
            self.quote(number, self.began + timedelta(hours=number))

    def quote(self, number: int, at: datetime, *, intercept: float = 6.0) -> StoredQuote:
        """Quote one seat to a customer, who decides at once."""
        with self.database.writing(TENANT) as uow:
            made = create_quote(uow, QuoteRequest(f"c{number}", {"seats": "1"}), SIGNER, at, f"{at:%s.%f}-{number}")
            chance = 1 / (1 + math.exp(0.75 * float(made.total) - intercept))
            state = "accepted" if self.dice.random() < chance else "released"
            QuoteRepository(uow).resolve(made.id, state, at)
        return made

    def quoted_now(self, number: int) -> tuple[Decimal, str]:
        """Return the total and the model of a quote made now, after verifying it offline."""
        made = self.quote(number, datetime.now(UTC))
        with self.database.reading(TENANT) as uow:
            books = PriceBookRepository(uow)
            sheet = sealed_sheet(books.sheet(made.sheet_hash), SIGNER)
        assert verify_quote(made.sealed, sealed_book(self.book, SIGNER), sheet, SIGNER.public_pem).verified
        return made.total, made.sealed["sections"]["quote"]["content"]["model"]

    def model_hash(self) -> str:
        """Return the hash of the newest model kept."""
        with self.database.reading(TENANT) as uow:
            model = DemandModelRepository(uow).newest("gateway")
        assert model is not None
        assert model.posterior.content_hash == model.content_hash
        return model.content_hash

    def audited(self) -> list[tuple[str, str]]:
        """Return what the audit trail says of prices: actor and action."""
        with self.database.reading(TENANT) as uow:
            entries = audit.entries(uow)
        return [(entry.actor, entry.action) for entry in entries if entry.action.startswith("price_epoch")]


@pytest.fixture
def shop(database_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose database and key the commands find."""
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    return Shop(database, tmp_path)


def test_from_logged_quotes_to_prices_in_force_and_back(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["demand", *arguments]) == status
        printed = capsys.readouterr()
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
    assert "rails: step at 7.27" in told
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
    assert "days" in refused("fit", "--days", "0")
    assert "unknown_demand_model" in refused("card")
    assert "unknown_demand_model" in refused("propose", "--model", "7")
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
