"""A month rated again from its files is what was invoiced, to the last digit; what is not is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from api.cli.main import main
from billing.rated_usage import Kind
from billing.repositories.invoices import InvoiceRepository
from billing.sealed_usage.rerating import Place
from models.values.errors import NotFoundError, RuleBrokenError
from models.values.quantity import EXACT
from tests.billing_story import Company
from tests.integration.sealed_usage.sealed_company import SIGNER, rerated, sealed
from tests.ledger_damage import disarm


def invoiced(company: Company, period: str) -> Decimal:
    """What the issued invoices of a month ask for usage, exact."""
    total = Decimal(0)
    with company.database.reading(company.tenant) as uow:
        for invoice in InvoiceRepository(uow).many(InvoiceRepository(uow).of_period(period)):
            for line in invoice.lines:
                if line.kind in {Kind.USAGE, Kind.COMMITMENT}:
                    total = EXACT.add(total, line.exact)
    return total


def test_rerated_usage_is_what_the_issued_invoices_ask_for(told: Company, root: Path) -> None:
    sealed(told, root)
    months = {period: rerated(told, root, period) for period in ("2026-01", "2026-02")}
    for period, found in months.items():
        assert found.is_equal, found.differences
        assert found.rerated["USD"].amount == found.billed["USD"].amount == invoiced(told, period) > 0
    assert months["2026-01"].events < months["2026-02"].events


def test_a_month_that_is_not_closed_or_not_sealed_is_refused(told: Company, root: Path) -> None:
    sealed(told, root, "2026-01")
    assert rerated(told, root, "2026-01").is_equal
    with pytest.raises(NotFoundError) as missing:
        rerated(told, root, "2026-02")
    assert missing.value.code == "usage_not_sealed"
    with pytest.raises(RuleBrokenError):
        rerated(told, root, "2026-03")


@pytest.fixture
def workspace(told_url: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", told_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setenv("ALACARTE_SEALED_USAGE", str(root))


@pytest.mark.usefixtures("workspace")
def test_by_command(told: Company, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, list[str]]:
        status = main(["usage", *arguments])
        return status, capsys.readouterr().out.splitlines()

    assert run("rerate", "--period", "2026-01") == (3, [])
    status, lines = run("seal", "--period", "2026-01")
    assert (status, [line.split(",")[0] for line in lines]) == (0, ["2026-01/1 sealed: 25 events in 5 files"])
    assert run("seal")[1][0].startswith("2026-01/1 was sealed before: 25 events")
    assert run("check") == (0, ["sound: 2 seals, 7 files, 37 events"])
    status, lines = run("rerate")
    assert (status, lines[-1]) == (0, "2026-02: equal; 4 customers, 36 sealed events")
    path = sorted(root.rglob("*.parquet"))[0]
    path.write_bytes(path.read_bytes() + b" ")
    assert run("check", "--period", "2026-01") == (1, [f"{path}: is not the file that was sealed"])
    assert run("live", "acme")[0] == 0
    assert run("live", "stranger")[0] == 3


@pytest.mark.usefixtures("workspace")
def test_the_files_decide_and_a_difference_is_listed_by_customer_and_meter(
    told: Company, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs last: it breaks the database, as someone with the owner's password could."""
    sealed(told, root)
    disarm(told.database)
    with told.database.engine.begin() as connection:
        if not told.database.is_sqlite:
            connection.execute(text("alter table usage_event disable trigger all"))
            connection.execute(text("alter table rated_usage disable trigger all"))
        connection.execute(text("delete from usage_event where customer = 'seoul'"))
        connection.execute(
            text("update rated_usage set amount = '7', quantity = '1' where feature = 'tokens' and charge = :charge"),
            {"charge": "2026-02/1/globex/USD"},
        )
    assert rerated(told, root, "2026-01").is_equal  # Seoul's events are in the files.
    found = rerated(told, root, "2026-02")
    [difference] = found.differences
    assert difference.place == Place("globex", "USD", "tokens", "tokens")
    assert (difference.billed.amount, difference.rerated.amount > 7) == (Decimal(7), True)
    assert main(["usage", "rerate", "--period", "2026-02"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("globex\ttokens (tokens)\tbilled 1 units, 7 USD\trerated ")
    assert printed[-1].startswith("2026-02: 1 differences; ")
