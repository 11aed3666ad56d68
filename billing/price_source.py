"""Prices of agreements: from compiled books, sheets and negotiated terms, each worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from billing.phases import Agreement
from pricing_engine.feature_price import FeaturePrice
from pricing_engine.price_sheet import PriceSheet
from pricing_engine.quoting import CompiledBook


class PriceSource:
    """Compiled books and sheets by hash, and the effective prices of agreements, each worked out once."""

    def __init__(self, books: Mapping[str, CompiledBook], sheets: Mapping[str, PriceSheet]) -> None:
        self.books, self.sheets = books, sheets
        self._known: dict[tuple[int, tuple[str, ...]], tuple[Agreement, Mapping[str, FeaturePrice]]] = {}

    def prices(self, agreement: Agreement, at: datetime) -> Mapping[str, FeaturePrice]:
        """Return the effective prices of the agreed features, under the negotiated terms that hold at `at`."""
        terms = {key: term for key, term in agreement.terms.items() if term.holds_at(at)}
        known = self._known.get((id(agreement), tuple(terms)))
        if known is not None:
            return known[1]
        compiled = self.books[agreement.book_hash]
        sheet = self._sheet(agreement, compiled, at)
        prices = compiled.feature_prices(sheet, agreement.draws, terms, agreement.selection)
        self._known[id(agreement), tuple(terms)] = agreement, prices  # The agreement is kept, so its id stays its own.
        return prices

    def _sheet(self, agreement: Agreement, compiled: CompiledBook, at: datetime) -> PriceSheet:
        if agreement.sheet_hash is not None:
            return self.sheets[agreement.sheet_hash]
        return PriceSheet(
            book_hash=agreement.book_hash, segment="default", epoch=0, effective_from=at, prices=()
        )  # Lists nothing: every feature at its list price.
