"""Customers, legal entities and negotiated terms: rows <-> values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, insert, select, update

from billing.customers import Customer, LegalEntity
from billing.metering.sets import members
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.customer import CustomerRow, LegalEntityRow, NegotiatedTermRow
from models.values.errors import NotFoundError
from pricing_engine.negotiated_terms import NegotiatedTerm, parse_term, term_document

_CUSTOMER = table_of(CustomerRow)
_ENTITY = table_of(LegalEntityRow)
_TERM = table_of(NegotiatedTermRow)
_CUSTOMER_FIELDS = [field.name for field in fields(Customer)]
_ENTITY_FIELDS = [field.name for field in fields(LegalEntity)]

# Made once: every quote asks both, and to build a statement takes longer than to run it.
_FIND = select(*[_CUSTOMER.c[name] for name in _CUSTOMER_FIELDS]).where(
    _CUSTOMER.c.tenant == bindparam("of"), _CUSTOMER.c.key == bindparam("customer")
)
_TERMS = (
    select(_TERM.c.document)
    .where(_TERM.c.tenant == bindparam("of"), _TERM.c.customer == bindparam("customer"))
    .order_by(_TERM.c.starts_at, _TERM.c.id)
)


class CustomerRepository:
    """The customers of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def get(self, key: str) -> Customer:
        """Return one customer. Raises NotFoundError."""
        found = self.find(key)
        if found is None:
            raise NotFoundError("no such customer", field="customer", value=key, code="unknown_customer")
        return found

    def find(self, key: str) -> Customer | None:
        """Return one customer, or None."""
        row = self._uow.connection.execute(_FIND, {"of": self._uow.tenant, "customer": key}).first()
        return None if row is None else Customer(*row)

    def many(self, keys: Collection[str]) -> dict[str, Customer]:
        """Return those of some customers that exist, by key."""
        rows = self._uow.connection.execute(
            select(_CUSTOMER).where(
                _CUSTOMER.c.tenant == self._uow.tenant, members(self._uow, _CUSTOMER.c.key, sorted(keys))
            )
        ).mappings()
        return {row["key"]: Customer(**{name: row[name] for name in _CUSTOMER_FIELDS}) for row in rows}

    def all(self) -> list[Customer]:
        """Return every customer by key."""
        table = _CUSTOMER
        rows = self._uow.connection.execute(
            select(table).where(table.c.tenant == self._uow.tenant).order_by(table.c.key)
        ).mappings()
        return [Customer(**{name: row[name] for name in _CUSTOMER_FIELDS}) for row in rows]

    def page(self, after: str, limit: int) -> list[Customer]:
        """Return the customers that follow a key, by key."""
        rows = self._uow.connection.execute(
            select(_CUSTOMER)
            .where(_CUSTOMER.c.tenant == self._uow.tenant, _CUSTOMER.c.key > after)
            .order_by(_CUSTOMER.c.key)
            .limit(limit)
        ).mappings()
        return [Customer(**{name: row[name] for name in _CUSTOMER_FIELDS}) for row in rows]

    def save(self, customers: Iterable[Customer], at: datetime) -> None:
        """Add customers, or change those that are there. Raises NotFoundError for an unknown legal entity."""
        self._uow.facts_change()
        entities = {entity.key for entity in self.legal_entities()}
        for customer in customers:
            if customer.legal_entity not in entities:
                raise NotFoundError("no such legal entity", field="customer.legal_entity", value=customer.legal_entity)
            values: dict[str, Any] = {**asdict(customer), "recorded_at": at}
            changed = self._uow.connection.execute(update(_CUSTOMER).where(self._is(customer.key)).values(values))
            if changed.rowcount == 0:
                self._uow.connection.execute(insert(_CUSTOMER).values(tenant=self._uow.tenant, **values))

    def legal_entities(self) -> list[LegalEntity]:
        """Return every legal entity by key."""
        table = _ENTITY
        rows = self._uow.connection.execute(
            select(table).where(table.c.tenant == self._uow.tenant).order_by(table.c.key)
        ).mappings()
        return [LegalEntity(**{name: row[name] for name in _ENTITY_FIELDS}) for row in rows]

    def legal_entity(self, key: str) -> LegalEntity:
        """Return one legal entity. Raises NotFoundError."""
        for entity in self.legal_entities():
            if entity.key == key:
                return entity
        raise NotFoundError("no such legal entity", field="legal_entity", value=key)

    def save_legal_entity(self, entity: LegalEntity) -> None:
        """Add a legal entity, or change it."""
        table = _ENTITY
        mine = and_(table.c.tenant == self._uow.tenant, table.c.key == entity.key)
        changed = self._uow.connection.execute(update(table).where(mine).values(asdict(entity)))
        if changed.rowcount == 0:
            self._uow.connection.execute(insert(table).values(tenant=self._uow.tenant, **asdict(entity)))

    def add_term(self, term_id: str, customer: str, term: NegotiatedTerm, at: datetime) -> None:
        """Record a negotiated term. Raises NotFoundError for an unknown customer."""
        self.get(customer)
        self._uow.facts_change()
        self._uow.connection.execute(
            insert(_TERM).values(
                tenant=self._uow.tenant,
                id=term_id,
                customer=customer,
                feature=term.feature,
                document=term_document(term),
                reason=term.reason,
                approver=term.approver,
                starts_at=term.starts_at,
                ends_at=term.ends_at,
                recorded_at=at,
            )
        )

    def terms(self, customer: str) -> Sequence[NegotiatedTerm]:
        """Return all terms of a customer, oldest first."""
        rows = self._uow.connection.execute(_TERMS, {"of": self._uow.tenant, "customer": customer})
        return [parse_term(row.document) for row in rows]

    def _is(self, key: str) -> ColumnElement[bool]:
        return and_(_CUSTOMER.c.tenant == self._uow.tenant, _CUSTOMER.c.key == key)
