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
from billing.phases import Subscription
from billing.repositories.credit_notes import CreditedLine, CreditNoteRepository
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Change, Who, billed, cancel, change_selection
from pricing_engine.catalog import PartnerShare
from pricing_engine.proration import MidPeriod
from tests.billing_story import BOOK, Company, at, event, make
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


def _supplied_seats(database: Database) -> tuple[Company, Subscription]:
    """Ten seats at 10 in advance, of which a partner earns 2 each: all of January is billed."""
    made = Company(database)
    made.found("acme")
    seats = {
        "key": "seats",
        "name": "Seats",
        "kind": "quantity",
        "billed": "advance",
        "tariff": {"model": "unit", "unit_amount": "10"},
        "partner": {"partner": "bob", "per_unit": "2"},
    }
    book = made.publish({**BOOK, "features": [*BOOK["features"][:2], seats], "bundles": []})
    subscription = made.subscribe("acme", book, {"seats": "10"}, starts="2026-02-01")
    made.close("2026-01", "2026-02-01T01:00")
    return made, subscription


def _seats(company: Company, subscription: Subscription, number: int, instant: str) -> Change:
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
    return change_selection(subscription, book, {"seats": Decimal(number)}, at(instant), Who(at(instant)))


def _billed(company: Company) -> Decimal:
    """Return what is billed and not credited, in dollars."""
    with company.database.reading(company.tenant) as uow:
        notes = [n for i in company.invoices("acme") for n in CreditNoteRepository(uow).of_invoice(i.id)]
    minor = sum(each.net_minor for each in company.invoices("acme")) - sum(each.net_minor for each in notes)
    return Decimal(minor) / 100


@pytest.mark.parametrize("change", ["seats", "cancel"])
@pytest.mark.parametrize("rule", MidPeriod)
def test_a_share_of_each_unit_is_prorated_as_its_line_is(database: Database, change: str, rule: MidPeriod) -> None:
    """By two decimals: the invoice has whole cents."""
    company, subscription = _supplied_seats(database)
    _accrue(company)
    assert _owed(company, "bob") == 20
    when = "2026-02-15T12:00"
    end = cancel(subscription, at(when), Who(at(when)))
    make(company, billed(_seats(company, subscription, 12, when) if change == "seats" else end, rule))
    if change == "seats":
        fewer = _seats(company, company.subscription(subscription.id), 3, "2026-02-21")
        make(company, fewer)
    company.close("2026-02", "2026-03-01T01:00")
    _accrue(company)
    assert abs(_owed(company, "bob") - _billed(company) / 5) < Decimal("0.01")
    assert _owed(company, "bob") != 20 or rule is not MidPeriod.PRORATED


@pytest.mark.parametrize("credited", [2_000, 10_000])
def test_a_correction_and_a_note_take_a_share_of_each_unit_back_once(database: Database, credited: int) -> None:
    company, subscription = _supplied_seats(database)
    (invoice,) = company.invoices("acme")
    with company.database.writing(company.tenant) as uow:
        request = CreditRequest("gift", invoice.id, "sorry", date(2026, 2, 4), {1: credited})
        issue_credit_note(uow, request, at("2026-02-04"))
    make(company, cancel(subscription, at("2026-02-02"), Who(at("2026-02-02"))))
    company.close("2026-02", "2026-03-01T01:00")
    _accrue(company)
    assert abs(_owed(company, "bob") - _billed(company) / 5) < Decimal("0.01")


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
    units = share_units(line, PartnerShare("bob", percent=percent), "USD", line.quantity)
    edges = [0, *sorted(cut % (net + 1) for cut in cuts), net]
    pieces = [CreditedLine(1, later - earlier, 0) for earlier, later in pairwise(edges)]
    taken = [share_taken_back(units, line, piece, pieces[:number]) for number, piece in enumerate(pieces)]
    assert sum(taken) == units
