"""Coupons, taxes, wallets and credit notes as Lago's golden suite has them (spec/scenarios/golden/matrix)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.burn_down import Grant, GrantKind
from billing.chart_of_accounts import Account
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.invoices import Invoice
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.repositories.credit_notes import CreditNote
from billing.settlements import Money, pay
from billing.stripe.refunding import refund_invoice
from billing.tax import TaxRate
from billing.verification import verify
from billing.wallets import Wallet, grant_credit, open_wallet
from models.values.errors import RuleBrokenError
from pricing_engine.coupons import parse_coupon
from tests.billing_story import Company, at, event

CENT = 10**6
MARCH, APRIL = "2024-03", "2024-04"
NOTED = at("2024-04-02T10:00")


class ByCategory:
    """A tax rate for each category."""

    def __init__(self, percents: Mapping[str, str]) -> None:
        self._percents = percents

    def rate(self, category: str, _customer: Customer, _seller: LegalEntity, _on: date) -> TaxRate:
        """Return the rate of the category."""
        return TaxRate(category, Decimal(self._percents[category]))


def sold(company: Company, features: Mapping[str, tuple[str, str]], **agreement: Any) -> None:
    """Sell features by key, each with its price and its tax category; `u...` are used, the others flat."""
    document = {
        "key": "documents", "version": 1, "currency": "EUR", "effective_from": "2020-01-01T00:00:00Z",
        "meters": [
            {"key": key, "event_type": "llm.request", "aggregation": "sum", "value_property": key}
            for key in features if key.startswith("u")
        ],
        "features": [_feature(key, price, category) for key, (price, category) in features.items()],
    }  # fmt: skip
    company.found("acme", currency="EUR")
    chosen = dict.fromkeys(features, "1")
    company.subscribe("acme", company.publish(document), chosen, "2024-03-01", currency="EUR", **agreement)


def _feature(key: str, price: str, category: str) -> dict[str, Any]:
    if key.startswith("u"):
        tariff = {"model": "unit", "unit_amount": price, "tax_category": category}
        return {"key": key, "name": key, "kind": "metered", "meter": key, "tariff": tariff}
    tariff = {"model": "flat", "amount": price, "tax_category": category}
    return {"key": key, "name": key, "kind": "switch", "tariff": tariff}


def used(company: Company, when: str, **units: int) -> None:
    company.ingest([event(when, "acme", when, 0, **units)], when)


def coupon(company: Company, **terms: Any) -> None:
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "off", **terms}), "EUR", at("2024-03-01"))
        grant_coupon(uow, "acme", "off", at("2024-03-01"), at("2024-03-01"))


def closed(company: Company, *months: str) -> list[Invoice]:
    for month in months:
        after = {MARCH: "2024-04-01T01:00", APRIL: "2024-05-01T01:00"}[month]
        company.close(month, after)
    return company.invoices("acme")


def noted(company: Company, nets: Mapping[int, int] | None = None) -> CreditNote:
    """Credit the first invoice by line, or all that is left of it."""
    request = CreditRequest(f"c{nets}", company.invoices("acme")[0].id, "other", NOTED.date(), nets)
    with company.database.writing(company.tenant) as uow:
        return issue_credit_note(uow, request, NOTED)


def paid(company: Company) -> Invoice:
    found = company.invoices("acme")[0]
    with company.database.writing(company.tenant) as uow:
        return pay(uow, found.id, Money("p", found.open_minor, NOTED), NOTED)


def credit(company: Company) -> int:
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
        return -balance(uow, Account("customer_credit", "EUR", "acme")) // CENT


@pytest.fixture
def company(database: Database) -> Company:
    return Company(database)


# What is taxed at which rate, and what a coupon leaves of it.


def sums(invoice: Invoice) -> tuple[int, int, int]:
    return invoice.net_minor, invoice.tax_minor, invoice.total_minor


def test_each_line_is_taxed_at_its_own_rate_on_what_the_coupon_left(company: Company) -> None:
    """b10/fixed_amount/once/charge: 16 off 10 + 100 + 50, then 15, 25 and 15 %."""
    company.rates = ByCategory({"plan": "15", "charge": "25"})
    sold(company, {"plan": ("10", "plan"), "u1": ("1", "charge"), "u2": ("1", "plan")})
    coupon(company, amount_off="16")
    used(company, "2024-03-05T10:00", u1=100, u2=50)
    [invoice] = closed(company, MARCH)
    assert sums(invoice) == (14_400, 3_060, 17_460)
    taxes = {
        name: sum(line.tax_minor for line in invoice.lines if line.feature == name) for name in ("plan", "u1", "u2")
    }
    assert taxes == {"plan": 135, "u1": 2_250, "u2": 675}


def test_a_percentage_leaves_each_line_in_proportion(company: Company) -> None:
    """b10/percentage/recurring/customer: 10 % off 110, taxed at 10 %."""
    company.rates = ByCategory({"all": "10"})
    sold(company, {"plan": ("10", "all"), "u1": ("1", "all")})
    coupon(company, percent_off="10", duration="periods", periods=3)
    used(company, "2024-03-05T10:00", u1=100)
    assert sums(closed(company, MARCH)[0]) == (9_900, 990, 10_890)


@pytest.mark.parametrize(
    ("rates", "second"), [(("20", "25"), (10_000, 2_400, 12_400)), (("20", "20"), (10_000, 2_000, 12_000))]
)
def test_a_coupon_for_once_is_gone_in_the_second_month(
    company: Company, rates: tuple[str, str], second: tuple[int, int, int]
) -> None:
    """b10/fixed_amount/once/billing-entity and .../customer: 40 off 20 + 80, then nothing."""
    company.rates = ByCategory({"plan": rates[0], "charge": rates[1]})
    sold(company, {"plan": ("20", "plan"), "u1": ("1", "charge")})
    coupon(company, amount_off="40")
    used(company, "2024-03-05T10:00", u1=80)
    first = closed(company, MARCH)[0]
    assert first.total_minor == {"25": 7_440, "20": 7_200}[rates[1]]
    used(company, "2024-04-05T10:00", u1=80)
    assert sums(closed(company, APRIL)[1]) == second


def test_a_coupon_lowers_a_minimum_that_was_reached_without_it(company: Company) -> None:
    """b12/in-arrears/calendar/monthly: 20 + 30 come to a minimum of 100, the coupon takes 20 of it, taxed at 20 %."""
    company.rates = ByCategory({"standard": "20"})
    sold(company, {"plan": ("20", "standard"), "u1": ("1", "standard")}, minimum_spend=Decimal(100))
    coupon(company, amount_off="20")
    used(company, "2024-03-05T10:00", u1=30)
    [invoice] = closed(company, MARCH)
    assert sums(invoice) == (8_000, 1_600, 9_600)


# What is credited, and where it goes.


@pytest.fixture
def usage(company: Company) -> Company:
    """An invoice over 30 of usage, untaxed."""
    company.rates = ByCategory({"all": "0"})
    sold(company, {"u1": ("1", "all")})
    used(company, "2024-03-05T10:00", u1=30)
    closed(company, MARCH)
    return company


@pytest.mark.parametrize("net", [3_000, 1_000])
def test_a_note_over_a_paid_invoice_is_credit(usage: Company, net: int) -> None:
    """b08/manual-full/credit/plain and b08/manual-partial/credit/plain."""
    paid(usage)
    assert noted(usage, {1: net}).total_minor == net
    assert credit(usage) == net


def test_a_note_whose_money_leaves_leaves_no_credit(usage: Company) -> None:
    """b08/manual-full/refund/plain."""
    paid(usage)
    noted(usage)
    with usage.database.writing(usage.tenant) as uow:
        refund_invoice(uow, usage.invoices("acme")[0].id, "r", 3_000, NOTED)
    assert (credit(usage), usage.invoices("acme")[0].open_minor) == (0, 0)


def test_an_invoice_that_is_not_paid_is_not_paid_back(usage: Company) -> None:
    """b08: cannot_refund_unpaid_invoice."""
    with pytest.raises(RuleBrokenError) as refused, usage.database.writing(usage.tenant) as uow:
        refund_invoice(uow, usage.invoices("acme")[0].id, "r", 3_000, NOTED)
    assert refused.value.code == "refund_above_paid"


def test_a_note_over_what_is_open_settles_it(usage: Company) -> None:
    """b09/create-mid-period/advance/offset: what is credited of an open invoice is not due any more."""
    noted(usage, {1: 500})
    assert (usage.invoices("acme")[0].open_minor, credit(usage)) == (2_500, 0)


def test_the_tax_goes_back_on_top_of_the_net(company: Company) -> None:
    """b08/manual-full/credit/with-tax: 30 of net take 6 of tax along."""
    company.rates = ByCategory({"all": "20"})
    sold(company, {"u1": ("1", "all")})
    used(company, "2024-03-05T10:00", u1=30)
    closed(company, MARCH)
    paid(company)
    note = noted(company)
    assert (note.net_minor, note.tax_minor, note.total_minor, credit(company)) == (3_000, 600, 3_600, 3_600)


def two_lines(company: Company) -> None:
    company.rates = ByCategory({"all": "0"})
    sold(company, {"plan": ("50", "all"), "u1": ("1", "all")})
    used(company, "2024-03-05T10:00", u1=100)


def test_a_note_over_all_lines_gives_back_what_the_coupon_left(company: Company) -> None:
    """b08/manual-full/credit/with-coupon: 120 of 150, not 150."""
    two_lines(company)
    coupon(company, amount_off="30")
    assert closed(company, MARCH)[0].total_minor == 12_000
    paid(company)
    assert noted(company).total_minor == 12_000
    assert credit(company) == 12_000
    assert [line.net_minor for line in company.invoices("acme")[0].lines] == [5_000, 10_000, -1_000, -2_000]


def test_a_note_over_what_a_wallet_paid_a_part_of(company: Company) -> None:
    """b08/manual-full/credit/with-prepaid-credit: of 150 the wallet paid 50, so 100 were open, and 50 are credit."""
    two_lines(company)
    with company.database.writing(company.tenant) as uow:
        open_wallet(uow, Wallet("w", "acme", "EUR"), recorded_at=at("2024-03-01"))
        units, since = 5_000 * CENT, at("2024-03-01")
        grant_credit(
            uow, Grant("g", "w", "acme", "EUR", GrantKind.PROMOTIONAL, units, since, 0, units=units), recorded_at=since
        )
    [invoice] = closed(company, MARCH)
    assert (invoice.total_minor, invoice.open_minor) == (15_000, 10_000)
    assert noted(company).total_minor == 15_000
    assert (company.invoices("acme")[0].open_minor, credit(company)) == (0, 5_000)
