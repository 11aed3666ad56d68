"""What was billed with a coupon is corrected with it: no credit exceeds what was due, a new cut costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.closing import reopen
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.ledger import balances
from billing.partners import accrue_shares
from billing.phases import Thresholds
from billing.previews import preview_invoices
from billing.progressive import bill_thresholds
from billing.rated_usage import Kind
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Who, billed, cancel, change_cycle, change_selection, unschedule
from billing.tax import TaxRate
from billing.verification import verify
from models.values.errors import RuleBrokenError
from models.values.period import BillingCycle, Interval
from pricing_engine.coupons import parse_coupon
from pricing_engine.proration import MidPeriod
from tests.billing_story import BOOK, NO_TAX, UTC_ZONE, Company, at, event, make

AHEAD: dict[str, Any] = {
    **BOOK,
    "features": [
        {**each, "billed": "advance"} if each["key"] in {"seats", "sso"} else each for each in BOOK["features"]
    ],
    "bundles": [],
}
SELECTION = {"seats": "31", "tokens": "1"}
EVER = {"duration": "forever"}


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def sold(
    company: Company,
    coupon: dict[str, Any],
    document: dict[str, Any] = AHEAD,
    selection: Mapping[str, str] = SELECTION,
    **agreement: Any,
) -> None:
    """Sell 31 seats from January on, with a coupon; January is billed where it is billed ahead."""
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "less", **coupon}), "USD", at("2025-12-01"))
        grant_coupon(uow, "acme", "less", at("2025-12-01"), at("2025-12-01"))
    company.subscribe("acme", company.publish(document), selection, **agreement)
    company.close("2025-12", "2026-01-01T01:00")


def to(company: Company, day: str, **selection: int) -> None:
    """Change the selection."""
    subscription = company.subscription("sub-acme")
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
    chosen = {key: Decimal(quantity) for key, quantity in {"tokens": 1, **selection}.items()}
    make(company, change_selection(subscription, book, chosen, at(day), Who(at(day))))


def of_january(company: Company) -> list[tuple[str, str, Decimal]]:
    """Close January; return what its invoice says of January itself."""
    company.close("2026-01", "2026-02-01T01:00")
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).is_sound
    lines = [line for line in company.invoices("acme")[-1].lines if line.service.start < at("2026-02-01")]
    return [(line.feature, line.kind.value, line.exact) for line in lines]


@pytest.mark.parametrize("coupon", [{"percent_off": "50", **EVER}, {"percent_off": "50"}, {"amount_off": "155"}])
def test_an_end_on_the_first_day_credits_what_was_to_be_paid(company: Company, coupon: dict[str, Any]) -> None:
    sold(company, coupon)
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-01T12:00"), Who(at("2026-01-01T12:00"))))
    assert of_january(company) == [("seats", "recurring", -310), ("seats", "coupon", 155)]
    assert sum(invoice.total_minor for invoice in company.invoices("acme")) == 0


def test_pieces_that_are_taken_back_come_to_all_that_the_coupon_took(company: Company) -> None:
    sold(company, {"percent_off": "33.3"})
    to(company, "2026-01-01T01:00", seats=20)
    assert of_january(company) == [
        ("seats", "recurring", -310),
        ("seats", "recurring", 200),
        ("seats", "coupon", Decimal("36.63")),
    ]
    late = Who(at("2026-02-10"))
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-01T02:00"), late))
    company.close("2026-02", "2026-03-01T01:00")
    rows = [line for invoice in company.invoices("acme") for line in invoice.lines if line.kind is Kind.COUPON]
    assert sum(line.exact for line in rows) == 0
    assert sum(invoice.total_minor for invoice in company.invoices("acme")) == 0


@pytest.mark.parametrize("coupon", [{"percent_off": "50", **EVER}, {"percent_off": "50"}])
def test_a_period_cut_anew_keeps_its_coupon_and_takes_no_other(company: Company, coupon: dict[str, Any]) -> None:
    sold(company, coupon)
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-10"), Who(at("2026-01-10")), at_period_end=True))
    make(company, unschedule(company.subscription("sub-acme"), at("2026-01-15"), Who(at("2026-01-15"))))
    assert of_january(company) == [("seats", "recurring", -170), ("seats", "recurring", 170)]


def test_an_upgrade_is_discounted_by_what_it_adds(company: Company) -> None:
    sold(company, {"percent_off": "50", **EVER})
    to(company, "2026-01-01T01:00", sso=1)
    assert of_january(company) == [
        ("seats", "recurring", -310), ("sso", "recurring", 620), ("sso", "coupon", -310), ("seats", "coupon", 155)
    ]  # fmt: skip


def test_what_rises_in_place_of_something_takes_its_coupon_on(company: Company) -> None:
    """The coupon was for once; of what seats had of it the part goes on to what stands in their place, and no more."""
    sold(company, {"percent_off": "50"})
    to(company, "2026-01-01T01:00", sso=1)
    assert of_january(company) == [
        ("seats", "recurring", -310), ("sso", "recurring", 620), ("sso", "coupon", -155), ("seats", "coupon", 155)
    ]  # fmt: skip
    late = Who(at("2026-02-03"))
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-01T02:00"), late))
    company.close("2026-02", "2026-03-01T01:00")
    assert sum(invoice.total_minor for invoice in company.invoices("acme")) == 0


def test_a_coupon_on_one_feature_does_not_mind_the_others(company: Company) -> None:
    sold(company, {"percent_off": "50", "features": ["sso"], **EVER})
    to(company, "2026-01-01T01:00", sso=1)
    assert of_january(company) == [
        ("seats", "recurring", -310), ("sso", "recurring", 620), ("sso", "coupon", -310)
    ]  # fmt: skip


def test_usage_that_was_none_takes_its_coupon_along(company: Company) -> None:
    """An event is cancelled after the close; its coupon is used up by then."""
    sold(company, {"percent_off": "50"}, BOOK)
    company.ingest([event(1, "acme", "2026-01-05", 1000), event(2, "acme", "2026-01-06", 1000)], "2026-01-07")
    company.close("2026-01", "2026-02-01T01:00")
    cancelled = {key: value for key, value in event(3, "acme", "2026-01-06").items() if key != "data"}
    company.ingest([cancelled | {"correctsid": "e2", "cancels": True}], "2026-02-02")
    company.close("2026-02", "2026-03-01T01:00")
    lines = [(line.feature, line.kind.value, line.exact) for line in company.invoices("acme")[1].lines]
    assert lines == [
        ("tokens", "usage", Decimal("-2.1")), ("seats", "recurring", 310), ("tokens", "coupon", Decimal("1.05"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("coupon", "totals"),
    [
        ({"percent_off": "50"}, [150, 52, 300]),
        ({"percent_off": "50", **EVER}, [150, 52, 150]),
        ({"amount_off": "3.50"}, [0, 55, 300]),
        ({"amount_off": "3.50", **EVER}, [0, 55, 0]),
        ({"amount_off": "5", "carries_rest": True}, [0, 0, 205]),
    ],
)
def test_an_invoice_at_a_threshold_takes_the_coupon_of_its_month(
    company: Company, coupon: dict[str, Any], totals: list[int]
) -> None:
    """Usage is discounted whether a threshold or the close bills it; both are one of the coupon's periods."""
    sold(company, coupon, BOOK, selection={"tokens": "1"}, thresholds=Thresholds((Decimal(2),)))
    company.ingest([event(1, "acme", "2026-01-05", 1000)], "2026-01-05T01:00")
    with company.database.writing(company.tenant) as uow:
        assert bill_thresholds(uow, "acme", at("2026-01-06"), at("2026-01-06"), NO_TAX)
    company.ingest([event(2, "acme", "2026-01-07", 500)], "2026-01-07T01:00")
    with company.database.reading(company.tenant) as uow:
        (seen,) = preview_invoices(uow, "acme", date(2026, 2, 1), at("2026-01-08"), rates=NO_TAX)
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event(3, "acme", "2026-02-07", 1000)], "2026-02-07T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    found = [invoice.total_minor for invoice in company.invoices("acme")]
    assert (found, seen.total_minor) == (totals, totals[1])
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).is_sound


