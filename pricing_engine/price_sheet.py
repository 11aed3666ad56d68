"""The price sheet: the adaptive prices of one epoch and segment, before jitter, signed and immutable.

A quote shows the sheet's price moved by its own draw:

    shown = ladder(clamp(price * exp(draw), lowest, highest)),  draw ~ uniform(-jitter, jitter)

so that its propensity is known exactly and anyone can recompute it from the sheet and the draw.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any

import msgspec

from models.values.errors import InvalidValueError, NotFoundError
from models.values.forms import build_form
from models.values.money import from_minor
from models.values.quantity import EXACT, plain
from pricing_engine.catalog import Feature, Value
from pricing_engine.demand.guardrails import PriceLadder, Rails
from pricing_engine.price_book import PriceBook, with_tariff
from pricing_engine.sealing import Disclosure, Opened, Section
from pricing_engine.tariffs.tariff import Tariff, parse_tariff, tariff_document

SHEET_KIND = "alacarte.price_sheet.v1"
DRAW_DIGITS = 12
"""Digits behind the point of a draw; the draw is part of the quote."""

_LOGS = Context(prec=28, rounding=ROUND_HALF_EVEN)
"""Decimal exp and ln are correctly rounded, so every machine computes the same shown price."""
_PROPENSITY = Context(prec=12, rounding=ROUND_HALF_EVEN)
_PRICE_FIELD = {"flat": "amount", "unit": "unit_amount"}
PRICED_BY_ONE = frozenset(_PRICE_FIELD)
"""The tariff models with exactly one price, which can be adapted, dragged and tried."""


class SheetPrice(Value, frozen=True):
    """One feature's price before jitter, the rungs jitter may reach, and the rails that were hit on the way."""

    feature: str
    price: Decimal
    lowest: Decimal
    highest: Decimal
    ladder_step: Decimal
    ladder_ending: Decimal = Decimal(0)
    jitter: Decimal = Decimal(0)
    rails: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a price outside its own range."""
        PriceLadder(self.ladder_step, self.ladder_ending)
        if not 0 <= self.lowest <= self.price <= self.highest or not 0 <= self.jitter < 1:
            raise InvalidValueError(
                "needs 0 <= lowest <= price <= highest and 0 <= jitter < 1", field="price_sheet", value=self.feature
            )


class PriceSheet(Value, frozen=True):
    """The prices of one epoch for one segment.

    `model_hash` is empty while list prices are in force, and `fallback` says why they are. `holdout`: share of
    customers, drawn by key, who are quoted list prices all the same, so that there is something to compare with.
    """

    book_hash: str
    segment: str
    epoch: int
    effective_from: datetime
    prices: tuple[SheetPrice, ...]
    model_hash: str = ""
    holdout: Decimal = Decimal(0)
    fallback: str = ""

    def __post_init__(self) -> None:
        """Refuse a holdout that is no share."""
        if not 0 <= self.holdout <= 1:
            raise InvalidValueError("must be within 0..1", field="price_sheet.holdout", value=self.holdout)

    def price_of(self, feature: str) -> SheetPrice:
        """Return one feature's price. Raises NotFoundError."""
        for price in self.prices:
            if price.feature == feature:
                return price
        raise NotFoundError("has no price on this sheet", field="price_sheet", value=feature)


@dataclass(frozen=True, slots=True)
class ShownPrice:
    """What a quote shows: the price, the draw that moved it, and the probability of just this price."""

    price: Decimal
    draw: Decimal
    propensity: Decimal


def list_price_sheet(
    book: PriceBook, book_hash: str, segment: str, epoch: int, at: datetime, fallback: str = ""
) -> PriceSheet:
    """Return the sheet that leaves every adaptive feature at its list price, without jitter."""
    prices = tuple(
        SheetPrice(
            feature=feature.key,
            price=list_price(feature),
            lowest=list_price(feature),
            highest=list_price(feature),
            ladder_step=rails_of(book, feature).ladder.step,
            ladder_ending=feature.rails.ladder_ending,
        )
        for feature in book.features
        if feature.adaptive
    )
    return PriceSheet(
        book_hash=book_hash, segment=segment, epoch=epoch, effective_from=at, prices=prices, fallback=fallback
    )


def rails_of(book: PriceBook, feature: Feature) -> Rails:
    """Return the rails of a feature of one price: without a ladder it moves by whole minor units, if it is sold so."""
    minor = from_minor(1, book.money)
    return feature.rails.rails() if list_price(feature) % minor else feature.rails.rails(minor)


def list_price(feature: Feature) -> Decimal:
    """Return the one price of a flat or unit tariff, in major units (per unit)."""
    return Decimal(tariff_document(feature.tariff)[_PRICE_FIELD[feature.tariff.model]])


def tariff_at(feature: Feature, price: Decimal) -> Tariff:
    """Return the feature's tariff with its one price replaced."""
    document = dict(tariff_document(feature.tariff))
    document[_PRICE_FIELD[feature.tariff.model]] = plain(price)
    return parse_tariff(document)


def book_at(book: PriceBook, prices: Mapping[str, Decimal]) -> PriceBook:
    """Return the book with some features' one price replaced: a draft to try, under the same key and version."""
    features = tuple(
        with_tariff(feature, tariff_at(feature, prices[feature.key])) if feature.key in prices else feature
        for feature in book.features
    )
    return msgspec.structs.replace(book, features=features)


