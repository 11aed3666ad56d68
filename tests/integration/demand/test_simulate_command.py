"""`alacarte simulate` as a product manager runs it."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from api.cli.main import main
from billing.database import Database
from billing.demand_models import LogWindow, keep_model
from billing.repositories.demand_models import DemandModelRepository
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.posterior_fit import fit_posterior
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
    assert (row["customer"], row["difference"], row["expected"]) == ("acme", "3", "")
    assert picture.read_bytes().startswith(b"\x89PNG")

    assert "margin 154 -> 157, over a cost of 0" in told
    assert main(["simulate", str(draft), "--demand"]) == 3
    assert "nothing was fitted yet" in capsys.readouterr().err
    assert main(["simulate", str(draft), "--period", "2026-07"]) == 3
    assert "is not closed" in capsys.readouterr().err
    assert main(["simulate", str(folder / "nowhere.yaml")]) == 3


def test_with_a_model_it_says_what_to_expect(
    folder: Path, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dearer seats bring less than they would if everybody stayed, and the model says within what bounds."""
    rng = np.random.default_rng(1)
    price, chosen = rng.uniform(100, 210, 3_000), np.ones((3_000, 2)) * [3.0, 1.0]
    accepted = (rng.random(3_000) < 1 / (1 + np.exp(0.05 * (price - 154)))).astype(float)
    design = quote_design(
        chosen, price, accepted, features=["seats", "support"], segments=["default"],
        segment=np.zeros(3_000, dtype=np.int64),
    )  # fmt: skip
    with database.writing("default") as uow:
        window = LogWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
        kept = keep_model(uow, "gateway", fit_posterior(design), window, window.before)
    draft = folder / "draft.yaml"
    draft.write_text(yaml.safe_dump(repriced("seats", {"model": "unit", "unit_amount": "15"})))
    table = folder / "table.csv"
    assert main(["simulate", str(draft), "--demand", "--csv", str(table)]) == 0
    found = re.search(
        r"\(1 of 1 customers\), expected: ([\d.]+), 90 % ([\d.]+) to ([\d.]+); margin", capsys.readouterr().out
    )
    assert found is not None
    row = next(csv.DictReader(table.read_text().splitlines()))
    assert (row["expected"], row["expected_low"], row["expected_high"]) == found.groups()
    mean, low, high = map(float, found.groups())
    truth = 169 * 2 / (1 + np.exp(0.05 * 15))  # q(169) / q(154), where q(154) is a half.
    assert low < truth < high < 169
    assert low < mean < high

    with database.writing("default") as uow:
        DemandModelRepository(uow).judge(kept, {"warnings": [], "distrust": "prices moved with demand"})
    assert main(["simulate", str(draft), "--demand"]) == 3
    assert "distrusted_model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "margin", "interval"),
    [("KRW", "margin 4667 -> 5667, over a cost of 333", r"expected: \d+, 90 % \d+ to \d+; margin \d+, 90 %"),
     ("KWD", "margin 4666.667 -> 5666.667, over a cost of 333.333", r"expected: \d+\.\d{3}, 90 % \d+\.\d{3} to")],
)  # fmt: skip
def test_amounts_are_shown_in_their_currency(
    database_url: str, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, code: str, margin: str, interval: str,
) -> None:  # fmt: skip
    """A won has no hundredth, a dinar has thousandths."""
    seats = {"key": "seats", "name": "Seats", "kind": "quantity", "unit_cost": "333.333333"}
    book = {"key": "gateway", "version": 1, "currency": code, "effective_from": "2020-01-01T00:00:00Z",
            "features": [{**seats, "tariff": {"model": "unit", "unit_amount": "5000"}}]}  # fmt: skip
    company = Company(database)
    company.found("acme", country="US", currency=code)
    company.subscribe("acme", company.publish(book), {"seats": "1"}, currency=code)
    company.close("2026-01", "2026-02-01T01:00", rates=None)
    design = quote_design(
        np.ones((4, 1)), np.array([4000.0, 5000, 6000, 7000]), np.array([1.0, 1, 0, 0]), features=["seats"],
        segments=["default"],
    )  # fmt: skip
    with database.writing("default") as uow:
        window = LogWindow(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
        keep_model(uow, "gateway", fit_posterior(design), window, window.before)
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    draft = tmp_path / "draft.yaml"
    dearer = {**seats, "tariff": {"model": "unit", "unit_amount": "6000"}}
    draft.write_text(yaml.safe_dump({**book, "version": 2, "features": [dearer]}))
    assert main(["simulate", str(draft), "--demand"]) == 0
    told = capsys.readouterr().out
    assert margin in told
    assert re.search(interval, told)
    assert "seats: 5000 -> 6000" in told
    assert "warning: too few decisions for a model card" in told
