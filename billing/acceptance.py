"""Acceptance: the quote is accepted and its subscription starts, in one transaction, exactly once."""

from __future__ import annotations

from datetime import datetime

from billing.phases import Subscription
from billing.quotes import accept_quote
from billing.subscriptions import SubscriptionTerms, start_from_quote
from billing.unit_of_work import UnitOfWork


def accept_and_subscribe(
    uow: UnitOfWork,
    quote_id: str,
    accept_key: str,
    at: datetime,
    terms: SubscriptionTerms | None = None,
    *,
    actor: str = "",
) -> Subscription:
    """Accept a quote and start its subscription at `at`; the same key again returns what is there.

    Raises QuoteExpiredError, QuoteResolvedError, NotFoundError.
    """
    quote, _ = accept_quote(uow, quote_id, accept_key, at)
    return start_from_quote(uow, quote, quote.resolved_at or at, at, terms, actor=actor)
