"""A small book with an adaptive feature, bundle and rails, and quotes sealed from it: facts many tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_book import BOOK_KIND, PriceBook, parse_price_book, price_book_sections
from pricing_engine.price_sheet import SHEET_KIND, PriceSheet, SheetPrice, price_sheet_sections
from pricing_engine.quote_document import QUOTE_KIND, QuoteIdentity, quote_sections
from pricing_engine.quoting import CompiledBook, PricedQuote, QuoteFacts, QuoteHead, price_quote
from pricing_engine.sealing import Signer, seal
from pricing_engine.selection import selection_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))

BOOK: dict[str, Any] = {
    "key": "gateway",
    "version": 3,
    "currency": "USD",
    "effective_from": "2026-01-01T00:00:00Z",
    "meters": [{"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"}],
    "features": [
        {
            "key": "tokens",
            "name": "Tokens",
            "kind": "metered",
            "meter": "tokens",
            "unit_cost": "0.000001",
            "tariff": {
                "model": "graduated",
                "tiers": [
                    {"up_to": "1000000", "unit_amount": "0.000004"},
                    {"up_to": None, "unit_amount": "0.0000025"},
                ],
            },
        },
        {
            "key": "cache",
            "name": "Cache",
            "kind": "switch",
            "unit_cost": "2",
            "tariff": {"model": "flat", "amount": "9.99"},
        },
        {
            "key": "seats",
            "name": "Seats",
            "kind": "quantity",
            "unit_cost": "1.5",
            "adaptive": True,
            "tariff": {"model": "unit", "unit_amount": "8"},
        },
        {
            "key": "sso",
            "name": "Single sign-on",
            "kind": "switch",
            "unit_cost": "38",
            "tariff": {"model": "flat", "amount": "40"},
            "partner": {"partner": "idp", "percent": "10"},
        },
    ],
    "rules": [{"rule": "requires", "feature": "cache", "needs": ["tokens"]}],
    "bundles": [{"key": "team", "name": "Team", "features": ["seats", "sso"], "percent": "20"}],
    "size_discounts": [{"features": 3, "percent": "5"}],
}


@dataclass(frozen=True)
class SealedQuote:
    """A quote with all it was made from."""

    book: PriceBook
    priced: PricedQuote
    quote: dict[str, Any]
    sealed_book: dict[str, Any]
    sealed_sheet: dict[str, Any]


def price_book(**changes: Any) -> PriceBook:
    """The book above, with some fields replaced."""
    return parse_price_book({**BOOK, **changes})


def jittered_sheet(book_hash: str) -> PriceSheet:
    """A model's sheet: seats at 7.60 before a jitter of five percent, between 7.30 and 7.90."""
    seats = SheetPrice(
        feature="seats",
        price=Decimal("7.6"),
        lowest=Decimal("7.3"),
        highest=Decimal("7.9"),
        ladder_step=Decimal("0.1"),
        jitter=Decimal("0.05"),
        rails=("step",),
    )
    return PriceSheet(
        book_hash=book_hash, segment="default", epoch=4, effective_from=AT, prices=(seats,), model_hash="ab" * 32
    )


def sealed_quote(
    selection: dict[str, Any],
    draw: str = "0.03",
    book: PriceBook | None = None,
    terms: Mapping[str, NegotiatedTerm] | None = None,
) -> SealedQuote:
    """Price and seal a selection from the book above, on the jittered sheet."""
    book = book or price_book()
    sealed_book = seal(BOOK_KIND, price_book_sections(book), b"book salt, 32 bytes of it, secret", SIGNER)
    sheet = jittered_sheet(sealed_book["hash"])
    sealed_sheet = seal(SHEET_KIND, price_sheet_sections(sheet), b"sheet salt, secret", SIGNER)
    facts = QuoteFacts(sheet, selection_of(selection, book), {"seats": Decimal(draw)}, terms or {})
    priced = price_quote(CompiledBook(book), facts)
    head = QuoteHead("q-1", "default", "acme", "default", "direct", AT, AT + timedelta(days=14))
    identity = QuoteIdentity(head, sealed_book["hash"], sealed_sheet["hash"], sheet.model_hash, book.money)
    quote = seal(QUOTE_KIND, quote_sections(identity, priced), b"quote salt, secret", SIGNER)
    return SealedQuote(book, priced, quote, sealed_book, sealed_sheet)


WHOLE = {"tokens": "2500000", "cache": True, "seats": "12", "sso": True}
