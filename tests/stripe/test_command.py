"""`alacarte stripe` and what of `alacarte invoice` reaches Stripe, run as commands against the twin in real time."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from api.cli.main import main
from billing import ledger
from billing.database import Database
from billing.invoices import InvoiceState
from billing.posting_rules import PartnerShareAsPrincipal, journal
from billing.repositories import stripe_mirror as mirror
from tests.billing_story import Company, event
from tests.stripe.company import balance, closed_month, invoices
from tests.stripe_twin import customers
from tests.stripe_twin.clock import real_now
from tests.stripe_twin.form import Params
from tests.stripe_twin.twin import Twin

Output = pytest.CaptureFixture[str]


@pytest.fixture
def workspace(
    embedded: Database,
    real_twin: Twin,
    twin_server: tuple[list[Twin], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A closed month in a database that the commands find, a key that the twin takes."""
    closed_month(embedded, customers=2)
    for name, value in {
        "ALACARTE_DATABASE_URL": f"sqlite:///{tmp_path / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(tmp_path / "key.pem"),
        "ALACARTE_STRIPE_KEY": "sk_test_twin",
        "ALACARTE_STRIPE_BASE_ADDRESS": twin_server[1],
        "ALACARTE_STRIPE_REQUESTS_PER_SECOND": "1000",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_a_month_is_synced_and_reconciled_and_a_refund_made(
    workspace: Path, real_twin: Twin, embedded: Database, capsys: Output
) -> None:
    assert main(["stripe", "status"]) == 0
    assert "operations pending 12" in capsys.readouterr().out
    assert main(["stripe", "sync"]) == 0
    assert "failed tries 0 dead 0" in capsys.readouterr().out
    assert [invoice["status"] for invoice in real_twin.account.all("invoice")] == ["paid", "paid"]
    first, second = invoices(embedded)
    assert {first.state, second.state} == {InvoiceState.PAID}

    assert main(["invoice", "refund", str(first.number), "3.00", "--key", "r-1"]) == 0
    assert main(["stripe", "sync"]) == 0
    assert balance(embedded, "receivable", first.customer) == 300

    reconcile = ["stripe", "reconcile", "--days", "3650"]
    page, table = workspace / "page.html", workspace / "table.csv"
    assert main([*reconcile, "--html", str(page), "--csv", str(table)]) == 0
    assert "Everything agrees" in page.read_text()
    real_twin.account.objects[real_twin.account.all("invoice")[0]["id"]]["total"] += 1
    capsys.readouterr()
    assert main([*reconcile, "--repair", "--html", str(page), "--csv", str(table)]) == 1
    assert "left to a person 1" in capsys.readouterr().out
    assert [row["difference"] for row in csv.DictReader(table.read_text().splitlines())] == ["amount"]
    assert "1 difference." in page.read_text()


def test_one_invoice_is_followed_from_its_lines_to_its_money(
    workspace: Path, real_twin: Twin, embedded: Database, capsys: Output
) -> None:
    first, _ = invoices(embedded)
    assert main(["stripe", "show", str(first.number)]) == 0
    assert "closed not at Stripe" in capsys.readouterr().out
    main(["stripe", "sync"])
    capsys.readouterr()
    assert main(["stripe", "show", str(first.number), "--lines"]) == 0
    shown = capsys.readouterr().out
    total = f"{first.total_minor / 100:.2f}"
    assert f"collect {total} USD" in shown
    assert f"paid {total} USD" in shown
    assert "operation 5 pay done attempts 1 ala1:default:invoice:" in shown
    assert " payment payment:inpay_" in shown
    assert shown.count("line ") == len(first.lines)
    assert main(["stripe", "show", "INV-0"]) == 3


def test_debts_have_an_age_and_what_is_carried_over_is_none(
    workspace: Path, embedded: Database, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (due,) = {invoice.due_on for invoice in invoices(embedded)}
    days = {-14: "clear", 0: "clear", 3: "reminder", 14: "warning", 30: "suspended (blocks)"}
    for days_later, stage in days.items():
        assert main(["dunning", "--on", (due + timedelta(days=days_later)).isoformat()]) == 0
        assert capsys.readouterr().out.count(stage) >= 2
    assert main(["dunning", "--stage", "late=10", "--stage", "late=10"]) == 3
    with embedded.writing("default") as uow:
        settled = {"status": "settled", "collect_minor": 0}
        for invoice in invoices(embedded):
            carried = {"carried_out_minor": invoice.total_minor}
            mirror.change_invoice(uow, invoice.id, **settled, **carried)
    capsys.readouterr()
    assert main(["dunning"]) == 0
    assert "INV-" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        (["void", "{}", "--reason", "mistake"], []),
        (["pay", "{}", "{total}", "--key", "bank-1"], ["paid"]),
        (["write-off", "{}"], ["uncollectible"]),
    ],
)
def test_what_a_command_decides_of_an_invoice_reaches_stripe(
    workspace: Path, real_twin: Twin, embedded: Database, decision: list[str], status: list[str]
) -> None:
    first, second = invoices(embedded)
    total = f"{first.total_minor / 100:.2f}"
    words = [word.replace("{total}", total).replace("{}", str(first.number)) for word in decision]
    assert main(["invoice", *words]) == 0
    assert main(["stripe", "sync"]) == 0
    by_ref = {invoice["metadata"]["ala_ref"]: invoice for invoice in real_twin.account.all("invoice")}
    assert by_ref.pop(f"default/{second.id}")["status"] == "paid"
    assert [invoice["status"] for invoice in by_ref.values()] == status
    assert real_twin.account.charges_made == 1
    assert main(["stripe", "reconcile", "--days", "3650"]) == 0


def test_partners_are_paid_and_usage_is_mirrored(
    workspace: Path, real_twin: Twin, embedded: Database, capsys: Output
) -> None:
    partner = customers.create_connected(real_twin.account, Params({}))["id"]
    with embedded.writing("default") as uow:
        share = PartnerShareAsPrincipal("bob", "USD", "chat", 12_345_678_901)
        ledger.post(uow, [journal("share", real_now(), share)], recorded_at=real_now())
    yesterday = (real_now() - timedelta(days=1)).isoformat()
    Company(embedded).ingest([event(1, "c1", yesterday, 7)], real_now().isoformat())
    assert main(["stripe", "pay-partners", "--to", f"bob={partner}"]) == 0
    assert main(["stripe", "mirror", "--meter", "tokens=llm_tokens"]) == 0
    assert capsys.readouterr().out == "bob 123.45 USD\ntokens queued 1 too high there 0\n"
    assert main(["stripe", "sync"]) == 0
    assert [transfer["amount"] for transfer in real_twin.account.all("transfer")] == [12_345]
    assert [usage["payload"]["value"] for usage in real_twin.account.all("billing.meter_event")] == ["7"]
    for refused in (["pay-partners", "--to", "bob"], ["mirror", "--meter", "nothing=x"]):
        assert main(["stripe", *refused]) == 3


def test_without_a_key_nothing_is_written(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, real_twin: Twin
) -> None:
    monkeypatch.delenv("ALACARTE_STRIPE_KEY")
    assert main(["stripe", "sync"]) == 3
    assert "stripe_key_missing" in capsys.readouterr().err
    monkeypatch.setenv("ALACARTE_STRIPE_KEY", "sk_live_x")
    assert main(["stripe", "sync"]) == 3
    assert "live_key_refused" in capsys.readouterr().err
    assert real_twin.requests == []
