"""Quotes and the units they hold: rows <-> values, and the guarded moves between states."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, insert, select, update

from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.quote import FeatureSupplyRow, QuoteHoldRow, QuoteRow
from models.values.errors import NotFoundError
from pricing_engine.sealing import Disclosure, Sealed

_QUOTE = table_of(QuoteRow)
_HOLD = table_of(QuoteHoldRow)
_SUPPLY = table_of(FeatureSupplyRow)


@dataclass(frozen=True, slots=True)
class NewQuote:
    """A quote that was sealed just now and is open, but not stored yet."""

    id: str
    customer: str
    book_hash: str
    sheet_hash: str
    currency: str
    total: Decimal
    sealed: Sealed
    created_at: datetime
    expires_at: datetime
    state: str = "open"

    def stored(self) -> StoredQuote:
        """Return it as it is read back."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "sealed"}
        return StoredQuote(**fields, sealed=json.loads(self.sealed.text(Disclosure.AUDITOR)))


@dataclass(frozen=True, slots=True)
class StoredQuote:
    """A sealed quote (at auditor level, signature included) and where it stands."""

    id: str
    customer: str
    book_hash: str
    sheet_hash: str
    currency: str
    total: Decimal
    sealed: Mapping[str, Any]
    state: str
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None = None
    accept_key: str | None = None

    def seen_at(self, at: datetime) -> StoredQuote:
        """Return it as it stands at a time: over is over, whether or not somebody has noted it."""
        is_over = self.state == "open" and self.expires_at <= at
        return replace(self, state="expired") if is_over else self


@dataclass(frozen=True, slots=True)
class ListedQuote:
    """Where a quote stands, without its document."""

    id: str
    customer: str
    currency: str
    total: Decimal
    state: str
    created_at: datetime
    expires_at: datetime
    resolved_at: datetime | None


_CHUNK = 1_000
_FIELDS = [name for name in StoredQuote.__slots__ if name != "sealed"]


