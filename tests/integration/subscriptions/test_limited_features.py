"""Limited features: what subscriptions keep is sold to nobody else, and free again when they need it no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from billing.acceptance import accept_and_subscribe
from billing.database import Database
from billing.quotes import QuoteRequest, SoldOutError, create_quote
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Who, cancel, change_quantity, downgrade, pause, record, unschedule
from billing.upkeep import end_what_is_over
from models.values.errors import InvalidValueError
from tests.billing_story import BOOK, Company, at, make

LIMITED: dict[str, Any] = {
    **BOOK,
    "bundles": [],
    "features": [{**each, "supply_limit": 10} if each["key"] == "seats" else each for each in BOOK["features"]],
}


@pytest.fixture
def company(database: Database) -> Company:
    """Ten seats are for sale; acme has four of them."""
    company = Company(database)
    company.found("acme", "bolt")
    company.subscribe("acme", company.publish(LIMITED), {"seats": "4"})
    return company


def quoted(company: Company, seats: int, day: str = "2026-01-02") -> str:
    """Quote seats to another customer, and accept."""
    with company.database.writing(company.tenant) as uow:
        quote = create_quote(
            uow, QuoteRequest("bolt", {"seats": str(seats)}), company.signer, at(day), f"{seats} {day}"
        )
        return accept_and_subscribe(uow, quote.id, quote.id, at(day)).id


def to(company: Company, seats: str, day: str, subscription: str = "sub-acme") -> None:
    found = company.subscription(subscription)
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(found.phases[0].agreement.book_hash).book
    make(company, change_quantity(found, book, "seats", Decimal(seats), at(day), Who(at(day))))


def test_a_subscription_takes_no_more_than_is_left_however_it_comes_by_it(company: Company) -> None:
    bolt = quoted(company, 5)
    with pytest.raises(SoldOutError) as refused:
        to(company, "6", "2026-01-03")
    assert refused.value.field == "selection.seats"
    with pytest.raises(SoldOutError):
        company.subscribe("acme", company.subscription(bolt).phases[0].agreement.book_hash, {"seats": "2"}, id="more")
    to(company, "5", "2026-01-03")
    with pytest.raises(SoldOutError):
        quoted(company, 1, "2026-01-04")
    assert len(company.subscription("sub-acme").phases) == 2


def test_what_is_given_up_is_for_sale_again(company: Company) -> None:
    to(company, "1", "2026-01-03")
    bolt = quoted(company, 9)
    make(company, cancel(company.subscription(bolt), at("2026-01-05"), Who(at("2026-01-05"))))
    to(company, "10", "2026-01-06")


def test_what_ends_later_is_kept_until_then(company: Company) -> None:
    """A pause keeps everything, and so does what was scheduled and is dropped again."""
    acme = company.subscription("sub-acme")
    fewer = type(agreement := acme.phases[0].agreement)(agreement.book_hash, {"seats": Decimal(1)}, agreement.cycle)
    make(company, pause(acme, at("2026-01-03"), Who(at("2026-01-03"))))
    make(company, downgrade(company.subscription("sub-acme"), fewer, at("2026-01-04"), Who(at("2026-01-04"))))
    with pytest.raises(SoldOutError):
        quoted(company, 7)
    make(company, unschedule(company.subscription("sub-acme"), at("2026-01-05"), Who(at("2026-01-05"))))
    make(company, downgrade(company.subscription("sub-acme"), fewer, at("2026-01-06"), Who(at("2026-01-06"))))
    assert end_what_is_over(company.database, company.tenant, at("2026-01-31")).sold_units == 0
    assert end_what_is_over(company.database, company.tenant, at("2026-02-01")).sold_units == 1
    assert end_what_is_over(company.database, company.tenant, at("2026-02-01")).sold_units == 0
    quoted(company, 9, "2026-02-02")


def test_a_cancellation_at_the_end_of_the_period_frees_them_then(company: Company) -> None:
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-03"), Who(at("2026-01-03")), at_period_end=True))
    with pytest.raises(SoldOutError):
        quoted(company, 7)
    end_what_is_over(company.database, company.tenant, at("2026-02-01"))
    quoted(company, 10, "2026-02-02")


def test_a_part_of_a_unit_is_not_sold(company: Company) -> None:
    with pytest.raises(InvalidValueError) as refused:
        to(company, "4.5", "2026-01-03")
    assert refused.value.field == "selection.seats"


def test_of_changes_at_once_no_more_go_through_than_units_are_left(company: Company) -> None:
    subscriptions = [quoted(company, 1, f"2026-01-{day:02}") for day in range(2, 6)]

    def one(name: str) -> int:
        try:
            to(company, "2", "2026-01-10", name)
        except SoldOutError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, subscriptions)) == 2


def test_a_change_that_was_recorded_is_recorded_once(company: Company) -> None:
    found = company.subscription("sub-acme")
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(found.phases[0].agreement.book_hash).book
    change = change_quantity(found, book, "seats", Decimal(10), at("2026-01-03"), Who(at("2026-01-03")))
    with company.database.writing(company.tenant) as uow:
        record(uow, change)
    with pytest.raises(SoldOutError):
        quoted(company, 1, "2026-01-04")
