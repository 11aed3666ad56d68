"""The price book: a catalog with a version, a date and a currency; immutable, named by its hash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from models.values.errors import DomainError, InvalidValueError
from models.values.forms import build_form
from models.values.ids import check_key
from models.values.money import Currency, currency
from models.values.quantity import plain
from pricing_engine.catalog import Catalog, Feature
from pricing_engine.sealing import Disclosure, Opened, Section
from pricing_engine.tariffs.tariff import Tariff, parse_tariff, tariff_document

BOOK_KIND = "alacarte.price_book.v1"

_COST_FIELDS = ("unit_cost", "cost_source")
_AUDITOR_FIELDS = ("partner", "rails")
_SEGMENTATION = "segmentation"
_AT = re.compile(r"^(?P<rule>.*?) - at `\$(?P<path>.*)`$", re.DOTALL)


class PriceBook(Catalog, frozen=True, kw_only=True):
    """One immutable version of a company's prices in one currency, for one channel or all.

    `effective_from`: aware instant from which new quotes use it.
    """

    key: str
    version: int
    currency: str
    effective_from: datetime
    channel: str | None = None

    def __post_init__(self) -> None:
        """Refuse an incomplete identity and prices the currency cannot have."""
        super().__post_init__()
        check_key(self.key, "key")
        if self.version < 1:
            raise InvalidValueError("must be >= 1", field="version", value=self.version)
        if self.effective_from.tzinfo is None:
            raise InvalidValueError("must carry a time zone", field="effective_from", value=self.effective_from)
        if self.channel is not None:
            check_key(self.channel, "channel")
        currency(self.currency)

    @property
    def money(self) -> Currency:
        """The currency of every price in this book."""
        return currency(self.currency)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two price books: a path, and the document forms before and after."""

    path: str
    before: Any
    after: Any


build_form(PriceBook)


def parse_price_book(document: object) -> PriceBook:
    """Read a price book from its document form.

    Raises DomainErrors whose `field` is the path into the document, e.g. `features[2].tariff.tiers[1].up_to`.
    """
    _refuse_floats(document, "")
    try:
        return msgspec.convert(_with_tariffs(document), PriceBook)
    except msgspec.ValidationError as error:
        raise _as_domain_error(error) from error


def price_book_document(book: PriceBook) -> dict[str, Any]:
    """Return the canonical document: only what differs from defaults, numbers as plain decimal strings."""
    document: dict[str, Any] = _plain(msgspec.to_builtins(book, builtin_types=(Decimal, datetime)))
    for feature, written in zip(book.features, document["features"], strict=True):
        written["tariff"] = tariff_document(feature.tariff)
    return document


def price_book_sections(book: PriceBook) -> list[Section]:
    """Split a book for sealing: prices for every reader, costs for transparent ones, rails and segments for audit."""
    document = price_book_document(book)
    features = document.pop("features")
    segmentation = document.pop("segmentation", None)
    sections = [Section("book", Disclosure.BUYER, {**document, "features": [each["key"] for each in features]})]
    if segmentation:
        sections.append(Section(_SEGMENTATION, Disclosure.AUDITOR, segmentation))
    for feature in features:
        path = f"features/{feature['key']}"
        hidden = {*_COST_FIELDS, *_AUDITOR_FIELDS}
        shown = {name: value for name, value in feature.items() if name not in hidden}
        cost = {name: feature[name] for name in _COST_FIELDS if name in feature}
        bounds = {name: feature[name] for name in _AUDITOR_FIELDS if name in feature}
        sections += [
            Section(path, Disclosure.BUYER, shown),
            Section(f"{path}/cost", Disclosure.TRANSPARENT, cost),
            Section(f"{path}/bounds", Disclosure.AUDITOR, bounds),
        ]
    return sections


def opened_price_book(opened: Opened) -> PriceBook:
    """Rebuild the book from an opened copy; what is hidden takes its default and stays in `opened.hidden`."""
    document = dict(opened.content("book"))
    features: list[dict[str, Any]] = []
    for key in document["features"]:
        parts = (opened.sections.get(f"features/{key}{part}", {}) for part in ("/cost", "/bounds"))
        features.append({**opened.content(f"features/{key}"), **{k: v for part in parts for k, v in part.items()}})
    segmentation = opened.sections.get(_SEGMENTATION, {})
    return parse_price_book({**document, "features": features, "segmentation": segmentation})


def diff_price_books(before: PriceBook, after: PriceBook) -> list[Change]:
    """Return every difference, in the order of `after`; features, meters and bundles are matched by key."""
    changes: list[Change] = []
    _diff("", price_book_document(before), price_book_document(after), changes)
    return changes


def _diff(path: str, before: Any, after: Any, changes: list[Change]) -> None:  # noqa: ANN401
    if isinstance(before, list) and isinstance(after, list) and _keyed(before) and _keyed(after):
        before, after = ({each["key"]: each for each in side} for side in (before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            _diff(f"{path}.{name}" if path else str(name), before.get(name), after.get(name), changes)
    elif before != after:
        changes.append(Change(path, before, after))


def _keyed(values: list[Any]) -> bool:
    return all(isinstance(value, dict) and "key" in value for value in values)


def _with_tariffs(document: object) -> object:
    """Read the tariffs first, so that an error names its place in the document."""
    if not isinstance(document, Mapping) or not isinstance(document.get("features"), list | tuple):
        return document
    features = [
        {**feature, "tariff": parse_tariff(feature["tariff"], f"features[{number}].tariff")}
        if isinstance(feature, Mapping) and isinstance(feature.get("tariff"), Mapping)
        else feature
        for number, feature in enumerate(document["features"])
    ]
    return {**document, "features": features}


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _refuse_floats(value: object, path: str) -> None:
    if isinstance(value, float):
        raise InvalidValueError(
            "must be a decimal string; a float is not exact", field=path, value=value, code="float_refused"
        )
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_floats(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _refuse_floats(item, f"{path}[{number}]")


def _as_domain_error(error: msgspec.ValidationError) -> DomainError:
    """Turn msgspec's sentence into our error, keeping the path into the document."""
    cause = error.__cause__
    match = _AT.match(str(error))
    path = match["path"].lstrip(".") if match else ""
    rule = match["rule"] if match else str(error)
    if isinstance(cause, DomainError):
        return InvalidValueError(cause.rule, field=cause.field or path, value=cause.value, code=cause.code)
    return InvalidValueError(rule[:1].lower() + rule[1:], field=path or "document")


def with_tariff(feature: Feature, tariff: Tariff) -> Feature:
    """Return the feature at another tariff, everything else unchanged."""
    return msgspec.structs.replace(feature, tariff=tariff)