@pytest.mark.parametrize("coupon", [{"percent_off": "100"}, {"amount_off": "9"}])
def test_a_coupon_over_everything_leaves_nothing(company: Company, coupon: dict[str, Any]) -> None:
    """The line is 3.105, rounded up; an invoice of minus one cent is not what a coupon is for."""
    sold(company, coupon, BOOK, selection={"tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-05", 1050)], "2026-01-05T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    (invoice,) = company.invoices("acme")
    assert (invoice.total_minor, invoice.exact, invoice.carried_out) == (0, 0, 0)


def test_a_month_that_is_closed_again_is_in_the_same_period_of_a_coupon(company: Company) -> None:
    sold(company, {"percent_off": "50"}, BOOK)
    company.close("2026-01", "2026-02-01T01:00")
    to(company, "2026-01-21", seats=62)
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-01", "more seats", "ann", at("2026-02-02"))
    company.close("2026-01", "2026-02-02T01:00")
    assert [invoice.total_minor for invoice in company.invoices("acme")] == [15500, 5500]


@pytest.mark.parametrize("coupon", [{"percent_off": "50"}, {"percent_off": "100"}])
def test_a_cycle_changed_in_a_period_billed_ahead_gives_back_what_was_to_be_paid(
    company: Company, coupon: dict[str, Any]
) -> None:
    """The anchor moves to the second: of 62 for January one day of 31 stays, at its discount."""
    sold(company, coupon, selection={"support": "1"})
    on_the_second = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 2, at("2026-01-02"))
    subscription = company.subscription("sub-acme")
    subscription = make(company, change_cycle(subscription, on_the_second, at("2026-01-01"), Who(at("2026-01-02"))))
    make(company, cancel(subscription, at("2026-01-02"), Who(at("2026-01-02"))))
    part = Decimal(coupon["percent_off"]) / 100
    assert of_january(company) == [
        ("support", "recurring", Decimal(-60)),
        ("support", "coupon", 60 * part),
    ]


