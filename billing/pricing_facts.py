"""What a price depends on besides the selection: customer, book, sheet, terms and draws, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook, StoredSheet
from billing.unit_of_work import UnitOfWork
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_sheet import draw_for, in_holdout
from pricing_engine.sealing import Signer


@dataclass(frozen=True, slots=True)
class PricingFacts:
    """Everything that prices a selection of one customer through one channel."""

    customer: Customer
    channel: str
    book: StoredBook
    sheet: StoredSheet
    draws: Mapping[str, Decimal]
    terms: Sequence[NegotiatedTerm]


class FactsReader:
    """Reads facts within one unit of work, the book of a currency and the sheet of a segment once."""

    def __init__(self, uow: UnitOfWork, signer: Signer, at: datetime) -> None:
        self._customers = CustomerRepository(uow)
        self._books = PriceBookRepository(uow)
        self._secret = signer.secret("draws")
        self._at = at
        self._book_of: dict[tuple[str, str], StoredBook] = {}
        self._sheet_of: dict[tuple[str, str], StoredSheet] = {}
        self.known: dict[tuple[str, str | None], PricingFacts] = {}

    def read(self, customer: str, channel: str | None = None) -> PricingFacts:
        """Return the facts for a customer, by default through its own channel. Raises NotFoundError."""
        known = self.known.get((customer, channel))
        if known is not None:
            return known
        buyer = self._customers.get(customer)
        through = channel or buyer.channel
        book = self._book(buyer.currency, through)
        sheet = self._sheet(book.content_hash, buyer.segment)
        if in_holdout(self._secret, sheet.sheet, buyer.key):
            sheet = self._list_sheet(book.content_hash)
        draws = {
            price.feature: draw_for(self._secret, sheet.sheet_hash, buyer.key, price.jitter)
            for price in sheet.sheet.prices
        }
        facts = PricingFacts(buyer, through, book, sheet, draws, self._customers.terms(buyer.key))
        self.known[customer, channel] = facts
        return facts

    def _book(self, currency: str, channel: str) -> StoredBook:
        if (currency, channel) not in self._book_of:
            self._book_of[currency, channel] = self._books.for_customer(currency, channel, self._at)
        return self._book_of[currency, channel]

    def _sheet(self, book_hash: str, segment: str) -> StoredSheet:
        if (book_hash, segment) not in self._sheet_of:
            self._sheet_of[book_hash, segment] = self._books.current_sheet(book_hash, segment, self._at)
        return self._sheet_of[book_hash, segment]

    def _list_sheet(self, book_hash: str) -> StoredSheet:
        if (book_hash, "") not in self._sheet_of:
            self._sheet_of[book_hash, ""] = self._books.list_sheet(book_hash)
        return self._sheet_of[book_hash, ""]
