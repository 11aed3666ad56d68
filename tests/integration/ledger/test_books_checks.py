"""What verification says of charges, invoices and events: nothing of sound books, the row of damaged ones."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import text

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.settlements import Money, pay
from billing.subscriptions import Who, change_quantity, record
from billing.tax import FixedRate
from billing.verification import Finding, verify
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, Company, at, event
from tests.ledger_damage import disarm

EVERY = (*CHECKS, *BOOKS_CHECKS)


@pytest.fixture
def company(database: Database) -> Company:
    """Two months closed: usage, a late event, something billed ahead, a payment, events that cannot be billed."""
    company = Company(database, rates=FixedRate("vat", Decimal(20)))
    company.found("acme", "globex")
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "3", "support": "1"})
    company.subscribe("globex", book, {"calls": "1"})
    company.ingest([event(1, "acme", "2026-01-15", 1234), event(2, "globex", "2026-01-15")], "2026-01-15T01:00")
    company.ingest([event(3, "nobody", "2026-01-15")], "2026-01-15T01:00")
    company.ingest([{**event(4, "acme", "2026-01-15"), "type": "unheard.of"}], "2026-01-15T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event(5, "acme", "2026-01-20", 7)], "2026-02-03")
    with database.writing(company.tenant) as uow:
        pay(uow, company.invoices("acme")[0].id, Money("p", 500, at("2026-02-04")), at("2026-02-04"))
    company.close("2026-02", "2026-03-01T01:00")
    company.ingest([event(6, "acme", "2026-02-20", 9)], "2026-03-03")
    return company


def findings(company: Company, statement: str | None = None) -> list[Finding]:
    """Verify after a statement, which is rolled back."""
    with company.database.writing(company.tenant) as uow:
        if statement is not None:
            unbound = "pragma defer_foreign_keys = on" if uow.is_sqlite else "set session_replication_role = replica"
            uow.connection.exec_driver_sql(unbound)
            uow.connection.execute(text(statement))
        found = list(verify(uow, EVERY).findings)
        uow.connection.rollback()
    return found


def test_sound_books_are_sound(company: Company) -> None:
    assert findings(company) == []


def test_a_change_that_no_close_has_seen_is_no_finding(company: Company) -> None:
    change = change_quantity(
        company.subscription("sub-acme"),
        parse_price_book(BOOK),
        "seats",
        Decimal(9),
        at("2026-01-10"),
        Who(at("2026-03-05")),
    )
    with company.database.writing(company.tenant) as uow:
        record(uow, change)
    assert findings(company) == []


DAMAGE = (
    ("update charge set exact = '1' where id = '2026-01/1/acme/USD'", "charges", "charge 2026-01/1/acme/USD"),
    ("update charge set units = units + 1 where id = '2026-01/1/acme/USD'", "charges", "carried_amount acme/USD"),
    ("update invoice set exact = '1' where number = 'INV-2026-000001'", "invoices", "invoice INV-2026-000001"),
    ("update invoice_line set net_minor = net_minor + 1 where line = 1", "invoices", "invoice INV-2026-000001"),
    ("delete from invoice_line_source where line = 2", "invoices", "rated_usage 2026-01/1/acme/USD#1"),
    ("update invoice set carried_out = '1' where number = 'INV-2026-000002'", "remainders",
     "invoice INV-2026-000002"),
    ("update carried_remainder set exact = '1' where customer = 'globex'", "remainders",
     "carried_remainder globex/USD"),
    ("update invoice set settled_minor = settled_minor + 1 where number = 'INV-2026-000001'", "receivables",
     "invoice INV-2026-000001"),
    ("delete from settlement", "receivables", "invoice INV-2026-000001"),
    ("update rated_usage set in_advance = false where charge = '2026-02/1/acme/USD'", "deferred",
     "account deferred_revenue/USD/acme/support"),
    ("delete from usage_unmatched where reason = 'unknown_customer'", "events", "event test e3"),
    ("delete from usage_unmatched where reason = 'unknown_event_type'", "events", "event test e4"),
    ("delete from usage_late where event_id = 'e6'", "events", "event test e6"),
    ("update usage_total set event_count = event_count + 1 where customer = 'globex'", "totals", ""),
    ("update usage_event set data = '{\"tokens\"\\:1235}' where event_id = 'e1'", "usage", "customer acme"),
    ("delete from usage_event where event_id = 'e1'", "usage", "customer acme"),
    ("update rated_usage set amount = '0' where feature = 'seats'", "charges", "charge 2026-01/1/acme/USD"),
)  # fmt: skip


def test_what_is_wrong_is_named(company: Company) -> None:
    """Each damage by itself; the check that says so and the first row it names."""
    disarm(company.database)
    for statement, check, row in DAMAGE:
        found = findings(company, statement)
        named = [each.row for each in found if each.check == check]
        assert any(each == row or (not row and each) for each in named), (statement, found)


@pytest.mark.parametrize(
    ("data", "problem"), [("0", "is billed beyond what is due"), ("999999", "is not billed")]
)  # fmt: skip
def test_what_is_billed_too_much_or_too_little_is_said_without_a_sign(
    company: Company, data: str, problem: str
) -> None:
    disarm(company.database)
    statement = f"update usage_event set data = '{{\"tokens\"\\:{data}}}' where event_id = 'e1'"  # noqa: S608
    [said] = [each.problem for each in findings(company, statement) if each.check == "usage"]
    amount = said.partition(": ")[2].partition(" ")[0]
    assert said.endswith(problem)
    assert Decimal(amount) > 0
