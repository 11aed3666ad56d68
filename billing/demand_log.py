"""The quote log that demand is learned from: stored quotes of one price book as a frame, one row a quote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl

from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository, StoredQuote
from billing.unit_of_work import UnitOfWork
from models.values.quantity import EXACT
from pricing_engine.demand.quote_log import (
    BILLED,
    CUSTOMER_SEGMENT,
    DRAW,
    QUANTITIES,
    REST,
    REST_COST,
    PriceSource,
    QuoteOutcome,
    check_quote_log,
)
from pricing_engine.price_book import PriceBook

_REPORTED = 1_000
_SCHEMA: dict[str, Any] = {
    "quote_id": pl.String,
    "quoted_at": pl.Datetime("us", "UTC"),
    "segment": pl.String,
    "features": pl.List(pl.String),
    "price": pl.Float64,
    "unit_cost": pl.Float64,
    "outcome": pl.String,
    "price_source": pl.String,
    "density": pl.Float64,
    "channel": pl.String,
    QUANTITIES: pl.List(pl.Float64),
    DRAW: pl.Float64,
    BILLED: pl.List(pl.Float64),
    REST: pl.Float64,
    REST_COST: pl.Float64,
    CUSTOMER_SEGMENT: pl.String,
}
"""What demand is learned from is an estimate's input: amounts are floats here, and nothing is posted from them."""


def read_quote_log(
    uow: UnitOfWork,
    book: PriceBook,
    after: datetime,
    before: datetime,
    *,
    silence_is_refusal: bool = False,
    progress: Callable[[int], None] = lambda _read: None,
) -> pl.DataFrame:
    """Return the quotes of any version of `book` made in [after, before) in its currency, as they stood at `before`.

    With `silence_is_refusal` a quote that ran out of time counts as declined. Quotes of a segment that the book does
    not declare are those of the default one: what has no prices of its own is not learned either. The columns are those
    of `quote_log`, and what other prices of the book's adaptive features would have come to. `progress` is told every
    thousand.
    """
    versions = sorted({release.content_hash for release in PriceBookRepository(uow).releases(book.key)})
    adaptive = frozenset(feature.key for feature in book.features if feature.adaptive)
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA}
    for number, quote in enumerate(QuoteRepository(uow).of_books(versions, book.currency, after, before), 1):
        for name, value in quote_row(quote, adaptive, before).items():
            columns[name].append(value)
        if number % _REPORTED == 0:
            progress(number)
    log = pl.DataFrame(columns, schema=_SCHEMA)
    priced_as = {name: book.segmentation.priced_as(name) for name in log[CUSTOMER_SEGMENT].unique()}
    log = log.with_columns(segment=pl.col(CUSTOMER_SEGMENT).replace(priced_as))
    if silence_is_refusal:
        refused = pl.col("outcome").replace(str(QuoteOutcome.EXPIRED), str(QuoteOutcome.DECLINED))
        log = log.with_columns(outcome=refused)
    return check_quote_log(log)


def quote_row(quote: StoredQuote, adaptive: frozenset[str], at: datetime) -> dict[str, Any]:
    """Return one quote's row. Features of quantity zero are left out: nothing was asked of them, nor billed.

    An adaptive feature without a shown price was negotiated, or not adaptive then: it does not follow the price sheet.
    """
    sections = quote.sealed["sections"]
    head = sections["quote"]["content"]
    lines = [sections[f"lines/{key}"]["content"] for key in head["lines"]]
    costs = [Decimal(sections[f"lines/{line['feature']}/cost"]["content"]["cost"]) for line in lines]
    moves = [line["feature"] in adaptive and Decimal(line.get("shown", {}).get("price", 0)) > 0 for line in lines]
    rest = [Decimal(line["amount"]) for line, moved in zip(lines, moves, strict=True) if not moved]
    asked = [(line, moved) for line, moved in zip(lines, moves, strict=True) if Decimal(line["quantity"]) > 0]
    propensity = sections.get("quote/propensity", {}).get("content", {})
    source = _price_source(head, lines, is_drawn=bool(propensity))
    return {
        "quote_id": quote.id,
        "quoted_at": quote.created_at,
        "segment": head["segment"],
        CUSTOMER_SEGMENT: head["segment"],
        "features": [line["feature"] for line, _ in asked],
        "price": float(quote.total),
        "unit_cost": float(_sum(costs)),
        "outcome": _outcome(quote, at),
        "price_source": source,
        "density": float(propensity["density"]) if source is PriceSource.RANDOMISED else None,
        "channel": head["channel"],
        QUANTITIES: [float(line["quantity"]) for line, _ in asked],
        DRAW: _draw(lines, moves, quote.total) if source is PriceSource.RANDOMISED else 0.0,
        BILLED: [float(line["amount"]) / float(line["shown"]["price"]) if moved else 0.0 for line, moved in asked],
        REST: float(_sum(rest)),
        REST_COST: float(_sum([cost for cost, moved in zip(costs, moves, strict=True) if not moved])),
    }


def _outcome(quote: StoredQuote, at: datetime) -> QuoteOutcome:
    """Return where a quote stood at an instant: what was given up is a refusal, what ran out of time is not."""
    decided = quote.resolved_at is not None and quote.resolved_at < at
    if decided and quote.state == "accepted":
        return QuoteOutcome.ACCEPTED
    if decided and quote.state == "released":
        return QuoteOutcome.DECLINED
    return QuoteOutcome.EXPIRED if quote.expires_at <= at else QuoteOutcome.OPEN


def _price_source(head: Mapping[str, Any], lines: list[Mapping[str, Any]], *, is_drawn: bool) -> PriceSource:
    """Return who set a quote's price: a person where terms were negotiated, or a sheet without a model moved it."""
    moved = any(step["reason"] == "adaptive_price" for line in lines for step in line["adjustments"])
    if any("term" in line for line in lines) or (moved and not head["model"]):
        return PriceSource.HUMAN
    return PriceSource.RANDOMISED if is_drawn else PriceSource.LIST


def _draw(lines: list[Mapping[str, Any]], moves: list[bool], total: Decimal) -> float:
    """Return by how much the lines' draws moved the log of the total: each by its share of it."""
    moved = [line for line, does in zip(lines, moves, strict=True) if does]
    return sum(float(line["shown"]["draw"]) * float(line["amount"]) for line in moved) / float(total)


def _sum(amounts: list[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
