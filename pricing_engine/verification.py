"""Recomputing a sealed quote offline: from the book, the sheet and the public key alone.

Nothing is believed: hashes are recomputed, the signature is checked, every line is priced again by the same
functions that quoted it, and each difference is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import DomainError
from models.values.quantity import plain
from pricing_engine.price_book import BOOK_KIND, PriceBook, opened_price_book
from pricing_engine.price_sheet import SHEET_KIND, opened_price_sheet
from pricing_engine.quote_document import (
    QUOTE_KIND,
    QuoteIdentity,
    ReadQuote,
    line_contents,
    priced_head_totals,
    read_quote,
)
from pricing_engine.quoting import CompiledBook, PricedQuote, QuoteFacts, price_quote
from pricing_engine.sealing import Opened, open_unchecked, verify_signature


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what was stated, what it should be."""

    where: str
    stated: str
    recomputed: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification. `undisclosed` lists lines bounded by a floor this copy does not show."""

    quote_id: str
    lines: tuple[str, ...]
    findings: tuple[Finding, ...]
    undisclosed: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_quote(quote: object, book: object, sheet: object, public_pem: bytes) -> Verdict:
    """Recompute a sealed quote against its sealed price book and price sheet.

    A broken seal, a foreign signature or a hash that does not link is a finding, not an exception; where a hash
    is wrong the lines are recomputed all the same, so that the one that was changed is named.
    """
    opened: list[Opened] = []
    findings: list[Finding] = []
    documents = (("quote", quote, QUOTE_KIND), ("price_book", book, BOOK_KIND), ("price_sheet", sheet, SHEET_KIND))
    for name, document, kind in documents:
        try:
            read, stated = open_unchecked(document, kind)
            opened.append(read)
            if read.hash != stated:
                findings.append(Finding(f"{name}.hash", str(stated), read.hash))
            verify_signature(document, public_pem)
        except DomainError as error:
            findings.append(_refused(name, error))
    if len(opened) < len(documents):
        return Verdict("", (), tuple(findings), ())
    try:
        return _recompute(opened[0], opened[1], opened[2], findings)
    except DomainError as error:
        return Verdict("", (), (*findings, _refused("quote", error)), ())


def _refused(name: str, error: DomainError) -> Finding:
    return Finding(f"{name}.{error.field}" if error.field else name, str(error.value or ""), error.rule)


def _recompute(quote: Opened, book: Opened, sheet: Opened, broken: list[Finding]) -> Verdict:
    """Price the quote's facts again. `broken`: what is wrong with the seals already."""
    stated = read_quote(quote)
    if not broken:
        broken = _broken_links(stated, book, sheet)
        if broken:
            return Verdict(stated.head.id, (), tuple(broken), ())
    price_book = opened_price_book(book)
    facts = QuoteFacts(opened_price_sheet(sheet), stated.selection, stated.draws, stated.terms)
    priced = price_quote(CompiledBook(price_book), facts)
    undisclosed = _bounded_by_hidden_floor(stated, book)
    findings = [*broken, *_differences(stated, priced, price_book, undisclosed), *_cost_differences(quote, priced)]
    return Verdict(stated.head.id, tuple(stated.stated_lines), tuple(findings), tuple(undisclosed))


def _broken_links(stated: ReadQuote, book: Opened, sheet: Opened) -> list[Finding]:
    findings: list[Finding] = []
    if stated.book_hash != book.hash:
        findings.append(Finding("quote.price_book", stated.book_hash, book.hash))
    if stated.sheet_hash != sheet.hash:
        findings.append(Finding("quote.price_sheet", stated.sheet_hash, sheet.hash))
    findings.extend(
        Finding(f"lines.{term.feature}.term", str(term.starts_at), "not in force at the time of the quote")
        for term in stated.terms.values()
        if not term.holds_at(stated.head.created_at)
    )
    return findings


def _bounded_by_hidden_floor(stated: ReadQuote, book: Opened) -> list[str]:
    """Lines that say a cost floor bounds them while this copy of the book hides the cost."""
    return [
        key
        for key, line in stated.stated_lines.items()
        if "cost_floor" in line["rails"] and f"features/{key}/cost" in book.hidden
    ]


def _differences(stated: ReadQuote, priced: PricedQuote, book: PriceBook, undisclosed: list[str]) -> list[Finding]:
    """Compare each stated line with the recomputed one, then the totals.

    Where a hidden floor bounds a line, the rest of the discount moves to other lines: amounts that depend on
    it cannot be recomputed from this copy, list amounts and the sum still can.
    """
    findings: list[Finding] = []
    again = line_contents(priced)
    names = ("feature", "quantity", "list_amount", "shown", "term") if undisclosed else None
    for key, line in stated.stated_lines.items():
        findings += [
            Finding(f"lines.{key}.{name}", str(line.get(name)), str(again[key].get(name)))
            for name in names or sorted({*line, *again[key]})
            if line.get(name) != again[key].get(name) and not (name == "rails" and _hides_rail(line, again[key]))
        ]
    if undisclosed:
        return findings + _sum_differences(stated)
    identity = QuoteIdentity(stated.head, stated.book_hash, stated.sheet_hash, stated.model_hash, book.money)
    totals = priced_head_totals(identity, priced)
    return findings + [
        Finding(f"quote.{name}", str(stated.stated[name]), str(value))
        for name, value in totals.items()
        if stated.stated[name] != value
    ]


def _hides_rail(stated: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    """Return whether the rails differ only in a `below_cost` that a redacted book does not name."""
    named = [rail for rail in stated["rails"] if not rail.startswith("below_cost:")]
    return named == [rail for rail in again["rails"] if not rail.startswith("below_cost:")]


def _sum_differences(stated: ReadQuote) -> list[Finding]:
    total = sum((Decimal(line["amount"]) for line in stated.stated_lines.values()), Decimal(0))
    if plain(total) == stated.stated["total"]:
        return []
    return [Finding("quote.total", stated.stated["total"], plain(total))]


def _cost_differences(quote: Opened, priced: PricedQuote) -> list[Finding]:
    findings: list[Finding] = []
    for line in priced.lines:
        cost = quote.sections.get(f"lines/{line.feature}/cost")
        again = {"unit_cost": plain(line.unit_cost), "cost": plain(line.cost), "margin": plain(line.margin)}
        if cost is not None and cost != again:
            findings.append(Finding(f"lines.{line.feature}.cost", str(cost), str(again)))
    return findings
