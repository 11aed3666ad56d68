"""Taxes that are amounts, of a line or of an invoice: on every document, never divided, given back once and whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest

from api.schemas.invoices import explanation_document, invoice_document
from billing.books_checks import BOOKS_CHECKS
from billing.chart_of_accounts import Account
from billing.collection import CollectionMethod
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.explanation import explain_line
from billing.exports.invoice_view import credit_note_view, invoice_view
from billing.exports.register import documents, write_lines
from billing.exports.rendering import to_html
from billing.invoices import Invoice, InvoiceState
from billing.invoicing import void
from billing.ledger import balance
from billing.previews import preview_invoices
from billing.rated_usage import Kind
from billing.repositories.credit_notes import CreditNote
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.stripe.handing_over import to_collect
from billing.tax import FixedRate, LineToTax, TaxAmount
from billing.verification import verify
from models.values.errors import DomainError, InvalidValueError, RuleBrokenError
from pricing_engine.coupons import parse_coupon
from tests.billing_story import Company, at

NOW = at("2026-02-10")


class Levies(FixedRate):
    """One percent for every line, and the amounts it is told."""

    def __init__(self, percent: int, *amounts: TaxAmount) -> None:
        super().__init__("vat" if percent else "none", Decimal(percent))
        self.told = amounts
        self.asked: list[tuple[Sequence[LineToTax], str, str]] = []

    def amounts(
        self, lines: Sequence[LineToTax], currency: str, customer: Customer, seller: LegalEntity, on: date
    ) -> Sequence[TaxAmount]:
        self.asked.append((lines, currency, customer.key))
        return self.told


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "3", "sso": "1"})
    return company


def invoiced(company: Company, rates: Levies) -> Invoice:
    company.rates = rates
    company.close("2026-01", "2026-02-01T01:00")
    return company.invoices("acme")[0]


def owed(company: Company) -> dict[str, int]:
    """What is owed to the state, in minor units, by tax code."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).is_sound
        return {
            code: -balance(uow, Account("tax_payable", "USD", "", code)) // 10**6 for code in ("vat", "levy", "fee")
        }


def credit(company: Company, invoice: Invoice, key: str, net: dict[int, int] | None = None) -> CreditNote:
    with company.database.writing(company.tenant) as uow:
        return issue_credit_note(uow, CreditRequest(key, invoice.id, "less", NOW.date(), net), NOW)


def test_an_amount_of_the_invoice_stands_on_a_line_of_its_own(company: Company) -> None:
    rates = Levies(20, TaxAmount("levy", 100))
    invoice = invoiced(company, rates)
    assert (invoice.net_minor, invoice.tax_minor, invoice.total_minor) == (58500, 11800, 70300)
    tax = invoice.lines[-1]
    assert (tax.kind, tax.line, tax.net_minor, tax.tax_minor, tax.tax_code) == (Kind.TAX, 3, 0, 100, "levy")
    ((lines, currency, customer),) = rates.asked
    assert ([(each.feature, each.category, each.net_minor) for each in lines], currency, customer) == (
        [("seats", "standard", 2700), ("sso", "standard", 55800)], "USD", "acme"
    )  # fmt: skip
    assert owed(company) == {"vat": 11700, "levy": 100, "fee": 0}


def test_an_amount_of_a_line_stands_on_that_line(company: Company) -> None:
    invoice = invoiced(company, Levies(0, TaxAmount("fee", 250, line=1), TaxAmount("levy", 0)))
    assert [(line.tax_code, line.tax_minor) for line in invoice.lines] == [("fee", 250), ("none", 0)]
    assert owed(company) == {"vat": 0, "levy": 0, "fee": 250}


