"""Changes in the middle of a period that are not prorated: in full at once, or from the next period on."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database
from billing.phases import Subscription
from billing.previews import preview_change
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import (
    Change,
    Who,
    billed,
    cancel,
    change_cycle,
    change_selection,
    move_to_book,
    pause,
    resume,
)
from billing.verification import verify
from models.values.errors import InvalidValueError
from models.values.period import BillingCycle, Interval
from pricing_engine.proration import MidPeriod
from tests.billing_story import BOOK, NO_TAX, UTC_ZONE, Company, at, make, repriced

AHEAD: dict[str, Any] = {
    **BOOK,
    "features": [
        {**each, "billed": "advance"} if each["key"] in {"seats", "sso"} else each for each in BOOK["features"]
    ],
    "bundles": [],
}
PRORATED, WHOLE, NEXT = MidPeriod.PRORATED, MidPeriod.WHOLE, MidPeriod.NEXT_PERIOD
Line = tuple[str, str, str, str]


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def sold(company: Company, seats: str = "31", document: dict[str, Any] = AHEAD, **agreement: Any) -> Subscription:
    """Sell seats from January on; January is over."""
    subscription = company.subscribe("acme", company.publish(document), {"seats": seats}, **agreement)
    company.close("2025-12", "2026-01-01T01:00")
    return subscription


def to(company: Company, day: str, rule: MidPeriod, **selection: int) -> Change:
    """Work out a change of the selection."""
    subscription = company.subscription("sub-acme")
    phase = subscription.phase_at(at(day))
    assert phase is not None
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(phase.agreement.book_hash).book
    chosen = {key: Decimal(quantity) for key, quantity in selection.items()}
    return billed(change_selection(subscription, book, chosen, at(day), Who(at(day))), rule)


def lines(company: Company, month: str = "2026-01") -> list[Line]:
    """Close the month; return what is billed of it: feature, quantity, exact amount, service days."""
    first = date.fromisoformat(f"{month}-01")
    after = date(first.year, first.month + 1, 1)
    company.close(month, f"{after.isoformat()}T01:00")
    found = [
        (
            line.feature,
            f"{line.quantity:f}",
            f"{line.exact.normalize():f}",
            f"{line.service.start:%d}-{line.service.end:%d}",
        )
        for line in company.invoices("acme")[-1].lines
        if line.service.start.date() < after
    ]
    with company.database.reading(company.tenant) as uow:
        assert not verify(uow, BOOKS_CHECKS).findings
    return found


def test_a_decrease_gives_nothing_back_and_counts_from_the_next_period(company: Company) -> None:
    sold(company)
    make(company, to(company, "2026-01-11", WHOLE, seats=10))
    assert lines(company) == []
    (line,) = company.invoices("acme")[-1].lines
    assert (line.exact, line.quantity, line.service.start) == (100, 10, at("2026-02-01"))
    make(company, to(company, "2026-02-11", NEXT, seats=5))
    assert lines(company, "2026-02") == []


def test_an_increase_is_due_in_full_at_once_or_from_the_next_period_on(company: Company) -> None:
    sold(company)
    make(company, to(company, "2026-01-11", WHOLE, seats=41))
    assert lines(company) == [("seats", "10", "100", "11-01")]
    make(company, to(company, "2026-02-11", NEXT, seats=50))
    assert lines(company, "2026-02") == []
    assert [line.exact for line in company.invoices("acme")[-1].lines] == [500]


def test_what_fell_and_rises_again_is_paid_for_once(company: Company) -> None:
    sold(company)
    for day, rule, seats in (("05", WHOLE, 10), ("10", WHOLE, 20), ("15", WHOLE, 40), ("20", WHOLE, 10)):
        make(company, to(company, f"2026-01-{day}", rule, seats=seats))
    assert lines(company) == [("seats", "9", "90", "15-01")]


def test_features_come_and_go_without_proration(company: Company) -> None:
    sold(company)
    make(company, to(company, "2026-01-11", WHOLE, seats=31, sso=1))
    make(company, to(company, "2026-01-21", WHOLE, seats=31))
    assert lines(company) == [("sso", "1", "620", "11-01")]


def test_a_prorated_change_after_one_that_is_not_moves_by_its_own_difference(company: Company) -> None:
    """One seat more must not give back the seats whose fall gave nothing back."""
    sold(company)
    make(company, to(company, "2026-01-11", NEXT, seats=10))
    make(company, to(company, "2026-01-21", PRORATED, seats=41, sso=1))
    make(company, to(company, "2026-01-31", PRORATED, seats=10))
    assert lines(company) == [
        ("seats", "31", "110", "21-01"),
        ("sso", "1", "220", "21-01"),
        ("seats", "-31", "-10", "31-01"),
        ("sso", "-1", "-20", "31-01"),
    ]


def test_a_prorated_change_gives_nothing_back_that_is_not_paid(company: Company) -> None:
    """More seats from the next period on; before it begins all but one go: of 32 that are paid, 31."""
    sold(company, "32")
    make(company, to(company, "2026-01-11", NEXT, seats=71))
    make(company, to(company, "2026-01-21", PRORATED, seats=60))
    make(company, to(company, "2026-01-31", PRORATED, seats=1))
    assert lines(company) == [("seats", "-31", "-10", "31-01")]


def test_what_is_billed_in_arrears_is_billed_at_its_highest_or_as_it_began(company: Company) -> None:
    sold(company, document={**BOOK, "bundles": []})
    make(company, to(company, "2026-01-11", WHOLE, seats=10))
    make(company, to(company, "2026-01-12", NEXT, seats=60))
    assert lines(company) == [("seats", "31", "310", "01-01")]


def test_an_end_without_proration_leaves_the_period_due(company: Company) -> None:
    sold(company)
    subscription = company.subscription("sub-acme")
    prorated = cancel(subscription, at("2026-01-11"), Who(at("2026-01-11")))
    with company.database.reading(company.tenant) as uow:
        seen = preview_change(uow, billed(prorated, WHOLE), date(2026, 2, 1), at("2026-01-12"), NO_TAX)
    assert seen.difference_minor == {"USD": -31000}  # February only.
    make(company, billed(prorated, WHOLE))
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    assert [invoice.total_minor for invoice in company.invoices("acme")] == [31000]
    with company.database.reading(company.tenant) as uow:
        assert not verify(uow, BOOKS_CHECKS).findings


def test_an_end_without_proration_bills_arrears_to_the_end_of_the_period(company: Company) -> None:
    sold(company, document={**BOOK, "bundles": []}, starts="2026-01-11")
    make(company, billed(cancel(company.subscription("sub-acme"), at("2026-01-21"), Who(at("2026-01-21"))), NEXT))
    assert lines(company) == [("seats", "31", "210", "11-01")]


def test_a_pause_cuts_what_was_paid_for(company: Company) -> None:
    sold(company, seats="62")
    make(company, to(company, "2026-01-11", WHOLE, seats=31))
    make(company, pause(company.subscription("sub-acme"), at("2026-01-16"), Who(at("2026-01-16"))))
    make(company, resume(company.subscription("sub-acme"), at("2026-01-26"), Who(at("2026-01-26"))))
    assert lines(company) == [("seats", "0", "-320", "16-01"), ("seats", "31", "60", "26-01")]


def test_a_trial_is_left_by_the_part_of_the_period(company: Company) -> None:
    """What was free is not counted as what stood before; 31 seats were billed ahead from the end of the trial on."""
    sold(company, trial_days=10)
    make(company, to(company, "2026-01-06", WHOLE, seats=62))
    make(company, to(company, "2026-01-21", WHOLE, seats=31))
    assert lines(company) == [("seats", "31", "210", "11-01")]


def test_another_price_book_counts_from_the_next_period(company: Company) -> None:
    sold(company)
    features = repriced("seats", {"model": "unit", "unit_amount": "20"})["features"]
    features = [{**each, "billed": "advance"} if each["key"] == "seats" else each for each in features]
    dearer = company.publish({**AHEAD, "version": 2, "features": features})
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(dearer).book
    subscription = company.subscription("sub-acme")
    moved = move_to_book(subscription, dearer, book, at("2026-01-11"), Who(at("2026-01-11")))
    make(company, billed(moved, NEXT))
    assert lines(company) == []
    assert [line.exact for line in company.invoices("acme")[-1].lines] == [620]


def test_the_next_change_is_prorated_again_unless_it_says_otherwise(company: Company) -> None:
    sold(company)
    make(company, to(company, "2026-01-11", WHOLE, seats=10))
    subscription = company.subscription("sub-acme")
    assert pause(subscription, at("2026-01-12"), Who(at("2026-01-12"))).phases[0].agreement.mid_period is PRORATED


def test_what_cuts_a_period_is_always_prorated(company: Company) -> None:
    subscription = sold(company)
    who = Who(at("2026-01-11"))
    quarterly = BillingCycle.calendar(Interval.QUARTER, UTC_ZONE)
    for change in (
        pause(subscription, who.recorded_at, who),
        change_cycle(subscription, quarterly, at("2026-01-11"), who),
    ):
        with pytest.raises(InvalidValueError) as refused:
            billed(change, WHOLE)
        assert (refused.value.code, refused.value.field) == ("always_prorated", "proration")
        assert billed(change, PRORATED) == change
