"""A subscription that is to begin later can be changed and given up before: what is asked for holds from its start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.cli.main import main
from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.tenant_time import TenantTime
from billing.verification import verify
from tests.billing_story import Company, at
from tests.quote_facts import SIGNER

NOW = at("2026-01-10")


@pytest.fixture
def company(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A customer whose subscription begins in February, in January."""
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    monkeypatch.setattr(TenantTime, "now", lambda *_: NOW)
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "2", "support": "1"}, starts="2026-02-01", id="s1")
    return company


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["subscription", *arguments]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def billed(company: Company) -> list[str]:
    for month, after in (("2026-01", "2026-02-01T01:00"), ("2026-02", "2026-03-01T01:00")):
        company.close(month, after)
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
    lines = [line for invoice in company.invoices("acme") for line in invoice.lines]
    return [f"{line.service.start:%m-%d} {line.feature} {line.net_minor}" for line in lines]


def test_it_is_given_up_and_nothing_is_billed(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    phase = ask(capsys, "cancel", "s1", "--reason", "changed their mind")["phases"][-1]
    assert (phase["state"], phase["starts_at"][:10]) == ("ended", "2026-02-01")
    assert billed(company) == []


def test_it_is_given_up_with_its_first_period(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    phase = ask(capsys, "cancel", "s1", "--at-period-end")["phases"][-1]
    assert (phase["state"], phase["starts_at"][:10]) == ("ended", "2026-03-01")
    assert billed(company) == ["02-01 support 6200", "02-01 seats 2000"]


def test_it_is_changed_from_its_start_on(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    [next_invoice] = ask(capsys, "quantity", "s1", "seats", "5", "--preview")["after"]
    assert next_invoice["net"] == "62", "what is billed in advance, not the seats"
    ask(capsys, "quantity", "s1", "seats", "5")
    ask(capsys, "drop", "s1", "support")
    assert billed(company) == ["02-01 seats 5000"]


def test_what_has_ended_is_not_changed(company: Company, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "cancel", "s1")
    assert main(["subscription", "quantity", "s1", "seats", "5"]) == 3
    assert "subscription_not_running" in capsys.readouterr().err
