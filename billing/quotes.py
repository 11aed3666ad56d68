"""Quotes at work: priced and sealed, held until they expire, accepted exactly once or released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.pricing_facts import FactsReader, PricingFacts
from billing.repositories.price_books import StoredBook, StoredSheet
from billing.repositories.quotes import NewQuote, QuoteRepository, StoredQuote
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import quote_accepted
from billing.webhooks.events import announce
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import check_external_id
from pricing_engine.negotiated_terms import terms_in_force
from pricing_engine.propensity import total_propensity
from pricing_engine.quote_document import QUOTE_KIND, QuoteIdentity, quote_sections
from pricing_engine.quoting import PricedQuote, QuoteFacts, QuoteHead, price_quote
from pricing_engine.sealing import Sealed, Signer
from pricing_engine.selection import Chosen, selection_of

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

    facts: PricingFacts
    selection: Mapping[str, Chosen]
    quote: PricedQuote

    @property
    def book(self) -> StoredBook:
        """The price-book version it was priced from."""
        return self.facts.book

    @property
    def sheet(self) -> StoredSheet:
        """The price sheet it was priced from."""
        return self.facts.sheet


def price_request(uow: UnitOfWork, request: QuoteRequest, signer: Signer, at: datetime) -> Priced:
    """Price a request without storing or signing anything: the preview.

    Raises NotFoundError, InvalidValueError, SelectionRefusedError.
    """
    return price_with(FactsReader(uow, signer, at).read(request.customer, request.channel), request, at)


def price_with(facts: PricingFacts, request: QuoteRequest, at: datetime) -> Priced:
    """Price a request from facts at hand. Pure. Raises InvalidValueError, SelectionRefusedError."""
    if request.currency is not None and request.currency != facts.customer.currency:
        raise InvalidValueError(
            f"the customer is billed in {facts.customer.currency}",
            field="currency",
            value=request.currency,
            code="wrong_currency",
        )
    selection = selection_of(request.selection, facts.book.book)
    terms = terms_in_force(facts.terms, at)
    quote = price_quote(facts.book.compiled, QuoteFacts(facts.sheet.sheet, selection, facts.draws, terms))
    return Priced(facts, selection, quote)


def create_quote(uow: UnitOfWork, request: QuoteRequest, signer: Signer, at: datetime, quote_id: str) -> StoredQuote:
    """Price, seal, hold and store a quote. The same facts at the same time give the same document.

    Raises what `price_request` raises, and SoldOutError.
    """
    facts = FactsReader(uow, signer, at).read(request.customer, request.channel)
    quote, priced = seal_quote(uow.tenant, facts, request, signer, at, quote_id)
    store_quote(uow, quote, priced)
    return quote.stored()


def seal_quote(
    tenant: str, facts: PricingFacts, request: QuoteRequest, signer: Signer, at: datetime, quote_id: str
) -> tuple[NewQuote, Priced]:
    """Price and seal a quote that is not stored yet. Pure. Raises what `price_with` raises."""
    if not timedelta(0) < request.hold_for <= LONGEST_HOLD:
        raise InvalidValueError(f"must be positive, at most {LONGEST_HOLD}", field="hold_for", value=request.hold_for)
    priced = price_with(facts, request, at)
    customer = facts.customer
    expires_at = at + request.hold_for
    head = QuoteHead(
        id=quote_id,
        tenant=tenant,
        customer=customer.key,
        segment=customer.segment,
        channel=facts.channel,
        created_at=at,
        expires_at=expires_at,
    )
    sheet = priced.sheet.sheet
    identity = QuoteIdentity(
        head, priced.book.content_hash, priced.sheet.sheet_hash, sheet.model_hash, priced.book.book.money
    )
    propensity = total_propensity(priced.quote, sheet)
    salt = signer.salt_for(QUOTE_KIND, {"id": quote_id, "tenant": tenant})
    quote = NewQuote(
        id=quote_id,
        customer=customer.key,
        book_hash=priced.book.content_hash,
        sheet_hash=priced.sheet.sheet_hash,
        currency=priced.book.book.currency,
        total=priced.quote.total,
        sealed=Sealed(QUOTE_KIND, quote_sections(identity, priced.quote, propensity), salt, signer),
        created_at=at,
        expires_at=expires_at,
    )
    return quote, priced


def store_quote(uow: UnitOfWork, quote: NewQuote, priced: Priced) -> None:
    """Store a sealed quote and hold what is limited. Raises SoldOutError."""
    QuoteRepository(uow).add([quote])
    _hold_units(uow, quote, priced)


def holds_units(priced: Priced) -> bool:
    """Return whether a quote holds units of a limited feature."""
    features = priced.book.compiled.features
    return any([features[key].supply_limit is not None for key in priced.selection])


def _hold_units(uow: UnitOfWork, quote: NewQuote, priced: Priced) -> None:
    """Hold what is limited, features in one order so that concurrent quotes cannot deadlock."""
    for key in sorted(priced.selection):
        if priced.book.book.feature(key).supply_limit is None:
            continue
        quantity = priced.selection[key].quantity
        if quantity != int(quantity):
            raise InvalidValueError(
                "a limited feature is sold in whole units", field=f"selection.{key}", value=quantity
            )
        if not _hold(uow, quote, key, int(quantity)):
            raise SoldOutError("fewer units are left", field=f"selection.{key}", value=quantity)


def _hold(uow: UnitOfWork, quote: NewQuote, feature: str, units: int) -> bool:
    """Hold units, taking back those of quotes that have expired where none are left."""
    quotes = QuoteRepository(uow)
    if quotes.hold(quote.id, feature, units):
        return True
    return expire_quotes(uow, quote.created_at) > 0 and quotes.hold(quote.id, feature, units)


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
