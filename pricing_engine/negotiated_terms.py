"""Negotiated terms: a dated override of one feature's price for one customer, with a reason and an approver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from models.values.errors import InvalidValueError
from models.values.forms import build_form
from models.values.ids import check_key
from models.values.quantity import parse_decimal, plain
from pricing_engine.catalog import HUNDRED, TariffField, Value
from pricing_engine.tariffs.tariff import parse_tariff, tariff_document


class NegotiatedTerm(Value, frozen=True):
    """What was agreed for `feature`, from `starts_at` until `ends_at` (exclusive; None: for good).

    `tariff` replaces the book's tariff (and any adaptive price), `percent` comes off the feature's amount,
    `below_cost` allows the result to fall below cost. At least one of tariff and percent is given.
    """

    feature: str
    reason: str
    approver: str
    starts_at: datetime
    ends_at: datetime | None = None
    tariff: TariffField | None = None
    percent: Decimal | None = None
    below_cost: bool = False

    def __post_init__(self) -> None:
        """Refuse terms that change nothing, nobody approved, or have no span."""
        where = f"terms.{self.feature}"
        check_key(self.feature, "terms.feature")
        if self.tariff is None and self.percent is None:
            raise InvalidValueError("needs a tariff or a percent", field=where)
        if self.percent is not None and parse_decimal(self.percent, f"{where}.percent", minimum=Decimal(0)) > HUNDRED:
            raise InvalidValueError("must be at most 100", field=f"{where}.percent", value=self.percent)
        if not self.reason or not self.approver:
            raise InvalidValueError("needs a reason and an approver", field=where)
        if self.starts_at.tzinfo is None or (self.ends_at is not None and self.ends_at <= self.starts_at):
            raise InvalidValueError("needs starts_at < ends_at, both with a zone", field=where, value=self.starts_at)

    def holds_at(self, instant: datetime) -> bool:
        """Return whether the term is in force."""
        return self.starts_at <= instant and (self.ends_at is None or instant < self.ends_at)


def terms_in_force(terms: Iterable[NegotiatedTerm], at: datetime) -> dict[str, NegotiatedTerm]:
    """Return the terms in force by feature; of several the one that started last."""
    in_force: dict[str, NegotiatedTerm] = {}
    for term in sorted(terms, key=lambda each: each.starts_at):
        if term.holds_at(at):
            in_force[term.feature] = term
    return in_force


def term_document(term: NegotiatedTerm) -> dict[str, Any]:
    """Return the document form, numbers as plain decimal strings."""
    document: dict[str, Any] = msgspec.to_builtins(term, builtin_types=(Decimal,))
    if term.percent is not None:
        document["percent"] = plain(term.percent)
    if term.tariff is not None:
        document["tariff"] = tariff_document(term.tariff)
    return document


build_form(NegotiatedTerm)


def parse_term(document: object) -> NegotiatedTerm:
    """Read a term from its document form. Raises InvalidValueError."""
    if isinstance(document, Mapping) and isinstance(document.get("tariff"), Mapping):
        document = {**document, "tariff": parse_tariff(document["tariff"], "terms.tariff")}
    try:
        return msgspec.convert(document, NegotiatedTerm)
    except msgspec.ValidationError as error:
        raise InvalidValueError(str(error), field="terms", code="malformed_term") from error
