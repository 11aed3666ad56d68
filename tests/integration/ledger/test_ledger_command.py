"""`alacarte ledger`: what it prints and the status it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from api.cli.main import main
from billing import ledger
from billing.database import Database
from tests.ledger_damage import disarm
from tests.ledger_facts import NOON, TENANT, accrual


@pytest.fixture
def workspace(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    with database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", 150_000_000), accrual("b", 1)], recorded_at=NOON)
    return database


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["ledger", *arguments])
    return status, capsys.readouterr().out


def test_verify_head_and_trial_balance(workspace: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = _run(capsys, "verify", "--ledger-only")
    assert (status, printed.startswith("sound: 2 journals")) == (0, True)
    status, printed = _run(capsys, "verify")  # Posted by hand: there is no charge behind it.
    assert (status, "account unbilled/USD/acme/: stands at 150000001, should at 0" in printed) == (1, True), printed
    status, head = _run(capsys, "head")
    (tmp_path / "head.json").write_text(head)
    against = (
        "--head",
        str(tmp_path / "head.json"),
        "--key",
        str(tmp_path / "key.public.pem"),
        "--ledger-only",
        "--pages",
    )
    assert _run(capsys, "verify", *against)[0] == 0
    status, printed = _run(capsys, "trial-balance")
    assert printed.splitlines() == [
        "USD\trevenue\tcredit\t1.50000001",
        "USD\tunbilled\tdebit\t1.50000001",
        "USD\tsum\t\t0",
    ]
    assert _run(capsys, "trial-balance", "--before", "2026-03-01T12:00:00Z") == (0, "")
    assert main(["ledger", "verify", "--head", str(tmp_path / "head.json")]) == 3


def test_journals_are_json_lines(workspace: Database, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = _run(capsys, "journals", "--after", "1")
    [journal] = [json.loads(line) for line in printed.splitlines()]
    assert (status, journal["journal"], journal["key"]) == (0, 2, "b")
    assert [leg["amount"] for leg in journal["legs"]] == ["0.00000001", "-0.00000001"]


def test_damage_gives_status_1_and_names_the_row(workspace: Database, capsys: pytest.CaptureFixture[str]) -> None:
    disarm(workspace)
    with workspace.writing(TENANT) as uow:
        uow.connection.execute(text("update entry set amount = amount + 5 where journal = 2"))
    status, printed = _run(capsys, "verify")
    assert (status, printed.startswith("chain: journal 2: ")) == (1, True)
