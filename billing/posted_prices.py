"""What quotes posted and what became of them: by feature for demand, by price sheet for experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from billing.repositories.price_books import PriceBookRepository, StoredSheet
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.catalog import PriceSheetRow
from models.tables.quote import QuoteRow
from models.values.errors import NotFoundError
from models.values.quantity import EXACT
from pricing_engine.demand.take_curve import TakeCurve, take_curve
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import draw_for, shown_price
from pricing_engine.sealing import Signer

NEWEST_QUOTES = 5_000
"""How many quotes are looked at: the newest, as demand changes."""
_LINES = "lines/"
_QUOTE = table_of(QuoteRow)
_SHEET = table_of(PriceSheetRow)


@dataclass(frozen=True, slots=True)
class SheetResult:
    """One price sheet and what was quoted on it. `accepted_total`: exact, major units of the book's currency."""

    sheet: StoredSheet
    recorded_at: datetime
    quotes: int
    accepted: int
    accepted_total: Decimal


def take_curves(uow: UnitOfWork, book: PriceBook, signer: Signer) -> dict[str, TakeCurve]:
    """Return a curve for each adaptive feature of a book, from the newest quotes on any version of it.

    A quote posts every adaptive feature's price, also of those its buyer left out: each is recomputed from the
    quote's sheet and draw.
    """
    features = [feature for feature in book.features if feature.adaptive]
    posted: dict[str, list[Decimal]] = {feature.key: [] for feature in features}
    taken: dict[str, list[bool]] = {feature.key: [] for feature in features}
    secret, books = signer.secret("draws"), PriceBookRepository(uow)
    sheets: dict[str, StoredSheet] = {}
    for customer, sheet_hash, document in _newest(uow, book.key):
        if sheet_hash not in sheets:
            sheets[sheet_hash] = books.sheet(sheet_hash)
        sheet = sheets[sheet_hash].sheet
        for feature in features:
            try:
                price = sheet.price_of(feature.key)
            except NotFoundError:
                continue
            draw = draw_for(secret, sheet_hash, customer, price.jitter)
            posted[feature.key].append(shown_price(price, draw).price)
            taken[feature.key].append(f"{_LINES}{feature.key}" in document["sections"])
    return {
        feature.key: take_curve(posted[feature.key], taken[feature.key], feature.rails.minimum_quotes)
        for feature in features
    }


def sheet_results(uow: UnitOfWork, book: PriceBook) -> list[SheetResult]:
    """Return every price sheet of a book's versions with what became of its quotes, the newest first."""
    books = PriceBookRepository(uow)
    sheets = uow.connection.execute(
        select(_SHEET.c.sheet_hash, _SHEET.c.recorded_at)
        .where(_SHEET.c.tenant == uow.tenant, _SHEET.c.book_hash.in_(_versions(uow, book.key)))
        .order_by(_SHEET.c.effective_from.desc(), _SHEET.c.epoch.desc(), _SHEET.c.segment)
    ).all()
    quotes: dict[str, list[tuple[str, Decimal]]] = {}
    rows = uow.connection.execute(
        select(_QUOTE.c.sheet_hash, _QUOTE.c.state, _QUOTE.c.total).where(
            _QUOTE.c.tenant == uow.tenant, _QUOTE.c.book_hash.in_(_versions(uow, book.key))
        )
    )
    for sheet_hash, state, total in rows:
        quotes.setdefault(sheet_hash, []).append((state, total))
    return [
        _result(books.sheet(sheet_hash), recorded_at, quotes.get(sheet_hash, ())) for sheet_hash, recorded_at in sheets
    ]


def _versions(uow: UnitOfWork, book_key: str) -> list[str]:
    return sorted({release.content_hash for release in PriceBookRepository(uow).releases(book_key)})


def _newest(uow: UnitOfWork, book_key: str) -> list[tuple[str, str, dict[str, dict[str, object]]]]:
    rows = uow.connection.execute(
        select(_QUOTE.c.customer, _QUOTE.c.sheet_hash, _QUOTE.c.document)
        .where(_QUOTE.c.tenant == uow.tenant, _QUOTE.c.book_hash.in_(_versions(uow, book_key)))
        .order_by(_QUOTE.c.created_at.desc(), _QUOTE.c.id)
        .limit(NEWEST_QUOTES)
    )
    return [(row.customer, row.sheet_hash, row.document) for row in rows]


def _result(sheet: StoredSheet, recorded_at: datetime, quotes: Sequence[tuple[str, Decimal]]) -> SheetResult:
    accepted = [total for state, total in quotes if state == "accepted"]
    total = Decimal(0)
    for each in accepted:
        total = EXACT.add(total, each)
    return SheetResult(sheet, recorded_at, len(quotes), len(accepted), total)
