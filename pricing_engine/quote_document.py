"""The sealed form of a quote: what each reader sees, and how to read it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from models.values.canonical_json import Json, Record, canonical_bytes
from models.values.errors import InvalidValueError
from models.values.money import Currency, from_minor
from models.values.quantity import parse_decimal, plain
from pricing_engine.negotiated_terms import NegotiatedTerm, parse_term, term_document
from pricing_engine.price_sheet import ShownPrice
from pricing_engine.propensity import TotalPropensity
from pricing_engine.quoting import PricedQuote, QuoteHead, QuoteLine
from pricing_engine.sealing import Disclosure, Opened, SealBrokenError, Section
from pricing_engine.selection import Chosen

QUOTE_KIND = "alacarte.quote.v1"


@dataclass(frozen=True, slots=True)
class QuoteIdentity:
    """What a quote is bound to: its head, the book and the sheet by hash, the model behind the sheet."""

    head: QuoteHead
    book_hash: str
    sheet_hash: str
    model_hash: str
    currency: Currency


class _Step(Record, frozen=True, gc=False):
    """One adjustment of a line."""

    amount: str
    detail: str
    reason: str


class _Line(Record, frozen=True, gc=False, kw_only=True):
    """What a buyer sees of a line. Usage and a negotiated term are written as they came."""

    adjustments: list[_Step]
    amount: str
    dropped_with: tuple[str, ...]
    feature: str
    list_amount: str
    quantity: str
    rails: tuple[str, ...]
    saved_if_dropped: str
    shown: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    term: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Cost(Record, frozen=True, gc=False):
    """What a line costs to provide."""

    cost: str
    margin: str
    unit_cost: str


def quote_sections(
    identity: QuoteIdentity, priced: PricedQuote, propensity: TotalPropensity | None = None
) -> list[Section]:
    """Split a quote for sealing: buyers see prices and reasons, transparent readers costs, auditors everything."""
    sections = [Section("quote", Disclosure.BUYER, _head_content(identity, priced))]
    if propensity is not None:
        sections.append(Section("quote/propensity", Disclosure.AUDITOR, propensity.document()))
    for line in priced.lines:
        path = f"lines/{line.feature}"
        cost = _Cost(plain(line.cost), plain(line.margin), plain(line.unit_cost))
        sections.append(Section(path, Disclosure.BUYER, _line_content(line)))
        sections.append(Section(f"{path}/cost", Disclosure.TRANSPARENT, cost))
        if line.shown is not None:
            audit = {"propensity": plain(line.shown.propensity)}
            sections.append(Section(f"{path}/propensity", Disclosure.AUDITOR, audit))
    return sections


def _head_content(identity: QuoteIdentity, priced: PricedQuote) -> dict[str, Any]:
    head = identity.head
    return {
        "id": head.id,
        "tenant": head.tenant,
        "customer": head.customer,
        "segment": head.segment,
        "channel": head.channel,
        "created_at": _instant(head.created_at),
        "expires_at": _instant(head.expires_at),
        "currency": identity.currency.code,
        "price_book": identity.book_hash,
        "price_sheet": identity.sheet_hash,
        "model": identity.model_hash,
        "lines": [line.feature for line in priced.lines],
        "total": plain(priced.total),
        "rounded_total": plain(from_minor(priced.rounded_total_minor, identity.currency)),
        "discount": {
            "kind": priced.discount.value,
            "key": priced.discount_key,
            "percent": plain(priced.discount_percent),
            "floor_bound": priced.floor_bound,
        },
        "counted": {key: _shown(shown) for key, shown in priced.counted.items()},
    }


def _line_content(line: QuoteLine) -> _Line:
    usage, shown, term = line.chosen.usage, line.shown, line.term
    return _Line(
        adjustments=[_Step(plain(step.amount), step.detail, step.reason) for step in line.adjustments],
        amount=plain(line.amount),
        dropped_with=line.dropped_with,
        feature=line.feature,
        list_amount=plain(line.list_amount),
        quantity=plain(line.chosen.quantity),
        rails=line.rails,
        saved_if_dropped=plain(line.saved_if_dropped),
        shown=msgspec.UNSET if shown is None else _raw(_shown(shown)),
        term=msgspec.UNSET if term is None else _raw(term_document(term)),
        usage=msgspec.UNSET if usage is None else _raw(dict(usage)),
    )


def _raw(document: Json) -> msgspec.Raw:
    return msgspec.Raw(canonical_bytes(document))


def line_contents(priced: PricedQuote) -> dict[str, dict[str, Any]]:
    """Return each line's buyer content by feature: what verification compares."""
    return {line.feature: json.loads(canonical_bytes(_line_content(line))) for line in priced.lines}


def head_totals(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the head that follows from the lines."""
    return {name: content[name] for name in ("lines", "total", "rounded_total", "discount", "counted")}


def priced_head_totals(identity: QuoteIdentity, priced: PricedQuote) -> dict[str, Any]:
    """Return the same part, recomputed."""
    return head_totals(_head_content(identity, priced))


def _shown(shown: ShownPrice) -> dict[str, str]:
    return {"price": plain(shown.price), "draw": plain(shown.draw)}


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class ReadQuote:
    """The facts a sealed quote states: enough, with its book and sheet, to recompute it."""

    head: QuoteHead
    currency_code: str
    book_hash: str
    sheet_hash: str
    model_hash: str
    selection: Mapping[str, Chosen]
    draws: Mapping[str, Decimal]
    terms: Mapping[str, NegotiatedTerm]
    stated: Mapping[str, Any]
    stated_lines: Mapping[str, Mapping[str, Any]]


def read_quote(opened: Opened) -> ReadQuote:
    """Read the facts out of an opened quote. Raises SealBrokenError or InvalidValueError for a malformed one."""
    content = opened.content("quote")
    try:
        lines = {key: opened.content(f"lines/{key}") for key in content["lines"]}
        draws = {key: _draw(line["shown"]) for key, line in lines.items() if "shown" in line}
        draws |= {key: _draw(shown) for key, shown in content["counted"].items()}
        return ReadQuote(
            head=_read_head(content),
            currency_code=content["currency"],
            book_hash=content["price_book"],
            sheet_hash=content["price_sheet"],
            model_hash=content["model"],
            selection={
                key: Chosen(parse_decimal(line["quantity"], f"lines.{key}.quantity"), line.get("usage"))
                for key, line in lines.items()
            },
            draws=draws,
            terms={key: parse_term(line["term"]) for key, line in lines.items() if "term" in line},
            stated=head_totals(content),
            stated_lines=lines,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SealBrokenError("quote lacks a field or has one of another type", field="quote", value=error) from error


def _read_head(content: Mapping[str, Any]) -> QuoteHead:
    return QuoteHead(
        id=content["id"],
        tenant=content["tenant"],
        customer=content["customer"],
        segment=content["segment"],
        channel=content["channel"],
        created_at=_read_instant(content["created_at"], "created_at"),
        expires_at=_read_instant(content["expires_at"], "expires_at"),
    )


def _read_instant(text: str, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError("must be an ISO 8601 instant", field=name, value=text) from error


def _draw(shown: Mapping[str, Any]) -> Decimal:
    return parse_decimal(shown["draw"], "draw")
