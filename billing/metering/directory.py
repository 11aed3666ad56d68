"""Who is known: the seam through which metering asks for meters and customers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from sqlalchemy import select

from billing.metering.counters import Counter, counters_of
from billing.metering.sets import AskedOften
from billing.repositories.price_books import PriceBookRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.catalog import PriceBookReleaseRow
from models.tables.customer import CustomerRow

_RELEASE = table_of(PriceBookReleaseRow)
_CUSTOMER = table_of(CustomerRow)


_VERSIONS = AskedOften(
    lambda tenant, _one_of: select(_RELEASE.c.content_hash).where(_RELEASE.c.tenant == tenant).distinct()
)
_KNOWN = AskedOften(
    lambda tenant, one_of: select(_CUSTOMER.c.key).where(_CUSTOMER.c.tenant == tenant, one_of(_CUSTOMER.c.key))
)


class MeterDirectory(Protocol):
    """What ingest has to know of the catalog and of the customers; asked within the ingesting transaction.

    Counters only ever become more: one that has begun counts for good.
    """

    def counters(self, uow: UnitOfWork) -> Mapping[str, tuple[Counter, ...]]:
        """Return, by event type, the counters of all meters that any price book in use has."""

    def known_customers(self, uow: UnitOfWork, customers: Collection[str]) -> set[str]:
        """Return those of `customers` that exist."""


class PriceBookDirectory:
    """Meters of every price-book version ever published, as subscriptions keep theirs; customers of the table.

    Versions never change, so the counters of one set of versions are worked out once. Safe to share by threads.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, frozenset[str]], Mapping[str, tuple[Counter, ...]]] = {}

    def counters(self, uow: UnitOfWork) -> Mapping[str, tuple[Counter, ...]]:
        """Return the counters by event type."""
        versions = frozenset(_VERSIONS(uow).scalars())
        counters = self._known.get((uow.tenant, versions))
        if counters is None:
            books = PriceBookRepository(uow)
            counters = counters_of(meter for version in sorted(versions) for meter in books.get(version).book.meters)
            stale = [known for known in self._known if known[0] == uow.tenant]
            self._known[uow.tenant, versions] = counters
            for known in stale:
                self._known.pop(known, None)
        return counters

    def known_customers(self, uow: UnitOfWork, customers: Collection[str]) -> set[str]:
        """Return those of `customers` that exist."""
        return set(_KNOWN(uow, customers).scalars())