def test_each_feature_gives_back_what_its_coupon_took_with_its_tax_and_its_partners_share(company: Company) -> None:
    features = [
        {"key": "seats", "name": "Seats", "kind": "quantity", "billed": "advance",
         "tariff": {"model": "unit", "unit_amount": "10"}, "partner": {"partner": "pat", "percent": "50"}},
        {"key": "support", "name": "Support", "kind": "switch", "billed": "advance",
         "tariff": {"model": "flat", "amount": "900", "tax_category": "reduced"}},
    ]  # fmt: skip

    class Rates:
        def rate(self, category: str, *_of: object) -> TaxRate:
            return TaxRate(category, Decimal(20) if category == "standard" else Decimal(5))

    company.rates = Rates()  # type: ignore[assignment]
    document = {**BOOK, "features": features, "bundles": []}
    sold(company, {"percent_off": "50"}, document, {"seats": "10", "support": "1"})
    noon = at("2026-01-01T12:00")
    make(company, cancel(company.subscription("sub-acme"), noon, Who(noon)))
    assert of_january(company) == [
        ("seats", "recurring", Decimal(-100)),
        ("support", "recurring", Decimal(-900)),
        ("seats", "coupon", Decimal(50)),
        ("support", "coupon", Decimal(450)),
    ]
    assert sum(invoice.total_minor for invoice in company.invoices("acme")) == 0
    with company.database.writing(company.tenant) as uow:
        accrue_shares(uow, at("2026-02-02"))
    with company.database.reading(company.tenant) as uow:
        standing = {account.code: units for account, units in balances(uow).items() if units}
    assert standing.keys() <= {"receivable", "customer_credit"}, standing


