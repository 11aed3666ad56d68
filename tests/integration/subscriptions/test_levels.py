"""A level weighted by time counts by the part of the billing period in which it was there, however that is cut."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from billing.database import Database
from billing.previews import preview_invoices
from billing.progressive import reached
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Change, Who, cancel, change_quantity, move_to_book, pause, resume
from tests.billing_story import BOOK, NO_TAX, Company, at, event, make

NOW = "2026-01-30"
DAY = Fraction(1, 31)


def _book(version: int, price: str) -> dict[str, Any]:
    """Return a book of stored gigabytes, and seats, which say nothing of them."""
    meter = {"key": "stored", "event_type": "llm.request", "aggregation": "weighted_sum", "value_property": "tokens"}
    stored = {"key": "stored", "name": "Stored", "kind": "metered", "meter": "stored",
              "tariff": {"model": "unit", "unit_amount": price}}  # fmt: skip
    seats = next(each for each in BOOK["features"] if each["key"] == "seats")
    return {**BOOK, "version": version, "meters": [meter], "features": [stored, seats], "bundles": []}


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def begin(company: Company, starts: str = "2026-01-01") -> None:
    company.subscribe("acme", company.publish(_book(1, "1")), {"stored": "1", "seats": "1"}, starts)


def store(company: Company, *levels: tuple[str, int]) -> None:
    company.ingest([event(day, "acme", day, tokens) for day, tokens in levels], NOW)


def change(company: Company, work: Callable[..., Change], *more: object) -> None:
    make(company, work(company.subscription("sub-acme"), *more, Who(at(NOW))))


def billed(company: Company) -> Fraction:
    """Return what January's stored gigabytes come to."""
    company.close("2026-01", "2026-02-01T01:00")
    (invoice,) = company.invoices("acme")
    return sum((Fraction(line.exact) for line in invoice.lines if line.feature == "stored"), Fraction(0))


def nearly(amount: Fraction, wanted: Fraction) -> bool:
    """Whether they differ by no more than quotients of twelve digits do."""
    return abs(amount - wanted) < Fraction(1, 10**11)


def test_who_begins_on_the_last_day_pays_for_that_day(company: Company) -> None:
    begin(company, "2026-01-31")
    company.ingest([event(1, "acme", "2026-01-31", 310)], "2026-02-01")
    assert nearly(billed(company), Fraction(10))


def test_who_cancels_pays_for_the_days_until_then(company: Company) -> None:
    begin(company)
    store(company, ("2026-01-01", 310))
    change(company, cancel, at("2026-01-02"))
    assert nearly(billed(company), Fraction(10))


def test_a_change_of_something_else_changes_nothing(company: Company) -> None:
    begin(company)
    store(company, ("2026-01-01", 310), ("2026-01-21", -300))
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(company.subscription("sub-acme").phases[0].agreement.book_hash).book
    change(company, change_quantity, book, "seats", Decimal(2), at("2026-01-11"))
    assert nearly(billed(company), (310 * 20 + 10 * 11) * DAY)


def test_each_price_is_paid_for_the_time_in_which_it_was_in_force(company: Company) -> None:
    begin(company)
    dear = company.publish(_book(2, "3"))
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(dear).book
    change(company, move_to_book, dear, book, at("2026-01-11"))
    store(company, ("2026-01-01", 310), ("2026-01-11", 310))
    assert nearly(billed(company), (10 * 1 + 21 * 3) * 310 * DAY)


def test_a_pause_is_left_out(company: Company) -> None:
    begin(company)
    change(company, pause, at("2026-01-11"))
    change(company, resume, at("2026-01-21"))
    store(company, ("2026-01-01", 310), ("2026-01-21", 310))
    assert nearly(billed(company), 21 * 310 * DAY)


def test_a_preview_of_a_level_is_what_the_close_bills(company: Company) -> None:
    begin(company, "2026-01-16")
    store(company, ("2026-01-16", 310))
    with company.database.reading(company.tenant) as uow:
        (preview,) = preview_invoices(uow, "acme", at("2026-02-01").date(), at(NOW), rates=NO_TAX)
    expected = sum((Fraction(line.exact) for line in preview.lines if line.feature == "stored"), Fraction(0))
    assert expected == billed(company)


@pytest.mark.parametrize("live", [True, False])
def test_ten_days_into_a_month_a_level_has_cost_ten_days(company: Company, *, live: bool) -> None:
    begin(company)
    company.ingest([event(1, "acme", "2026-01-01", 310)], "2026-01-02")
    with company.database.reading(company.tenant) as uow:
        charged, _ = reached(uow, "acme", at("2026-01-11"), live=live)
    assert nearly(sum((Fraction(draft.exact) for draft in charged.drafts), Fraction(0)), Fraction(100))
