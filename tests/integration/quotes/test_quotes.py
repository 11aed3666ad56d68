"""Quotes on a real database: published books, holds under concurrency, acceptance exactly once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import AlreadyPublishedError, add_sheet, archive, publish, sealed_book, sealed_sheet
from billing.quotes import (
    QuoteExpiredError,
    QuoteRequest,
    QuoteResolvedError,
    SoldOutError,
    accept_quote,
    create_quote,
    expire_quotes,
    price_request,
    release_quote,
)
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, DomainError, InvalidValueError, NotFoundError
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.verification import verify_quote
from tests.quote_facts import BOOK, SIGNER, jittered_sheet, price_book

AT = datetime(2026, 3, 1, tzinfo=UTC)
LIMITED = {
    "key": "slots",
    "name": "Slots",
    "kind": "quantity",
    "supply_limit": 10,
    "tariff": {"model": "unit", "unit_amount": "100"},
}


@pytest.fixture
def shop(database: Database) -> Database:
    """A tenant with one customer and one published book that has a limited feature."""
    with database.writing("default") as uow:
        customers = CustomerRepository(uow)
        customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
        customers.save([Customer("acme", "hq", "ACME GmbH", "DE", "USD")], AT)
        publish(uow, price_book(features=[*BOOK["features"], LIMITED]), SIGNER, AT, "ann")
    return database


def quote(shop: Database, quote_id: str, selection: dict[str, object], at: datetime = AT) -> str:
    with shop.writing("default") as uow:
        return create_quote(uow, QuoteRequest("acme", selection), SIGNER, at, quote_id).id


def test_a_stored_quote_verifies_offline(shop: Database) -> None:
    quote(shop, "q1", {"tokens": "2000000", "seats": "3"})
    with shop.reading("default") as uow:
        stored = documents_of_q1(uow)
    assert verify_quote(*stored, SIGNER.public_pem).verified


def test_a_quote_keeps_the_propensity_of_its_total_and_the_holdout_stays_on_list_prices(shop: Database) -> None:
    """A tenth of customers, always the same ones, is quoted list prices whatever the sheet says."""
    keys = [f"customer-{number}" for number in range(60)]
    with shop.writing("default") as uow:
        CustomerRepository(uow).save([Customer(key, "hq", key, "DE", "USD") for key in keys], AT)
        book = PriceBookRepository(uow).in_force(AT)[0].content_hash
        for epoch, price in ((1, "7.6"), (2, "7.7")):
            sheet = structs.replace(
                jittered_sheet(book), epoch=epoch, effective_from=AT, holdout=Decimal("0.1"),
                prices=(structs.replace(jittered_sheet(book).prices[0], price=Decimal(price)),),
            )  # fmt: skip
            add_sheet(uow, sheet, SIGNER, AT + timedelta(days=epoch))
    held_out = []
    with shop.writing("default") as uow:
        for epoch in (1, 2):
            at = AT + timedelta(days=epoch, hours=1)
            stored = [
                create_quote(uow, QuoteRequest(key, {"seats": "3"}), SIGNER, at, f"{key}-{epoch}") for key in keys
            ]
            at_list = [each for each in stored if each.sealed["sections"]["quote"]["content"]["model"] == ""]
            assert {each.total for each in at_list} == {Decimal(24)}
            assert all("quote/propensity" not in each.sealed["sections"] for each in at_list)
            held_out.append({each.customer for each in at_list})
            moved = next(each for each in stored if each.customer not in held_out[-1])
            propensity = moved.sealed["sections"]["quote/propensity"]["content"]
            assert 0 < Decimal(propensity["mass"]) <= 1
            assert Decimal(propensity["density"]) > 0
    assert held_out[0] == held_out[1]
    assert 0 < len(held_out[0]) < 20


def documents_of_q1(uow: UnitOfWork) -> tuple[Any, Any, Any]:
    found = QuoteRepository(uow).get("q1")
    books = PriceBookRepository(uow)
    book, sheet = books.get(found.book_hash), books.sheet(found.sheet_hash)
    return found.sealed, sealed_book(book, SIGNER), sealed_sheet(sheet, SIGNER)


def test_sixteen_writers_never_hold_more_than_there_is(shop: Database) -> None:
    def attempt(number: int) -> int:
        try:
            quote(shop, f"q{number}", {"slots": "2"})
        except SoldOutError:
            return 0
        return 2

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(16))) == 10


def test_expiry_and_release_free_what_was_held(shop: Database) -> None:
    quote(shop, "q1", {"slots": "6"})
    quote(shop, "q2", {"slots": "4"})
    with pytest.raises(SoldOutError):
        quote(shop, "q3", {"slots": "1"})
    with shop.writing("default") as uow:
        release_quote(uow, "q2", AT)
        assert release_quote(uow, "q2", AT).state == "released"
    with shop.writing("default") as uow:
        assert expire_quotes(uow, AT + timedelta(days=15)) == 1
    quote(shop, "q4", {"slots": "10"})


def test_a_refused_quote_leaves_nothing_behind(shop: Database) -> None:
    with pytest.raises(SoldOutError):
        quote(shop, "q1", {"slots": "11"})
    with shop.reading("default") as uow, pytest.raises(NotFoundError):
        accept_quote(uow, "q1", "k", AT)


def test_accepting_concurrently_under_one_key_has_one_effect(shop: Database) -> None:
    quote(shop, "q1", {"slots": "4"})

    def attempt(_number: int) -> bool:
        with shop.writing("default") as uow:
            return accept_quote(uow, "q1", "key", AT)[1]

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(attempt, range(16))) == [False] * 15 + [True]
    quote(shop, "q2", {"slots": "6"})
    with pytest.raises(SoldOutError):
        quote(shop, "q3", {"slots": "1"})


def test_an_expired_quote_cannot_be_accepted_nor_a_resolved_one_moved(shop: Database) -> None:
    quote(shop, "q1", {"cache": True, "tokens": "0"})
    quote(shop, "q2", {"tokens": "0"})
    with shop.writing("default") as uow, pytest.raises(QuoteExpiredError):
        accept_quote(uow, "q1", "key", AT + timedelta(days=14))
    with shop.writing("default") as uow:
        accept_quote(uow, "q1", "key", AT + timedelta(days=13))
    with shop.writing("default") as uow, pytest.raises(QuoteResolvedError):
        accept_quote(uow, "q1", "other key", AT)
    with shop.writing("default") as uow, pytest.raises(QuoteResolvedError):
        release_quote(uow, "q1", AT)
    with shop.writing("default") as uow, pytest.raises(ConflictError, match="accepted another quote"):
        accept_quote(uow, "q2", "key", AT)


def test_versions_are_immutable_and_an_earlier_one_again_is_the_rollback(shop: Database) -> None:
    first = price_book(features=[*BOOK["features"], LIMITED])
    second = price_book(features=[*BOOK["features"], LIMITED], version=4, size_discounts=[])
    with shop.writing("default") as uow, pytest.raises(AlreadyPublishedError):
        publish(uow, first, SIGNER, AT, "ann")
    with shop.writing("default") as uow, pytest.raises(AlreadyPublishedError, match="another document"):
        publish(uow, price_book(size_discounts=[]), SIGNER, AT, "ann")
    for book, version in ((second, 4), (first, 3)):
        with shop.writing("default") as uow:
            publish(uow, book, SIGNER, AT, "ann", "bob")
            assert [stored.book.version for stored in PriceBookRepository(uow).in_force(AT)] == [version]
    with shop.writing("default") as uow:
        archive(uow, "gateway", AT, "ann")
        assert PriceBookRepository(uow).in_force(AT) == []


def test_negotiated_terms_price_the_quote_and_are_hashed_into_it(shop: Database) -> None:
    term = NegotiatedTerm(
        feature="cache", reason="launch partner", approver="bob", starts_at=AT, percent=Decimal(50), below_cost=False
    )
    with shop.writing("default") as uow:
        CustomerRepository(uow).add_term("t1", "acme", term, AT)
    quote(shop, "q1", {"cache": True, "tokens": "0"})
    with shop.reading("default") as uow:
        documents = documents_of_q1(uow)
        before = price_request(
            uow, QuoteRequest("acme", {"cache": True, "tokens": "0"}), SIGNER, AT - timedelta(days=1)
        )
    line = documents[0]["sections"]["lines/cache"]["content"]
    assert line["amount"] == "4.995"
    assert line["term"]["approver"] == "bob"
    assert verify_quote(*documents, SIGNER.public_pem).verified
    assert before.quote.total == Decimal("9.99")


@pytest.mark.parametrize(
    ("request_", "error", "code"),
    [
        (QuoteRequest("nobody", {"tokens": "1"}), NotFoundError, "unknown_customer"),
        (QuoteRequest("acme", {"nothing": "1"}), NotFoundError, "unknown_feature"),
        (QuoteRequest("acme", {}), InvalidValueError, "empty_selection"),
        (QuoteRequest("acme", {"cache": True}), DomainError, "selection_refused"),
        (QuoteRequest("acme", {"tokens": "-1"}), InvalidValueError, "below_minimum"),
        (QuoteRequest("acme", {"tokens": "NaN"}), InvalidValueError, "not_a_number"),
        (QuoteRequest("acme", {"tokens": 0.1}), InvalidValueError, "float_refused"),
        (QuoteRequest("acme", {"tokens": "1" + "0" * 30}), DomainError, "number_too_large"),
        (QuoteRequest("acme", {"seats": "0"}), InvalidValueError, "below_minimum"),
        (QuoteRequest("acme", {"tokens": "1"}, currency="EUR"), InvalidValueError, "wrong_currency"),
        (QuoteRequest("acme", {"slots": "1.5"}), InvalidValueError, "invalid_value"),
    ],
)
def test_bad_requests_are_refused_with_a_code_and_leave_no_row(
    shop: Database, request_: QuoteRequest, error: type[DomainError], code: str
) -> None:
    with pytest.raises(error) as refused, shop.writing("default") as uow:
        create_quote(uow, request_, SIGNER, AT, "q1")
    assert refused.value.code == code
    with shop.reading("default") as uow, pytest.raises(NotFoundError):
        documents_of_q1(uow)