def draw_for(secret: bytes, sheet_hash: str, customer: str, jitter: Decimal) -> Decimal:
    """Return this customer's draw on one sheet: uniform in [-jitter, jitter].

    All features of a quote share the underlying number, each scaled by its own jitter: independent draws would
    average out in the total, which is what demand is learned from. It is a keyed hash of the facts, so within an
    epoch the same facts get the same price, and nobody without the secret can shop for a lucky draw.
    """
    if jitter == 0:
        return Decimal(0)
    number = _keyed_number(secret, sheet_hash, customer)
    uniform = _LOGS.divide(Decimal(2 * number + 1 - 2**64), Decimal(2**64))
    return _LOGS.multiply(jitter, uniform).quantize(Decimal(1).scaleb(-DRAW_DIGITS), rounding=ROUND_DOWN)


def in_holdout(secret: bytes, sheet: PriceSheet, customer: str) -> bool:
    """Whether a customer stays on list prices: always the same ones, whatever the sheet, as long as its share stays."""
    return bool(sheet.holdout) and _keyed_number(secret, "holdout", customer) < int(sheet.holdout * 2**64)


def _keyed_number(secret: bytes, *facts: str) -> int:
    """Return 64 bits that nobody can foresee without the secret, always the same for the same facts."""
    return int.from_bytes(hmac.new(secret, "\x00".join(facts).encode(), hashlib.sha256).digest()[:8], "big")


def shown_price(sheet_price: SheetPrice, draw: Decimal) -> ShownPrice:
    """Return the price a quote shows for `draw`, with its probability under the sheet.

    Raises InvalidValueError for a draw outside the sheet's jitter.
    """
    if abs(draw) > sheet_price.jitter:
        raise InvalidValueError(f"must lie within the jitter {sheet_price.jitter}", field="draw", value=draw)
    if sheet_price.jitter == 0:
        return ShownPrice(sheet_price.price, draw, Decimal(1))
    moved = _LOGS.multiply(sheet_price.price, _exp(draw))
    ladder = _ladder(sheet_price.ladder_step, sheet_price.ladder_ending)
    price = min(max(ladder.nearest(moved), sheet_price.lowest), sheet_price.highest)
    return ShownPrice(price, draw, _propensity(sheet_price, price))


_ladder = lru_cache(maxsize=1024)(PriceLadder)
_exp = lru_cache(maxsize=1024)(_LOGS.exp)
"""The features of one quote share their draw, up to their jitter."""


@lru_cache(maxsize=65536)
def _propensity(sheet_price: SheetPrice, shown: Decimal) -> Decimal:
    """Probability that a uniform draw lands on `shown`: the length of its pre-image over 2 * jitter."""
    low, high = draw_range(sheet_price, shown)
    return _PROPENSITY.divide(_LOGS.subtract(high, low), 2 * sheet_price.jitter)


def draw_range(sheet_price: SheetPrice, shown: Decimal) -> tuple[Decimal, Decimal]:
    """Return the lowest and highest draw that lead to a shown price, within the jitter, which is above zero."""
    jitter, half = sheet_price.jitter, EXACT.divide(sheet_price.ladder_step, Decimal(2))
    low = -jitter if shown <= sheet_price.lowest else _log_ratio(EXACT.subtract(shown, half), sheet_price.price)
    high = jitter if shown >= sheet_price.highest else _log_ratio(EXACT.add(shown, half), sheet_price.price)
    return max(low, -jitter), min(high, jitter)


def _log_ratio(price: Decimal, base: Decimal) -> Decimal:
    return _LOGS.ln(_LOGS.divide(price, base)) if price > 0 else Decimal("-Infinity")


def price_sheet_sections(sheet: PriceSheet) -> list[Section]:
    """Split a sheet for sealing. Prices are open to every buyer."""
    document = price_sheet_document(sheet)
    prices: list[dict[str, Any]] = document.pop("prices")
    head = Section("sheet", Disclosure.BUYER, {**document, "features": [price["feature"] for price in prices]})
    return [head, *(Section(f"prices/{price['feature']}", Disclosure.BUYER, price) for price in prices)]


def opened_price_sheet(opened: Opened) -> PriceSheet:
    """Rebuild the sheet from an opened copy. Raises InvalidValueError for a malformed one."""
    document: Mapping[str, Any] = opened.content("sheet")
    prices = [opened.content(f"prices/{feature}") for feature in document["features"]]
    body = {name: value for name, value in document.items() if name != "features"}
    return parse_price_sheet({**body, "prices": prices})


build_form(PriceSheet)


def parse_price_sheet(document: object) -> PriceSheet:
    """Read a sheet from its document form. Raises InvalidValueError."""
    try:
        return msgspec.convert(document, PriceSheet)
    except msgspec.ValidationError as error:
        raise InvalidValueError(str(error), field="price_sheet", code="malformed_price_sheet") from error


def price_sheet_document(sheet: PriceSheet) -> dict[str, Any]:
    """Return the document form, numbers as plain decimal strings."""
    built: dict[str, Any] = msgspec.to_builtins(sheet, builtin_types=(Decimal,))
    for part in (built, *built["prices"]):
        for name, value in part.items():
            part[name] = plain(value) if isinstance(value, Decimal) else value
    built["prices"] = list(built["prices"])
    return built
