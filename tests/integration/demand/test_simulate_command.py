"""`alacarte simulate` as a product manager runs it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from api.cli.main import main
from billing.database import Database
from tests.billing_story import BOOK, Company, repriced


@pytest.fixture
def folder(database_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, beside a company whose January is closed."""
    company = Company(database)
    company.found("acme", country="US")
    company.subscribe("acme", company.publish(), {"seats": "3", "support": "1"})
    company.close("2026-01", "2026-02-01T01:00", rates=None)
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    return tmp_path


def test_a_draft_is_tried_on_last_month(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft = folder / "draft.yaml"
    draft.write_text(yaml.safe_dump(BOOK))
    assert main(["simulate", str(draft)]) == 0
    assert "equals its invoices to the cent" in capsys.readouterr().out

    draft.write_text(yaml.safe_dump(repriced("seats", {"model": "unit", "unit_amount": "11"})))
    table, picture = folder / "table.csv", folder / "picture.png"
    assert main(["simulate", str(draft), "--csv", str(table), "--plot", str(picture)]) == 0
    told = capsys.readouterr().out
    assert "seats: 30 -> 33" in told
    assert "pay more: acme 3 USD" in told
    row = next(csv.DictReader(table.read_text().splitlines()))
    assert (row["customer"], row["difference"]) == ("acme", "3")
    assert picture.read_bytes().startswith(b"\x89PNG")

    assert main(["simulate", str(draft), "--period", "2026-07"]) == 3
    assert "is not closed" in capsys.readouterr().err
    assert main(["simulate", str(folder / "nowhere.yaml")]) == 3
