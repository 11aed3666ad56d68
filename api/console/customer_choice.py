"""Which customers a page offers to choose from, and which one it begins with."""

from __future__ import annotations

from datetime import datetime

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.unit_of_work import UnitOfWork
from pricing_engine.price_book import PriceBook

MOST = 500


def offered_customers(uow: UnitOfWork, chosen: str | None) -> list[Customer]:
    """Return the customers of a list to choose from, by key: not more than a browser shows, and the `chosen` one."""
    found = CustomerRepository(uow).page("", MOST)
    one = CustomerRepository(uow).find(chosen) if chosen else None
    return found if one is None or one in found else [*found, one]


def first_sold_to(uow: UnitOfWork, customers: list[Customer], at: datetime) -> Customer:
    """Return the first customer for whom a price book is in force, the first of all where there is none."""
    books = [each.book for each in PriceBookRepository(uow).in_force(at)]
    return next((each for each in customers if any(_is_for(book, each) for book in books)), customers[0])


def _is_for(book: PriceBook, customer: Customer) -> bool:
    return book.currency == customer.currency and book.channel in {None, customer.channel}
