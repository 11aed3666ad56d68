"""What partners earn follows every invoice, credit note and void, once, to the last ledger unit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import ledger
from billing.chart_of_accounts import Account
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoicing import void
from billing.partners import accrue_shares, share_taken_back, share_units
from billing.repositories.credit_notes import CreditedLine
from pricing_engine.catalog import PartnerShare
from tests.billing_story import BOOK, Company, at, event
from tests.made_invoice import made_invoice

_SHARES = {
    "seats": {"partner": "bob", "percent": "12.5"},
    "tokens": {"partner": "bob", "per_unit": "0.0001"},
    "sso": {"partner": "eve", "percent": "30"},
}


def _book() -> dict[str, Any]:
    features = [
        {**feature, "partner": _SHARES[feature["key"]]} if feature["key"] in _SHARES else feature
        for feature in BOOK["features"]
    ]
    return {**BOOK, "features": features}


@pytest.fixture
def company(database: Database) -> Company:
    """January: three seats at 10, single sign-on at 620, the bundle's discount, and 12,345 tokens.

    A second customer has nothing that a partner supplies.
    """
    made = Company(database)
    made.found("acme", "zeta")
    book = made.publish(_book())
    made.subscribe("acme", book, {"seats": "3", "sso": "1", "tokens": "1"})
    made.subscribe("zeta", book, {"support": "1"})
    made.ingest([event(1, "acme", "2026-01-10", 12_345)], "2026-01-11")
    made.close("2026-01", "2026-02-02")
    return made


def _accrue(company: Company) -> int:
    with company.database.writing(company.tenant) as uow:
        return accrue_shares(uow, at("2026-02-03"))


def _owed(company: Company, partner: str) -> Decimal:
    """Return what a partner is owed, in dollars."""
    with company.database.reading(company.tenant) as uow:
        units = -ledger.balance(uow, Account("partner_payable", "USD", partner))
    return Decimal(units).scaleb(-8)


def test_shares_follow_the_lines_of_an_invoice_once(company: Company) -> None:
    (invoice,) = company.invoices("acme")
    net = {line.feature: line.net_minor for line in invoice.lines}
    assert [_accrue(company), _accrue(company)] == [1, 0]
    assert _owed(company, "eve") == Decimal(net["sso"]) * 30 / 10_000
    assert _owed(company, "bob") == Decimal(net["seats"]) * Decimal("12.5") / 10_000 + Decimal("1.2345")
    with company.database.reading(company.tenant) as uow:
        cost = ledger.balances(uow, code="share_cost")
    assert {(account.party, account.detail) for account in cost} == {
        ("bob", "seats"),
        ("bob", "tokens"),
        ("eve", "sso"),
    }


def test_credit_notes_take_shares_back_in_proportion_and_in_the_end_whole(company: Company) -> None:
    (invoice,) = company.invoices("acme")
    number = next(line.line for line in invoice.lines if line.feature == "sso")
    _accrue(company)
    for key, nets in (("first", {number: 12_345}), ("rest", None)):
        with company.database.writing(company.tenant) as uow:
            issue_credit_note(uow, CreditRequest(key, invoice.id, "sorry", date(2026, 2, 4), nets), at("2026-02-04"))
        assert _accrue(company) == 1
    assert (_owed(company, "bob"), _owed(company, "eve")) == (0, 0)


def test_a_void_takes_all_of_it_back_and_the_next_invoice_earns(company: Company) -> None:
    (invoice,) = company.invoices("acme")
    _accrue(company)
    owed = _owed(company, "bob")
    with company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "mistake", at("2026-02-05"))
    assert [_accrue(company), _accrue(company)] == [1, 0]
    assert (_owed(company, "bob"), _owed(company, "eve")) == (0, 0)
    company.close("2026-02", "2026-03-02")
    _accrue(company)
    assert _owed(company, "bob") > owed


def test_an_invoice_void_before_it_was_looked_at_earns_nothing(company: Company) -> None:
    (invoice,) = company.invoices("acme")
    with company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "mistake", at("2026-02-05"))
    _accrue(company)
    assert (_owed(company, "bob"), _owed(company, "eve")) == (0, 0)


def test_a_catalog_without_partners_posts_nothing(database: Database) -> None:
    plain = Company(database)
    plain.found("acme")
    plain.subscribe("acme", plain.publish(), {"seats": "3"})
    plain.close("2026-01", "2026-02-02")
    assert _accrue(plain) == 0


@given(
    net=st.integers(1, 10**9),
    percent=st.decimals(0, 100, places=4),
    cuts=st.lists(st.integers(0, 10**9), max_size=5),
)
def test_crediting_a_line_in_any_pieces_takes_back_exactly_its_share(
    net: int, percent: Decimal, cuts: list[int]
) -> None:
    (line,) = made_invoice(net, Decimal(0)).lines
    units = share_units(line, PartnerShare("bob", percent=percent), "USD")
    edges = [0, *sorted(cut % (net + 1) for cut in cuts), net]
    pieces = [CreditedLine(1, later - earlier, 0) for earlier, later in pairwise(edges)]
    taken = [share_taken_back(units, line, piece, pieces[:number]) for number, piece in enumerate(pieces)]
    assert sum(taken) == units