class QuoteRepository:
    """The quotes of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, quotes: Sequence[NewQuote]) -> None:
        """Store new open quotes."""
        rows = [
            {
                "tenant": self._uow.tenant,
                "id": quote.id,
                "customer": quote.customer,
                "book_hash": quote.book_hash,
                "sheet_hash": quote.sheet_hash,
                "currency": quote.currency,
                "total": quote.total,
                "quote_hash": quote.sealed.hash,
                "document": msgspec.Raw(quote.sealed.text(Disclosure.AUDITOR)),
                "state": quote.state,
                "created_at": quote.created_at,
                "expires_at": quote.expires_at,
            }
            for quote in quotes
        ]
        if rows:
            self._uow.connection.execute(insert(_QUOTE), rows)

    def get(self, quote_id: str) -> StoredQuote:
        """Return one quote. Raises NotFoundError."""
        row = self._uow.connection.execute(select(_QUOTE).where(self._is(quote_id))).mappings().first()
        if row is None:
            raise NotFoundError("no such quote", field="quote", value=quote_id, code="unknown_quote")
        return StoredQuote(**{name: row[name] for name in _FIELDS}, sealed=row["document"])

    def page(
        self, at: datetime, before: str | None, limit: int, customer: str | None = None, state: str | None = None
    ) -> list[ListedQuote]:
        """Return quotes before an id as they stand at a time, made last first: ids grow with time.

        Of one customer, or in one state, if given.
        """
        is_over = (_QUOTE.c.state == "open") & (_QUOTE.c.expires_at <= at)
        stands = case((is_over, "expired"), else_=_QUOTE.c.state)
        columns = [stands.label(name) if name == "state" else _QUOTE.c[name] for name in ListedQuote.__slots__]
        conditions = [
            None if before is None else _QUOTE.c.id < before,
            None if customer is None else _QUOTE.c.customer == customer,
            None if state is None else stands == state,
        ]
        query = select(*columns).where(_QUOTE.c.tenant == self._uow.tenant, *(c for c in conditions if c is not None))
        return [
            ListedQuote(*row) for row in self._uow.connection.execute(query.order_by(_QUOTE.c.id.desc()).limit(limit))
        ]

    def resolve(self, quote_id: str, state: str, at: datetime, accept_key: str | None = None) -> bool:
        """Move an open quote to its last state; False where it is not open any more."""
        changed = self._uow.connection.execute(
            update(_QUOTE)
            .where(self._is(quote_id), _QUOTE.c.state == "open")
            .values(state=state, resolved_at=at, accept_key=accept_key)
        )
        return changed.rowcount == 1

    def accepted_with(self, accept_key: str) -> str | None:
        """Return the quote that was accepted under a key, or None."""
        found: str | None = self._uow.connection.scalar(
            select(_QUOTE.c.id).where(_QUOTE.c.tenant == self._uow.tenant, _QUOTE.c.accept_key == accept_key)
        )
        return found

    def due_to_expire(self, at: datetime) -> list[str]:
        """Return the open quotes whose time is over."""
        rows = self._uow.connection.execute(
            select(_QUOTE.c.id)
            .where(_QUOTE.c.tenant == self._uow.tenant, _QUOTE.c.state == "open", _QUOTE.c.expires_at <= at)
            .order_by(_QUOTE.c.id)
        )
        return [row.id for row in rows]

    def of_books(
        self, book_hashes: Sequence[str], currency: str, after: datetime, before: datetime
    ) -> Iterator[StoredQuote]:
        """Yield the quotes on some price books made in [after, before), oldest first: what demand is learned from."""
        rows = self._uow.connection.execute(
            select(_QUOTE)
            .where(
                _QUOTE.c.tenant == self._uow.tenant,
                _QUOTE.c.book_hash.in_(book_hashes),
                _QUOTE.c.currency == currency,
                _QUOTE.c.created_at >= after,
                _QUOTE.c.created_at < before,
            )
            .order_by(_QUOTE.c.created_at, _QUOTE.c.id),
            execution_options={"yield_per": _CHUNK},
        )
        for row in rows.mappings():
            yield StoredQuote(**{name: row[name] for name in _FIELDS}, sealed=row["document"])

    def hold(self, quote_id: str, feature: str, units: int) -> bool:
        """Hold units of a limited feature; False where not so many are left. Atomic under any concurrency."""
        left = update(_SUPPLY).where(
            self._supply_of(feature), _SUPPLY.c.held + _SUPPLY.c.sold + units <= _SUPPLY.c.supply_limit
        )
        if self._uow.connection.execute(left.values(held=_SUPPLY.c.held + units)).rowcount == 0:
            return False
        self._uow.connection.execute(
            insert(_HOLD).values(tenant=self._uow.tenant, quote_id=quote_id, feature=feature, units=units)
        )
        return True

    def end_holds(self, quote_id: str, *, sold: bool) -> None:
        """End a quote's holds: the units are sold, or free again."""
        mine = and_(_HOLD.c.tenant == self._uow.tenant, _HOLD.c.quote_id == quote_id)
        rows = self._uow.connection.execute(
            select(_HOLD.c.feature, _HOLD.c.units).where(mine).order_by(_HOLD.c.feature)
        )
        for feature, units in rows.all():
            self._uow.connection.execute(
                update(_SUPPLY)
                .where(self._supply_of(feature))
                .values(held=_SUPPLY.c.held - units, sold=_SUPPLY.c.sold + (units if sold else 0))
            )
        self._uow.connection.execute(delete(_HOLD).where(mine))

    def _is(self, quote_id: str) -> ColumnElement[bool]:
        return and_(_QUOTE.c.tenant == self._uow.tenant, _QUOTE.c.id == quote_id)

    def _supply_of(self, feature: str) -> ColumnElement[bool]:
        return and_(_SUPPLY.c.tenant == self._uow.tenant, _SUPPLY.c.feature == feature)
