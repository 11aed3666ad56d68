"""A month is charged, invoiced and locked, once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.database import Database
from billing.invoices import InvoiceState
from billing.invoicing import finalise, void
from billing.ledger import balance
from billing.repositories.closes import CloseRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Who, cancel, move_to_book
from billing.tax import FixedRate
from billing.verification import verify
from models.values.errors import RuleBrokenError
from tests.billing_story import Company, at, event, make, repriced


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme", "globex")
    return company


def test_a_month_gives_each_customer_one_numbered_invoice(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "3", "sso": "1"})
    company.subscribe("globex", book, {"tokens": "1"})
    company.ingest([event(i, "acme", "2026-01-15T10:00", 500) for i in range(3)], "2026-01-15T11:00")
    company.ingest([event("g", "globex", "2026-01-31T23:59", 7)], "2026-01-31T23:59:30")
    result = company.close("2026-01", "2026-02-01T01:00")
    assert len(result.invoices) == 2
    acme, globex = company.invoices("acme")[0], company.invoices("globex")[0]
    assert (acme.number, globex.number) == ("INV-2026-000001", "INV-2026-000002")
    # 1000 x 0.003 + 500 x 0.0021 = 4.05; (3 x 10 + 620) less the bundle's 10 percent = 585.
    assert acme.exact == Decimal("589.05")
    assert acme.total_minor == 58905
    assert globex.exact == Decimal("0.021")
    assert (globex.net_minor, globex.carried_out) == (2, Decimal("0.001"))
    assert acme.state is InvoiceState.FINALISED


def test_a_second_close_does_nothing(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    before = company.invoices("acme")
    again = company.close("2026-01", "2026-02-02")
    assert again.was_closed
    assert company.invoices("acme") == before


def test_a_month_that_is_not_over_is_not_closed(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "1"})
    with pytest.raises(RuleBrokenError, match="over everywhere") as refused:
        company.close("2026-01", "2026-01-31T23:59")
    assert refused.value.code == "close_blocked"


def test_a_tax_rate_that_nobody_knows_stops_a_close_before_it_begins(company: Company) -> None:
    """A close that found out where it drafts would have posted some customers and not others."""
    luxury = company.publish(repriced("seats", {"model": "unit", "unit_amount": "10", "tax_category": "luxury"}))
    company.subscribe("acme", luxury, {"seats": "1"})
    company.subscribe("globex", luxury, {"support": "1"})
    company.subscribe("globex", luxury, {"seats": "1"}, "2025-01-01", id="over")
    ended = cancel(company.subscription("over"), at("2025-06-01"), Who(at("2025-06-01")))
    make(company, ended)
    with pytest.raises(RuleBrokenError) as refused:
        company.close("2026-01", "2026-02-01T01:00", rates=None)
    assert (refused.value.code, refused.value.rule) == (
        "close_blocked",
        'does not pass "tax rates are known" of the checklist',
    )
    assert refused.value.value == "2026-01: acme: DE luxury"
    with company.database.reading(company.tenant) as uow:
        assert CloseRepository(uow).find("2026-01") is None
    company.close("2026-01", "2026-02-01T01:00", rates=FixedRate("vat", Decimal(23)))
    assert company.invoices("acme")[0].tax_minor == 230
    plain = company.publish(repriced("seats", {"model": "unit", "unit_amount": "10"}, 3))
    with company.database.reading(company.tenant) as uow:
        prices = PriceBookRepository(uow).get(plain).book
    moved = move_to_book(company.subscription("sub-acme"), plain, prices, at("2026-02-01"), Who(at("2026-02-01")))
    make(company, moved)
    assert not company.close("2026-02", "2026-03-01T01:00", rates=None).was_closed  # What is behind stops no month.


def test_a_month_before_one_that_was_closed_is_not_closed(company: Company) -> None:
    """What it bills in advance, the later one has billed: it would be taken back."""
    company.subscribe("acme", company.publish(), {"support": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-03", "2026-04-01T01:00")
    for month in ("2025-12", "2026-02"):
        with pytest.raises(RuleBrokenError) as refused:
            company.close(month, "2026-04-02T01:00")
        assert refused.value.code == "close_blocked"
        assert refused.value.rule == 'does not pass "no later month was closed" of the checklist'
    assert sum(each.exact for each in company.invoices("acme")) == 4 * 62
    company.close("2026-04", "2026-05-01T01:00")


def test_a_subscription_that_starts_later_makes_no_event_late(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"})
    company.subscribe("acme", book, {"seats": "1"}, starts="2026-09-01", id="next")
    company.close("2026-01", "2026-02-01T01:00")
    outcomes = company.ingest([event(day, "acme", f"2026-0{day}-10", 100) for day in (1, 2)], "2026-02-10T01:00")
    assert [each.late_for for each in outcomes] == ["2026-01/1", ""]
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-01", "a price was wrong", "ann", at("2026-02-11"))
    (on_time,) = company.ingest([event(3, "acme", "2026-01-10", 100)], "2026-02-11T01:00")
    assert on_time.late_for == ""
    company.close("2026-01", "2026-02-12T01:00")
    assert [each.exact for each in company.invoices("acme")] == [Decimal("0.6")]


def test_late_events_become_differences_that_name_what_they_correct(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-15", 900)], "2026-01-15T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event(2, "acme", "2026-01-20", 300), event(3, "acme", "2026-02-03", 10)], "2026-02-04")
    company.close("2026-02", "2026-03-01T01:00")
    january, february = company.invoices("acme")
    correction, usage = february.lines
    # The 300 late tokens: 100 still in the first tier, 200 in the second.
    assert correction.exact == Decimal("0.003") * 100 + Decimal("0.0021") * 200
    assert correction.corrects == "2026-01/1/acme/USD"
    assert correction.service.start == at("2026-01-01")
    assert correction.quantity == 300
    assert usage.exact == Decimal("0.03")
    assert january.exact + february.exact == Decimal("3") + Decimal("0.42") + Decimal("0.03")


def test_a_draft_takes_in_at_its_end_what_those_before_it_left_and_a_void_takes_that_back(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"})
    for month, following in (("01", "02"), ("02", "03")):
        company.ingest([event(month, "acme", f"2026-{month}-15", 7)], f"2026-{month}-16")
        company.close(f"2026-{month}", f"2026-{following}-01T01:00", grace_days=30)
    drafts = company.invoices("acme")
    assert [draft.carried_in for draft in drafts] == [0, 0]
    with company.database.writing(company.tenant) as uow:
        invoices = finalise(uow, [draft.id for draft in drafts], at("2026-04-01"))
        assert [each.carried_in for each in invoices] == [0, Decimal("0.001")]
        void(uow, invoices[1].id, "an error", at("2026-04-02"))
        assert InvoiceRepository(uow).remainders(["acme"]) == {("acme", "USD"): Decimal("0.001")}


def test_amounts_below_the_ledger_unit_are_carried_and_the_books_agree(company: Company) -> None:
    """Prices of 10^-12 a call, four orders below the ledger unit."""
    book = company.publish()
    company.subscribe("acme", book, {"calls": "1"})
    for month in range(1, 4):
        moment = f"2026-0{month}-15"
        company.ingest([event(f"{month}-{i}", "acme", moment) for i in range(7)], moment + "T01:00")
        company.close(f"2026-0{month}", f"2026-0{month + 1}-01T01:00")
    invoices = company.invoices("acme")
    assert [invoice.exact for invoice in invoices] == [Decimal("0.000000000007")] * 3
    assert invoices[-1].carried_in == Decimal("0.000000000014")
    assert invoices[-1].carried_out == Decimal("0.000000000021")
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("unbilled", "USD", "acme")) == 0
        assert balance(uow, Account("remainder", "USD", "acme")) == 0
        assert verify(uow).is_sound


def test_what_is_billed_in_advance_is_billed_ahead_and_repaired_by_difference(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"support": "1"}, starts="2026-01-16")
    company.close("2026-01", "2026-02-01T01:00")
    january = company.invoices("acme")[0]
    # 16 of 31 days of January, and the whole of February ahead.
    assert [(line.exact, line.service.start) for line in january.lines] == [
        (Decimal("32"), at("2026-01-16")),
        (Decimal("62"), at("2026-02-01")),
    ]
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("deferred_revenue", "USD", "acme", "support")) == -62 * 10**8


def test_the_ledger_holds_what_the_invoices_say(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "2"})
    company.ingest([event(1, "acme", "2026-01-15", 12345)], "2026-01-15T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    invoice = company.invoices("acme")[0]
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("receivable", "USD", "acme")) == invoice.total_minor * 10**6
        assert balance(uow, Account("unbilled", "USD", "acme")) == 0
        carried = balance(uow, Account("remainder", "USD", "acme"))
        assert Decimal(carried).scaleb(-8) == invoice.carried_out
        assert verify(uow).is_sound
