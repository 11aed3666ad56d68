"""A shop with quotes, for commands and watchers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from billing.database import Database
from billing.demand_models import LogWindow, keep_model
from billing.repositories.price_books import PriceBookRepository
from pricing_engine.demand.learning import card_document, learn
from tests.demand_shop import BEGAN, TENANT, Shop
from tests.integration.api.door import START, Door, open_door
from tests.quote_facts import SIGNER


@pytest.fixture
def shop(database_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop whose database and key the commands find."""
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    return Shop(database, tmp_path)


@pytest.fixture
def door(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """Two tenants with a customer and a published book each, behind HTTP."""
    yield from open_door(database_url, tmp_path)


@pytest.fixture
def sold(door: Door, tmp_path: Path) -> Shop:
    """Behind the door is a shop whose quotes of January were learned from."""
    with door.database.reading(TENANT) as uow:
        book = PriceBookRepository(uow).one_in_force("gateway", START)
    shop = Shop(door.database, tmp_path, book.content_hash)
    shop.sell()
    window = LogWindow(BEGAN, START - timedelta(days=1))
    with door.database.writing(TENANT) as uow:
        log = window.read(uow, book.book)
        posterior = learn(log)
        keep_model(uow, "gateway", posterior, window, window.before, card=card_document(log, posterior))
    return shop
