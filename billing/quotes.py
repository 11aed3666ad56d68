"""Quotes at work: priced and sealed, held until they expire, accepted exactly once or released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook, StoredSheet
from billing.repositories.quotes import QuoteRepository, StoredQuote
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import quote_accepted
from billing.webhooks.events import announce
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import check_external_id
from pricing_engine.catalog import Chosen, selection_of
from pricing_engine.negotiated_terms import terms_in_force
from pricing_engine.price_sheet import draw_for, in_holdout
from pricing_engine.propensity import total_propensity
from pricing_engine.quote_document import QUOTE_KIND, QuoteIdentity, quote_sections
from pricing_engine.quoting import PricedQuote, QuoteFacts, QuoteHead, price_quote
from pricing_engine.sealing import Signer, seal

DEFAULT_HOLD = timedelta(days=14)
LONGEST_HOLD = timedelta(days=366)


class QuoteExpiredError(RuleBrokenError):
    """The quote's time is over; ask for a new one."""

    code = "quote_expired"


class QuoteResolvedError(ConflictError):
    """The quote was accepted or released before."""

    code = "quote_resolved"


class SoldOutError(RuleBrokenError):
    """Fewer units of a limited feature are left than were asked for."""

    code = "sold_out"


@dataclass(frozen=True, slots=True)
class QuoteRequest:
    """What a checkout asks: who, what, when. `selection` is {feature: quantity} as received."""

    customer: str
    selection: Mapping[str, Any]
    currency: str | None = None
    channel: str | None = None
    hold_for: timedelta = DEFAULT_HOLD


@dataclass(frozen=True, slots=True)
class Priced:
    """A priced request with everything it was priced from."""

    customer: Customer
    channel: str
    book: StoredBook
    sheet: StoredSheet
    selection: Mapping[str, Chosen]
    quote: PricedQuote


def price_request(uow: UnitOfWork, request: QuoteRequest, signer: Signer, at: datetime) -> Priced:
    """Price a request without storing or signing anything: the preview.

    Raises NotFoundError, InvalidValueError, SelectionRefusedError.
    """
    customer = CustomerRepository(uow).get(request.customer)
    if request.currency is not None and request.currency != customer.currency:
        raise InvalidValueError(
            f"the customer is billed in {customer.currency}",
            field="currency",
            value=request.currency,
            code="wrong_currency",
        )
    channel = request.channel or customer.channel
    books = PriceBookRepository(uow)
    book = books.for_customer(customer.currency, channel, at)
    sheet = books.current_sheet(book.content_hash, customer.segment, at)
    secret = signer.secret("draws")
    if in_holdout(secret, sheet.sheet, customer.key):
        sheet = books.list_sheet(book.content_hash)
    selection = selection_of(request.selection, book.book)
    draws: dict[str, Decimal] = {
        price.feature: draw_for(secret, sheet.sheet_hash, customer.key, price.jitter) for price in sheet.sheet.prices
    }
    terms = terms_in_force(CustomerRepository(uow).terms(customer.key), at)
    quote = price_quote(book.compiled, QuoteFacts(sheet.sheet, selection, draws, terms))
    return Priced(customer, channel, book, sheet, selection, quote)


