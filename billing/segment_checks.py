"""Whether a book's segments tell what must not set prices: checked with the company's own data, which is not kept."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from billing.repositories.customers import CustomerRepository
from billing.repositories.demand_models import DemandModelRepository
from billing.unit_of_work import UnitOfWork
from pricing_engine.demand.fairness import SEGMENT, ProxyCheck, check_proxies, read_proxy_check
from pricing_engine.price_book import PriceBook

CUSTOMER = "customer"
_LOOKED_THROUGH = 20


def segment_check(uow: UnitOfWork, book: PriceBook, attributes: pl.DataFrame | None, at: datetime) -> ProxyCheck | None:
    """Check a book's segments, or return what the last check found that prices still follow; None without any.

    `attributes`: `CUSTOMER` and one column an attribute, texts, null where unknown. Customers that are not known here
    are left out. Raises InvalidValueError where too little is known.
    """
    if attributes is None:
        return _last_check(uow, book)
    priced_as = {each.key: book.segmentation.priced_as(each.segment) for each in CustomerRepository(uow).all()}
    known = attributes.filter(pl.col(CUSTOMER).is_in(list(priced_as)))
    segments = pl.col(CUSTOMER).replace_strict(priced_as, return_dtype=pl.String).alias(SEGMENT)
    return check_proxies(known.with_columns(segments).drop(CUSTOMER), book.segmentation, at)


def _last_check(uow: UnitOfWork, book: PriceBook) -> ProxyCheck | None:
    cards = (head.card for head in DemandModelRepository(uow).heads(book.key, _LOOKED_THROUGH) if head.card)
    kept = next(cards, {}).get("proxies")
    return None if kept is None else read_proxy_check(kept).still_used(book.segmentation)