def test_it_is_on_every_document(company: Company) -> None:
    invoice = invoiced(company, Levies(0, TaxAmount("fee", 250, line=1), TaxAmount("levy", 100)))
    note = credit(company, invoice, "all")
    with company.database.reading(company.tenant) as uow:
        party = InvoiceRepository(uow).party(invoice.id)
        explained = explain_line(uow, invoice.id, 3)
        register = csv.DictReader(io.StringIO(b"".join(write_lines(documents(uow), "csv")).decode()))
        customer = CustomerRepository(uow).get("acme")
        rows = [(row["document"], row["kind"], row["tax_code"], row["net"], row["tax"]) for row in register]
    assert party is not None
    view = invoice_view(invoice, party)
    assert len(view["lines"]) == 2
    assert [(each["label"], each["amount"]) for each in view["sums"][1:3]] == [
        ("Tax fee", "2.50 USD"), ("Tax levy", "1.00 USD")
    ]  # fmt: skip
    assert "Tax levy" in to_html(view)
    assert len(credit_note_view(note, invoice, party)["lines"]) == 2
    assert invoice_document(invoice)["lines"][2]["tax"] == explanation_document(explained)["line"]["tax"] == "1"
    assert explained.adds_up
    assert rows == [
        ("invoice", "recurring", "fee", "27.00", "2.50"),
        ("invoice", "recurring", "none", "558.00", "0.00"),
        ("invoice", "tax", "levy", "0.00", "1.00"),
        ("credit_note", "recurring", "fee", "-27.00", "-2.50"),
        ("credit_note", "recurring", "none", "-558.00", "0.00"),
        ("credit_note", "tax", "levy", "0.00", "-1.00"),
    ]
    collected = to_collect(invoice, customer, CollectionMethod.CHARGE)
    assert [(line.line_id, line.amount_minor) for line in collected.lines] == [
        ("1", 2700), ("1.tax", 250), ("2", 55800), ("3.tax", 100)
    ]  # fmt: skip


def test_a_credit_note_never_divides_it_and_gives_it_back_once(company: Company) -> None:
    invoice = invoiced(company, Levies(0, TaxAmount("fee", 250, line=1), TaxAmount("levy", 100)))
    assert credit(company, invoice, "a", {1: 1700}).tax_minor == 0
    assert credit(company, invoice, "b", {1: 1000}).tax_minor == 250
    assert owed(company) == {"vat": 0, "levy": 100, "fee": 0}
    rest = credit(company, invoice, "c")
    assert (rest.net_minor, rest.tax_minor, rest.lines[-1].line) == (55800, 100, 3)
    assert owed(company) == {"vat": 0, "levy": 0, "fee": 0}
    assert company.invoices("acme")[0].open_minor == 0
    with pytest.raises(RuleBrokenError):
        credit(company, invoice, "d")


def test_where_a_coupon_took_off_it_goes_back_with_the_last_that_is_creditable(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "ten", "percent_off": "10"}), None, at("2026-01-01"))
        grant_coupon(uow, "acme", "ten", at("2026-01-01"), at("2026-01-01"))
    invoice = invoiced(company, Levies(20, TaxAmount("levy", 100)))
    note = credit(company, invoice, "all")
    assert (note.total_minor, owed(company)) == (invoice.total_minor, {"vat": 0, "levy": 0, "fee": 0})


def test_a_void_takes_it_back_and_the_next_invoice_bears_one_of_its_own(company: Company) -> None:
    invoice = invoiced(company, Levies(0, TaxAmount("levy", 100)))
    with company.database.writing(company.tenant) as uow:
        assert void(uow, invoice.id, "wrong", NOW).state is InvoiceState.VOID
    assert owed(company)["levy"] == 0
    company.close("2026-02", "2026-03-01T01:00")
    assert company.invoices("acme")[1].total_minor == 58500 * 2 + 100
    assert owed(company)["levy"] == 100


def test_a_preview_asks_for_it_too(company: Company) -> None:
    with company.database.reading(company.tenant) as uow:
        (seen,) = preview_invoices(
            uow, "acme", date(2026, 2, 1), at("2026-01-31"), rates=Levies(0, TaxAmount("levy", 100))
        )
    assert seen.total_minor == 58600


@pytest.mark.parametrize(
    ("percent", "tax", "code", "field"),
    [
        (0, TaxAmount("levy", 1, line=9), "unknown_invoice_line", "tax.line"),
        (20, TaxAmount("levy", 1, line=1), "taxed_already", "tax.line"),
        (0, TaxAmount("levy", -1, line=1), "invalid_value", "tax.amount_minor"),
        (0, TaxAmount("levy", -1), "invalid_value", "tax.amount_minor"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_invoiced(
    company: Company, percent: int, tax: TaxAmount, code: str, field: str
) -> None:
    with pytest.raises(DomainError) as refused:
        invoiced(company, Levies(percent, tax))
    assert (refused.value.code, refused.value.field) == (code, field)
    assert company.invoices("acme") == []


def test_an_amount_is_whole_minor_units_under_a_code() -> None:
    for code, amount in (("levy", 1.0), ("levy", Decimal(1)), ("levy", True), ("Levy!", 1), ("", 1)):
        with pytest.raises(InvalidValueError):
            TaxAmount(code, amount)  # type: ignore[arg-type]