def create_quote(uow: UnitOfWork, request: QuoteRequest, signer: Signer, at: datetime, quote_id: str) -> StoredQuote:
    """Price, seal, hold and store a quote. The same facts at the same time give the same document.

    Raises what `price_request` raises, and SoldOutError.
    """
    if not timedelta(0) < request.hold_for <= LONGEST_HOLD:
        raise InvalidValueError(f"must be positive, at most {LONGEST_HOLD}", field="hold_for", value=request.hold_for)
    priced = price_request(uow, request, signer, at)
    expires_at = at + request.hold_for
    head = QuoteHead(
        id=quote_id,
        tenant=uow.tenant,
        customer=priced.customer.key,
        segment=priced.customer.segment,
        channel=priced.channel,
        created_at=at,
        expires_at=expires_at,
    )
    sheet = priced.sheet.sheet
    identity = QuoteIdentity(
        head, priced.book.content_hash, priced.sheet.sheet_hash, sheet.model_hash, priced.book.book.money
    )
    propensity = total_propensity(priced.quote, sheet)
    salt = signer.salt_for(QUOTE_KIND, {"id": quote_id, "tenant": uow.tenant})
    stored = StoredQuote(
        id=quote_id,
        customer=priced.customer.key,
        book_hash=priced.book.content_hash,
        sheet_hash=priced.sheet.sheet_hash,
        currency=priced.book.book.currency,
        total=priced.quote.total,
        sealed=seal(QUOTE_KIND, quote_sections(identity, priced.quote, propensity), salt, signer),
        state="open",
        created_at=at,
        expires_at=expires_at,
    )
    quotes = QuoteRepository(uow)
    quotes.add(stored)
    _hold_units(quotes, stored.id, priced)
    return stored


def _hold_units(quotes: QuoteRepository, quote_id: str, priced: Priced) -> None:
    """Hold what is limited, features in one order so that concurrent quotes cannot deadlock."""
    for key in sorted(priced.selection):
        if priced.book.book.feature(key).supply_limit is None:
            continue
        quantity = priced.selection[key].quantity
        if quantity != int(quantity):
            raise InvalidValueError(
                "a limited feature is sold in whole units", field=f"selection.{key}", value=quantity
            )
        if not quotes.hold(quote_id, key, int(quantity)):
            raise SoldOutError("fewer units are left", field=f"selection.{key}", value=quantity)


def accept_quote(uow: UnitOfWork, quote_id: str, accept_key: str, at: datetime) -> tuple[StoredQuote, bool]:
    """Accept a quote exactly once. Returns it, and whether this call did it.

    The same key again returns the accepted quote unchanged. Raises QuoteExpiredError, QuoteResolvedError.
    """
    check_external_id(accept_key, "accept_key")
    quotes = QuoteRepository(uow)
    quote = quotes.get(quote_id)
    other = quotes.accepted_with(accept_key)
    if other not in {None, quote_id}:
        raise ConflictError(
            "key accepted another quote", field="accept_key", value=accept_key, code="accept_key_reused"
        )
    if quote.state == "open" and at >= quote.expires_at:
        raise QuoteExpiredError("has expired; ask for a new quote", field="quote", value=quote_id)
    if quotes.resolve(quote_id, "accepted", at, accept_key):
        quotes.end_holds(quote_id, sold=True)
        announce(uow, [quote_accepted(quote)], at)
        return quotes.get(quote_id), True
    quote = quotes.get(quote_id)
    if quote.state == "accepted" and quote.accept_key == accept_key:
        return quote, False
    raise QuoteResolvedError(f"is {quote.state} already", field="quote", value=quote_id)


def release_quote(uow: UnitOfWork, quote_id: str, at: datetime) -> StoredQuote:
    """Give a quote up; what it held is free again. Releasing twice changes nothing. Raises QuoteResolvedError."""
    quotes = QuoteRepository(uow)
    if quotes.resolve(quote_id, "released", at):
        quotes.end_holds(quote_id, sold=False)
    quote = quotes.get(quote_id)
    if quote.state != "released":
        raise QuoteResolvedError(f"is {quote.state} already", field="quote", value=quote_id)
    return quote


def expire_quotes(uow: UnitOfWork, at: datetime) -> int:
    """Expire every open quote whose time is over, freeing what it held. Returns how many."""
    quotes = QuoteRepository(uow)
    expired = 0
    for quote_id in quotes.due_to_expire(at):
        if quotes.resolve(quote_id, "expired", at):
            quotes.end_holds(quote_id, sold=False)
            expired += 1
    return expired
