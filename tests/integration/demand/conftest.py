"""A shop with quotes, for commands and watchers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.database import Database
from tests.demand_shop import Shop
from tests.integration.api.door import Door, open_door
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
