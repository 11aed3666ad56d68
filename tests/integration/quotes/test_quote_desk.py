"""Quotes sealed ahead of their transaction: it stores only what it would have sealed itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import publish
from billing.quote_desk import QuoteDesk, QuoteOrder
from billing.quotes import QuoteRequest
from billing.repositories.customers import CustomerRepository
from billing.repositories.quotes import NewQuote
from models.values.errors import NotFoundError
from pricing_engine.sealing import Disclosure
from tests.quote_facts import BOOK, SIGNER, price_book

AT = datetime(2026, 3, 1, tzinfo=UTC)
WANTED = QuoteRequest("acme", {"seats": "3"})


@pytest.fixture
def desk(database: Database) -> Iterator[QuoteDesk]:
    """A tenant with one customer and one published book, its clock standing at AT."""
    with database.writing("default") as uow:
        customers = CustomerRepository(uow)
        customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
        customers.save([Customer("acme", "hq", "ACME GmbH", "DE", "USD")], AT)
        publish(uow, price_book(), SIGNER, AT - timedelta(days=1), "ann")
    with QuoteDesk(database, SIGNER, lambda _uow: AT) as opened:
        yield opened


def shown(quote: NewQuote) -> str:
    return quote.sealed.text(Disclosure.AUDITOR).decode()


def head_of(desk: QuoteDesk, key: str, asked_at: datetime = AT, wanted: QuoteRequest = WANTED) -> dict[str, Any]:
    answer = desk.submit("default", QuoteOrder(key, "digest", wanted, asked_at, shown)).result()
    head: dict[str, Any] = json.loads(answer.text)["sections"]["quote"]["content"]
    return head


def republish(database: Database, *features: str) -> str:
    """Put a book in force that has these features only, and no bundle."""
    kept = [each for each in BOOK["features"] if each["key"] in features]
    with database.writing("default") as uow:
        book = price_book(version=4, features=kept, rules=[], bundles=[], size_discounts=[])
        return publish(uow, book, SIGNER, AT, "ann").content_hash


def test_a_quote_says_when_it_was_asked_for(desk: QuoteDesk) -> None:
    head_of(desk, "first")
    assert head_of(desk, "second", AT - timedelta(seconds=1))["created_at"] == "2026-02-28T23:59:59Z"


@pytest.mark.parametrize("away", [timedelta(seconds=-6), timedelta(seconds=1)])
def test_a_quote_asked_for_too_long_ago_or_in_the_future_is_sealed_at_the_time_it_is_stored(
    desk: QuoteDesk, away: timedelta
) -> None:
    head_of(desk, "first")
    assert head_of(desk, "second", AT + away)["created_at"] == "2026-03-01T00:00:00Z"


def test_a_quote_is_of_the_book_in_force_where_it_is_stored(desk: QuoteDesk, database: Database) -> None:
    before = head_of(desk, "first")["price_book"]
    published = republish(database, "seats")
    assert head_of(desk, "second")["price_book"] == published != before


def test_an_answered_key_is_answered_again_though_its_selection_is_refused_now(
    desk: QuoteDesk, database: Database
) -> None:
    wanted = QuoteRequest("acme", {"sso": True})
    first = head_of(desk, "first", wanted=wanted)
    republish(database, "seats")
    head_of(desk, "second")
    assert head_of(desk, "first", wanted=wanted) == first
    with pytest.raises(NotFoundError):
        head_of(desk, "third", wanted=wanted)
