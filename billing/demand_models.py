"""Fitted demand models: what they learned from, read again; kept with their card, one model under one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from billing.demand_log import read_quote_log
from billing.repositories.demand_models import DemandModelRepository, StoredModel
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError, RuleBrokenError
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.price_book import PriceBook


@dataclass(frozen=True, slots=True)
class LogWindow:
    """Which quotes: made in [after, before), as they stood at its end; see `read_quote_log`."""

    after: datetime
    before: datetime
    silence_is_refusal: bool = False

    def read(
        self, uow: UnitOfWork, book: PriceBook, progress: Callable[[int], None] = lambda _read: None
    ) -> pl.DataFrame:
        """Return the log of a book's quotes."""
        return read_quote_log(
            uow, book, self.after, self.before, silence_is_refusal=self.silence_is_refusal, progress=progress
        )


def window_of(model: StoredModel) -> LogWindow:
    """Return what a model learned from, as it stood then."""
    return LogWindow(model.learned_from, model.learned_until, model.silence_is_refusal)


def kept_model(uow: UnitOfWork, book_key: str, version: int | None = None) -> StoredModel:
    """Return a book's model by its version, by default the newest. Raises NotFoundError."""
    models = DemandModelRepository(uow)
    found = models.newest(book_key) if version is None else models.get(book_key, version)
    if found is None:
        raise NotFoundError("nothing was fitted yet", field="model", code="unknown_demand_model")
    return found


def trusted_model(uow: UnitOfWork, book_key: str, version: int | None = None) -> StoredModel:
    """Return a book's model to work with. Raises NotFoundError, RuleBrokenError for one not to be believed."""
    model = kept_model(uow, book_key, version)
    if model.distrust:
        raise RuleBrokenError(
            f"must not be relied on: {model.distrust}", field="model", value=model.version, code="distrusted_model"
        )
    return model


def keep_model(
    uow: UnitOfWork,
    book_key: str,
    posterior: FeaturePosterior,
    window: LogWindow,
    at: datetime,
    *,
    card: Mapping[str, Any] | None = None,
) -> StoredModel:
    """Store a model fitted on a window under the next version of its book.

    The same model again changes nothing, unless its card tells of another check of its segments.
    """
    models = DemandModelRepository(uow)
    known = models.find(book_key, posterior.content_hash)
    if known is not None:
        if card is None or known.card is None or card["proxies"] == known.card.get("proxies"):
            return known
        models.judge(known, card)
        return replace(known, card=card)
    newest = models.newest(book_key)
    model = StoredModel(
        book_key=book_key,
        version=1 if newest is None else newest.version + 1,
        content_hash=posterior.content_hash,
        posterior=posterior,
        learned_from=window.after,
        learned_until=window.before,
        silence_is_refusal=window.silence_is_refusal,
        recorded_at=at,
        card=card,
    )
    models.add(model)
    return model