def test_what_falls_gives_back_no_coupon_that_was_on_something_else(company: Company) -> None:
    """The coupon was on the seats, once; single sign-on was added at its price, and is dropped again."""
    sold(company, {"percent_off": "50"}, selection={"seats": "31"})
    to(company, "2026-01-02", seats=31, sso=1)
    assert [line for line in of_january(company) if line[0] == "sso"] == [("sso", "recurring", Decimal(600))]
    subscription = company.subscription("sub-acme")
    before = subscription.phases[0].agreement.selection
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
    make(company, change_selection(subscription, book, before, at("2026-01-02"), Who(at("2026-02-03"))))
    company.close("2026-02", "2026-03-01T01:00")
    lines = [line for line in company.invoices("acme")[-1].lines if line.service.start < at("2026-02-01")]
    assert [(line.feature, line.kind, line.exact) for line in lines] == [("sso", Kind.RECURRING, Decimal(-600))]


def test_what_falls_behind_a_change_that_is_not_prorated_counts_against_what_rises(company: Company) -> None:
    """31 seats more are due in full, one day of them is given back: the coupon is on what is left, before and after."""
    sold(company, {"percent_off": "50", **EVER})

    def to_seats(day: str, seats: int, how: MidPeriod) -> None:
        subscription = company.subscription("sub-acme")
        with company.database.reading(company.tenant) as uow:
            book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
        chosen = {"tokens": Decimal(1), "seats": Decimal(seats)}
        make(company, billed(change_selection(subscription, book, chosen, at(day), Who(at(day))), how))

    to_seats("2026-01-11", 62, MidPeriod.WHOLE)
    to_seats("2026-01-31", 31, MidPeriod.PRORATED)
    assert of_january(company) == [
        ("seats", "recurring", Decimal(310)),
        ("seats", "recurring", Decimal(-10)),
        ("seats", "coupon", Decimal(-150)),
    ]


def test_what_is_taken_back_of_two_features_gives_back_the_coupon_of_each(company: Company) -> None:
    """Of the one by a correction, of the other by a change behind one that is due in full."""
    sold(company, {"percent_off": "50", **EVER}, selection={"seats": "32", "sso": "1"})
    subscription = company.subscription("sub-acme")
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(subscription.phases[0].agreement.book_hash).book
    more = {"seats": Decimal(32), "sso": Decimal(1), "tokens": Decimal(1)}
    whole = billed(change_selection(subscription, book, more, at("2026-01-02"), Who(at("2026-01-02"))), MidPeriod.WHOLE)
    make(company, whole)
    to(company, "2026-01-31", seats=1)
    lines = of_january(company)
    assert sum(amount for _, kind, amount in lines if kind == "recurring") == -30
    assert sum(amount for _, kind, amount in lines if kind == "coupon") == 15


def test_a_note_over_what_a_coupon_gave_back_leaves_that_alone_and_stops_no_close(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        define_coupon(uow, parse_coupon({"key": "half", "percent_off": "50"}), None, at("2025-12-01"))
        grant_coupon(uow, "acme", "half", at("2025-12-01"), at("2025-12-01"))
    book = company.publish(AHEAD)
    yearly = BillingCycle.calendar(Interval.YEAR, UTC_ZONE)
    subscription = company.subscribe("acme", book, {"seats": "31"}, cycle=yearly)
    company.subscribe("acme", book, {"sso": "1"}, id="second")
    company.close("2025-12", "2026-01-01T01:00")
    make(company, cancel(subscription, at("2026-01-20"), Who(at("2026-01-20"))))
    company.close("2026-01", "2026-02-01T01:00")
    invoice = company.invoices("acme")[-1]
    given_back = next(line for line in invoice.lines if line.kind is Kind.COUPON and line.net_minor > 0)
    day = at("2026-02-03")
    with company.database.writing(company.tenant) as uow:
        with pytest.raises(RuleBrokenError) as refused:
            issue_credit_note(uow, CreditRequest("c", invoice.id, "x", day.date(), {given_back.line: 1}), day)
        note = issue_credit_note(uow, CreditRequest("k", invoice.id, "wrong", day.date()), day)
    assert refused.value.code == "not_creditable"
    assert note.net_minor == invoice.net_minor
    assert given_back.line not in {line.line for line in note.lines}
    company.close("2026-02", "2026-03-01T01:00")
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).is_sound
