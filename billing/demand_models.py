"""Keeping fitted demand models: numbered for each price book, one model under one number."""

from __future__ import annotations

from datetime import datetime

from billing.repositories.demand_models import DemandModelRepository, StoredModel
from billing.unit_of_work import UnitOfWork
from pricing_engine.demand.feature_posterior import FeaturePosterior


def keep_model(
    uow: UnitOfWork,
    book_key: str,
    posterior: FeaturePosterior,
    learned: tuple[datetime, datetime],
    at: datetime,
    *,
    silence_is_refusal: bool,
) -> StoredModel:
    """Store a fitted model under the next version of its book; the same model again changes nothing.

    `learned`: from when, inclusive, until when, exclusive, the quotes were made that it was fitted on.
    """
    models = DemandModelRepository(uow)
    known = models.find(book_key, posterior.content_hash)
    if known is not None:
        return known
    newest = models.newest(book_key)
    model = StoredModel(
        book_key=book_key,
        version=1 if newest is None else newest.version + 1,
        content_hash=posterior.content_hash,
        posterior=posterior,
        learned_from=learned[0],
        learned_until=learned[1],
        silence_is_refusal=silence_is_refusal,
        recorded_at=at,
    )
    models.add(model)
    return model
