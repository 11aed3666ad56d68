"""What leaves the house: explanations down to events, the register, HTML and PDF."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pypdf
import pytest

from api.cli.main import main
from billing.audit import entries
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.explanation import events_behind, explain_line
from billing.exports.invoice_view import credit_note_view, invoice_view
from billing.exports.journal import write_journal
from billing.exports.register import documents, write_headers, write_lines
from billing.exports.rendering import to_html, to_pdf
from billing.invoicing import void
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.tax import BuiltInRates
from models.values.errors import InvalidValueError, NotFoundError
from tests.billing_story import BOOK, Company, at, event

HANGUL, HAN = "주식회사 뷁", "株式会社 山田商店 优先"


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database, rates=BuiltInRates())
    korean = {"address": "서울특별시 강남구 1\n06234", "language": "ko", "zone": "Asia/Seoul", "country": "KR"}
    company.found("acme", legal_name=f"=cmd {HANGUL}", **korean)
    company.found("globex", legal_name=HAN, language="ja")
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "2"})
    company.subscribe("globex", book, {"calls": "1"})
    company.ingest([event(i, "acme", f"2026-01-{i + 1:02d}", 600) for i in range(3)], "2026-01-10")
    company.ingest([event("g", "globex", "2026-01-10", 1)], "2026-01-11")
    company.close("2026-01", "2026-02-01T01:00")
    return company


def test_a_line_leads_to_its_price_and_its_events(company: Company) -> None:
    company.ingest([event("late", "acme", "2026-01-20", 100)], "2026-02-02")
    company.close("2026-02", "2026-03-01T01:00")
    january, february = company.invoices("acme")
    with company.database.reading(company.tenant) as uow:
        explained = explain_line(uow, january.number or "", 1)
        (usage,) = explained.usages
        events = list(events_behind(uow, "acme", usage))
        corrected = explain_line(uow, february.id, 1).usages[0]
        marked = [(each.event_id, each.is_late) for each in events_behind(uow, "acme", corrected)]
        with pytest.raises(NotFoundError) as refused:
            explain_line(uow, january.id, 9)
    assert explained.adds_up
    assert [(each.event_id, each.read) for each in events] == [("e0", "600"), ("e1", "600"), ("e2", "600")]
    assert (usage.book_key, usage.book_version, usage.tariff["model"]) == ("gateway", 1, "graduated")
    assert usage.row.amount == Decimal("3") + Decimal("0.0021") * 800
    assert marked == [("e0", False), ("e1", False), ("e2", False), ("elate", True)]
    assert refused.value.code == "unknown_invoice_line"


def test_the_register_has_every_document_and_the_same_bytes_again(company: Company) -> None:
    acme, globex = company.invoices("acme")[0], company.invoices("globex")[0]
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k", acme.id, "goodwill", date(2026, 2, 3), {2: 500}), at("2026-02-03"))
        void(uow, globex.id, "wrong customer", at("2026-02-04"))
    with company.database.reading(company.tenant) as uow:
        first = b"".join(write_headers(documents(uow), "csv"))
        again = b"".join(write_headers(documents(uow), "csv"))
        lines = [json.loads(line) for line in b"".join(write_lines(documents(uow), "jsonl")).splitlines()]
        rows = list(csv.DictReader(io.StringIO(first.decode())))
        later = list(documents(uow, since=2))
        january = list(documents(uow, period="2026-01"))
        with pytest.raises(InvalidValueError):
            write_headers(documents(uow), "xlsx")
    assert first == again
    assert [row["document"] for row in rows] == ["invoice", "invoice", "credit_note", "void"]
    assert [document.cursor for document in later] == [3, 4]
    assert [document.header["document"] for document in january] == ["invoice", "invoice", "void"]
    assert rows[2]["refers_to"] == rows[0]["invoice_number"] == "INV-2026-000001"
    assert Decimal(rows[2]["net"]) == Decimal("-5.00")
    by_document = {row["cursor"]: row for row in rows}
    for cursor, row in by_document.items():
        own = [line for line in lines if line["cursor"] == cursor]
        assert sum(Decimal(line["net"]) for line in own) == Decimal(row["net"])
        assert sum(Decimal(line["tax"]) for line in own) == Decimal(row["tax"])
        assert sum(Decimal(line["exact_amount"]) for line in own) == Decimal(row["exact_amount"])
        left = Decimal(row["net"]) + Decimal(row["carried_out"])
        assert Decimal(row["exact_amount"]) + Decimal(row["carried_in"]) == left
    assert sum(Decimal(row["total"]) for row in rows if row["customer"] == "globex") == 0


def test_the_journal_balances_and_goes_on_from_a_cursor(company: Company) -> None:
    with company.database.reading(company.tenant) as uow:
        rows = list(csv.DictReader(io.StringIO(b"".join(write_journal(uow, "csv")).decode())))
        numbers = sorted({int(row["journal"]) for row in rows})
        later = [json.loads(line) for line in b"".join(write_journal(uow, "jsonl", numbers[0])).splitlines()]
        with pytest.raises(InvalidValueError):
            list(write_journal(uow, "xlsx"))
    for number in numbers:
        legs = [row for row in rows if row["journal"] == str(number)]
        debit, credit = (sum(Decimal(row[side] or 0) for row in legs) for side in ("debit", "credit"))
        assert debit == credit > 0
    assert {int(row["journal"]) for row in later} == set(numbers[1:])


def test_pages_print_hangul_kana_and_han_from_the_embedded_font(company: Company) -> None:
    with company.database.reading(company.tenant) as uow:
        repository = InvoiceRepository(uow)
        views = [
            invoice_view(invoice, repository.party(invoice.id) or {})
            for invoice in (company.invoices("acme")[0], company.invoices("globex")[0])
        ]
    for view, name in zip(views, (HANGUL, HAN), strict=True):
        pdf = to_pdf(view)
        assert pdf == to_pdf(view)
        reader = pypdf.PdfReader(io.BytesIO(pdf))
        page = reader.pages[0]
        assert name.replace(" ", "") in page.extract_text().replace(" ", "").replace("\n", "")
        fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]  # type: ignore[index]
        descendants = [font["/DescendantFonts"][0].get_object() for font in fonts]
        assert descendants
        assert all("/FontFile3" in each["/FontDescriptor"].get_object() for each in descendants)
        assert any("NotoSansCJK" in str(font["/BaseFont"]) for font in fonts)
        assert name in to_html(view)


def test_html_shows_names_as_text(company: Company) -> None:
    with company.database.reading(company.tenant) as uow:
        invoice = company.invoices("acme")[0]
        party = InvoiceRepository(uow).party(invoice.id) or {}
    party["buyer"]["legal_name"] = "<script>alert(1)</script>"
    assert "<script>" not in to_html(invoice_view(invoice, party))


def test_a_credit_note_prints_what_it_refers_to(company: Company) -> None:
    invoice = company.invoices("acme")[0]
    with company.database.writing(company.tenant) as uow:
        note = issue_credit_note(uow, CreditRequest("k", invoice.id, "goodwill", date(2026, 2, 3)), at("2026-02-03"))
        assert CreditNoteRepository(uow).get(note.number) == note
        party = InvoiceRepository(uow).party(invoice.id) or {}
        page = to_html(credit_note_view(note, invoice, party))
    assert invoice.number in page
    assert note.number in page
    assert "goodwill" in page


def test_a_credit_note_keeps_its_form_whatever_is_said_in_it(company: Company) -> None:
    """A long reason beside the title once left that one letter wide; a long name ran over the edge of the page."""
    invoice = company.invoices("acme")[0]
    reason, name = (
        "장애로 인한 서비스 중단 보상 " * 25,
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamte",
    )
    with company.database.writing(company.tenant) as uow:
        note = issue_credit_note(uow, CreditRequest("k", invoice.id, reason, date(2026, 2, 3)), at("2026-02-03"))
        party = InvoiceRepository(uow).party(invoice.id) or {}
    party["buyer"]["legal_name"] = name
    page = pypdf.PdfReader(io.BytesIO(to_pdf(credit_note_view(note, invoice, party)))).pages[0]
    lines = page.extract_text().splitlines()
    assert lines[0].strip() == "대변표"
    assert not any(name in line for line in lines)
    assert name in "".join(lines).replace("\u200b", "")
    printed = "".join(lines)
    assert "대변표 번호" in printed
    assert "청구서 번호" not in printed, "its own number is not an invoice's"
    assert "단가" not in printed, "a column of nothing"


@pytest.fixture
def run(
    company: Company, database_url: str, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, bytes]]:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALACARTE_TENANT", company.tenant)

    def command(*arguments: str) -> tuple[int, bytes]:
        capfdbinary.readouterr()
        status = main(arguments)
        return status, capfdbinary.readouterr().out

    return command


def test_the_command_line_explains_exports_and_prints(run: Callable[..., tuple[int, bytes]], tmp_path: Path) -> None:
    status, shown = run("explain", "INV-2026-000001", "--line", "1", "--events", "2")
    assert status == 0
    assert b"test e0" in shown
    assert b"and 1 more of 3 events" in shown
    assert run("explain", "INV-2026-000009")[0] == 3
    status, headers = run("export", "invoices", "--period", "2026-01")
    assert run("export", "invoices", "--period", "2026-01", "--out", str(tmp_path))[0] == 0
    assert (tmp_path / "invoices.csv").read_bytes() == headers
    assert run("export", "invoices", "--since", "2", "--format", "jsonl") == (0, b"")
    assert run("invoice", "pdf", "--period", "2026-01", "--out", str(tmp_path))[0] == 0
    assert (tmp_path / "INV-2026-000001.pdf").read_bytes().startswith(b"%PDF")
    assert run("invoice", "credit", "INV-2026-000001", "--reason", "x", "--line", "2=1.005")[0] == 3
    assert run("invoice", "credit", "INV-2026-000001", "--reason", "x", "--line", "2=1.00")[0] == 0
    assert run("invoice", "pay", "INV-2026-000001", "1", "--key", "p1")[0] == 0
    assert b"nothing done" in run("close", "2026-01")[1]


def test_what_is_owed_and_stands_to_credit_is_printed(run: Callable[..., tuple[int, bytes]]) -> None:
    status, owed = run("customers", "balances")
    assert status == 0
    customer, asset, is_open, credit = owed.decode().splitlines()[0].split("\t")
    assert (asset, credit) == ("USD", "credit 0")
    amount = is_open.removeprefix("open ")
    assert run("invoice", "pay", "INV-2026-000001", amount, "--key", "p1")[0] == 0
    assert run("invoice", "pay", "INV-2026-000001", "2.50", "--key", "p2")[0] == 0
    assert run("customers", "balances", customer) == (0, f"{customer}\tUSD\topen 0\tcredit 2.5\n".encode())
    assert run("customers", "balances", "nobody")[0] == 3


@pytest.mark.parametrize("key", ["k" * 121, "k\x00", ""])
def test_a_key_that_no_door_takes_is_refused_by_command_too(run: Callable[..., tuple[int, bytes]], key: str) -> None:
    for act in (["pay", "INV-2026-000001", "1"], ["refund", "INV-2026-000001", "1"]):
        assert run("invoice", *act, "--key", key)[0] == 3
    if key:  # Without one it is one note an invoice.
        assert run("invoice", "credit", "INV-2026-000001", "--reason", "x", "--key", key)[0] == 3


def test_what_is_published_and_closed_by_command_is_in_the_audit_trail(
    company: Company, run: Callable[..., tuple[int, bytes]], tmp_path: Path
) -> None:
    book = tmp_path / "book.json"
    book.write_text(json.dumps({**BOOK, "version": 2}))
    assert run("catalog", "publish", str(book), "--actor", "ann")[0] == 0
    assert run("catalog", "archive", BOOK["key"], "--actor", "ann")[0] == 0
    assert run("close", "2026-01", "--reopen", "usage came late")[0] == 0
    assert run("close", "2026-01")[0] == 0
    with company.database.reading(company.tenant) as uow:
        kept = [(each.actor, each.action) for each in entries(uow)]
    assert sorted(kept) == [
        ("ann", "price_book.archive"),
        ("ann", "price_book.publish"),
        ("cli", "month.close"),
        ("cli", "month.reopen"),
    ]
