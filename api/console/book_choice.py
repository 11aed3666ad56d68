"""Which price book a page is about: the one its address names, or the first in force."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class BookChoice:
    """The book a page shows, and the keys of all that are in force."""

    stored: StoredBook
    keys: tuple[str, ...]


def book_choice(uow: UnitOfWork, at: datetime, key: str | None) -> BookChoice:
    """Return the book in force that is named, the first one where none is. Raises NotFoundError."""
    books = PriceBookRepository(uow).in_force(at)
    found = next((each for each in books if key in {None, each.book.key}), None)
    if found is None:
        rule = "no such price book is in force" if books else "no price book is in force"
        raise NotFoundError(rule, field="book", value=key, code="unknown_price_book")
    return BookChoice(found, tuple(each.book.key for each in books))
