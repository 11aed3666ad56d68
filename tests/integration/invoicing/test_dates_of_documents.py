"""An invoice is not dated before the month that it bills, nor a note before its invoice, nor either ahead of time."""

from __future__ import annotations

from datetime import date

import pytest

from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from models.values.errors import InvalidValueError
from tests.billing_story import Company, at

NOW = at("2026-02-10T12:00")


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "3"})
    return company


def credited(company: Company, issued_on: str) -> date:
    invoice = company.invoices("acme")[0]
    with company.database.writing(company.tenant) as uow:
        request = CreditRequest(issued_on, invoice.id, "x", date.fromisoformat(issued_on), {1: 100})
        return issue_credit_note(uow, request, NOW).issued_on


def test_a_note_is_dated_from_its_invoice_to_today(company: Company) -> None:
    company.close("2026-01", "2026-02-01T01:00")
    for issued_on in ("2020-01-01", "2026-01-31", "2026-02-12", "2031-01-01"):
        with pytest.raises(InvalidValueError, match="must be from 2026-02-01, when the invoice was issued") as refused:
            credited(company, issued_on)
        assert (refused.value.code, refused.value.field) == ("invalid_issued_on", "issued_on")
    for issued_on in ("2026-02-01", "2026-02-10", "2026-02-11"):  # Somewhere it is tomorrow already.
        assert credited(company, issued_on) == date.fromisoformat(issued_on)


@pytest.mark.parametrize(("issued_on", "grace_days"), [("2025-12-31", 0), ("2026-02-03", 0), ("2026-02-06", 3)])
def test_a_close_dates_no_invoice_before_its_month_or_behind_the_days_of_grace(
    company: Company, issued_on: str, grace_days: int
) -> None:
    wanted = {"issued_on": date.fromisoformat(issued_on), "grace_days": grace_days}
    with pytest.raises(InvalidValueError) as refused:
        company.close("2026-01", "2026-02-01T01:00", **wanted)
    assert (refused.value.code, refused.value.field) == ("invalid_issued_on", "issued_on")
    assert company.invoices("acme") == []


@pytest.mark.parametrize(("issued_on", "grace_days"), [("2026-01-31", 0), ("2026-02-02", 0), ("2026-02-05", 3)])
def test_a_close_dates_invoices_as_it_is_told(company: Company, issued_on: str, grace_days: int) -> None:
    company.close("2026-01", "2026-02-01T01:00", issued_on=date.fromisoformat(issued_on), grace_days=grace_days)
    assert [each.issued_on for each in company.invoices("acme")] == [date.fromisoformat(issued_on)]
