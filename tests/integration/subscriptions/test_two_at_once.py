"""Two who change or start one subscription at the same time: one does, the other is told."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from billing.database import Database
from billing.phases import Agreement, Subscription
from billing.subscriptions import Who, change_quantity, record, start
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, MONTHLY, Company, at
from tests.two_writers import while_open


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def test_of_two_changes_at_once_one_is_refused(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1"})
    two, three = (
        change_quantity(
            subscription, parse_price_book(BOOK), "seats", Decimal(seats), at("2026-01-11"), Who(at("2026-01-11"))
        )
        for seats in (2, 3)
    )
    with pytest.raises(ConflictError) as refused:
        while_open(company.database, lambda uow: record(uow, two), lambda uow: record(uow, three))
    assert refused.value.code == "subscription_changed"
    assert company.subscription(subscription.id) == two.outcome


def starting(book: str, seats: int) -> Callable[[UnitOfWork], Subscription]:
    agreement = Agreement(book_hash=book, selection={"seats": Decimal(seats)}, cycle=MONTHLY)
    return lambda uow: start(uow, "one", "acme", "USD", agreement, at("2026-01-01"), at("2026-01-01"))


def test_two_starts_of_one_id_at_once_are_one(company: Company) -> None:
    book = company.publish()
    first, second = while_open(company.database, starting(book, 1), starting(book, 1))
    assert first == second == company.subscription("one")


def test_of_two_starts_of_one_id_that_differ_one_is_refused(company: Company) -> None:
    book = company.publish()
    with pytest.raises(ConflictError) as refused:
        while_open(company.database, starting(book, 1), starting(book, 2))
    assert refused.value.code == "subscription_exists"
