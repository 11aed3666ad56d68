"""Nobody pays by what must not set prices: what a book declares, who is told apart, what a check for proxies finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from api.catalog_file import write_catalog
from api.cli.main import main
from billing.database import Database
from billing.demand_log import read_quote_log
from billing.publishing import add_sheet, publish
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook
from models.values.errors import RuleBrokenError
from pricing_engine.demand.learning import learn
from pricing_engine.price_book import price_book_document
from tests.demand_shop import BEGAN, QUOTES, TENANT, Shop
from tests.integration.api.door import Door
from tests.quote_facts import SIGNER, jittered_sheet, price_book

TOLD_APART = {"formed_from": {"north": ["school"]}}
FORBIDDEN = {"formed_from": {"women": ["gender"]}}


def shop_of(database: Database, folder: Path, version: int, segmentation: Mapping[str, Any]) -> Shop:
    """A shop whose every third customer is of the segment `north`, with its quotes."""
    with database.writing(TENANT) as uow:
        book = publish(uow, price_book(version=version, segmentation=segmentation), SIGNER, BEGAN, "ann")
    shop = Shop(database, folder, book.content_hash)
    with database.writing(TENANT) as uow:
        customers = CustomerRepository(uow)
        moved = [each for each in customers.all() if int(each.key[1:]) % 3 == 0]
        customers.save([replace(each, segment="north") for each in moved], BEGAN)
    shop.sell()
    return shop


@pytest.fixture
def commands(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the database and the key."""
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))


def sheet_of(book: StoredBook, segment: str) -> Any:
    return structs.replace(jittered_sheet(book.content_hash), segment=segment, epoch=7)


def test_no_book_comes_into_force_whose_segments_follow_what_must_not_set_prices(
    door: Door, tmp_path: Path, commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    book = price_book_document(price_book(version=9))
    said = door.call("POST", "/v1/price-proposals", {"price_book": {**book, "segmentation": FORBIDDEN}})
    assert (said.status_code, said.json()["code"]) == (422, "forbidden_attribute")
    assert said.json()["field"] == "segmentation.formed_from.women"

    draft = tmp_path / "draft.yaml"
    draft.write_text(write_catalog(price_book(version=9)) + f"segmentation: {json.dumps(FORBIDDEN)}\n")
    for command in ("validate", "publish"):
        assert main(["catalog", command, str(draft)]) == 3
        assert "forbidden_attribute" in capsys.readouterr().err


def test_a_segment_that_is_not_declared_is_priced_and_learned_as_everybody(
    database: Database, tmp_path: Path, commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = shop_of(database, tmp_path, 20, {})
    with database.writing(TENANT) as uow:
        log = read_quote_log(uow, shop.book.book, BEGAN, BEGAN + timedelta(days=30))
        assert set(log["segment"]) == {"default"}
        assert set(log["customer_segment"]) == {"default", "north"}
        assert learn(log).segments == ("default",)
        with pytest.raises(RuleBrokenError) as refused:
            add_sheet(uow, sheet_of(shop.book, "north"), SIGNER, BEGAN)
        assert refused.value.code == "undeclared_segment"
    assert main(["demand", "fit", "--days", "36500"]) == 0
    assert f"priced as default, not declared in the price book: north ({QUOTES // 3} quotes)" in capsys.readouterr().out
    assert main(["demand", "card", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["undeclared_segments"] == {"north": QUOTES // 3}
    assert {each["group"] for each in card["segments"]} == {"default", "north"}
    assert main(["demand", "propose", "--out", str(tmp_path / "proposal.json")]) == 0
    told = capsys.readouterr().out
    assert "seats: 8 -> 7.28" in told
    assert "north:" not in told


def test_segments_that_tell_a_protected_attribute_move_no_price_until_they_are_formed_otherwise(
    database: Database, tmp_path: Path, commands: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str, status: int = 0) -> str:
        assert main(["demand", *arguments]) == status
        printed = capsys.readouterr()
        return printed.err if status == 3 else printed.out

    shop = shop_of(database, tmp_path, 21, TOLD_APART)
    file, proposal = tmp_path / "customers.csv", str(tmp_path / "proposal.json")
    rows = [f"c{n},{'f' if n % 3 == 0 else 'm'},{'girls' if n % 3 == 0 else 'boys'}" for n in range(QUOTES)]
    fit = ("fit", "--days", "36500")
    file.write_text("\n".join(["Customer,Favourite colour,School", *rows]))
    assert "names no attribute" in run(*fit, "--attributes", str(file), status=3)
    assert "unreadable_file" in run(*fit, "--attributes", str(tmp_path / "none.csv"), status=3)
    assert run(*fit).count("elasticity of") == 2  # Declared segments are told apart.
    assert "seats: 8 -> " in run("propose", "--out", proposal)

    file.write_text("\n".join(["Customer,Gender,School", *rows, "stranger,f,girls"]))
    told = run(*fit, "--attributes", str(file))
    assert "segments of 300 customers checked" in told
    assert "school tells gender (1), segment tells gender (1)" in told
    assert "prices stay at the list: segments stand in for what must not set prices" in told
    assert "model 1 of gateway" in told  # The same quotes, the same model; its card says more.
    card = json.loads(run("card", "--json"))
    assert [each["attribute"] for each in card["proxies"]["found"]] == ["school", "segment"]
    told = run("propose", "--out", proposal)
    assert "list prices: segments stand in for" in told
    assert "seats: stays 8" in told
    assert "distrusted_model" in run("group-offer", "seats=1", "--invited", "30", status=3)

    # What was found holds for models to come, without the file, until another check.
    shop.quote(1, datetime.now(UTC))
    assert "prices stay at the list" in run(*fit)
    innocent = [row.replace("f,", "m,") if n % 2 else row.replace("m,", "f,") for n, row in enumerate(rows)]
    file.write_text("\n".join(["customer,gender,plan", *[row.rsplit(",", 1)[0] + ",x" for row in innocent]]))
    assert "nothing tells them" in run(*fit, "--attributes", str(file))
    assert "seats: 8 -> " in run("propose", "--out", proposal)

    # A version that does not declare the segment any more must not be priced by a model that tells it apart.
    with database.writing(TENANT) as uow:
        at = datetime.now(UTC)
        publish(uow, price_book(version=22), SIGNER, at, "ann")
        assert PriceBookRepository(uow).one_in_force("gateway", at).book.version == 22
    assert "the price book does not declare, fit again: north" in run("propose", "--out", proposal)
    assert run(*fit).count("elasticity of") == 1
