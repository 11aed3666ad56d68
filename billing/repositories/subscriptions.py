"""Subscriptions and their phases: rows <-> values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Text, insert, select, type_coerce
from sqlalchemy.dialects import postgresql, sqlite

from billing.metering.sets import members
from billing.phases import (
    NO_THRESHOLDS,
    Phase,
    PhaseState,
    Subscription,
    agreement_document,
    read_agreement,
    thresholds_document,
)
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.subscription import SubscriptionPhaseRow, SubscriptionRow
from models.values.canonical_json import canonical_bytes
from models.values.errors import NotFoundError

_SUBSCRIPTION = table_of(SubscriptionRow)
_PHASE = table_of(SubscriptionPhaseRow)
_NO_THRESHOLDS = canonical_bytes(thresholds_document(NO_THRESHOLDS)).decode()


class SubscriptionRepository:
    """The subscriptions of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, subscription: Subscription, at: datetime) -> bool:
        """Store a new subscription with its phases; False where its id is there, whoever stored it."""
        statement = (sqlite if self._uow.is_sqlite else postgresql).insert(_SUBSCRIPTION).on_conflict_do_nothing()
        added = self._uow.connection.execute(
            statement.values(
                tenant=self._uow.tenant,
                id=subscription.id,
                customer=subscription.customer,
                currency=subscription.currency,
                starts_at=subscription.starts_at,
                trial_ends_at=subscription.trial_ends_at,
                recorded_at=at,
            ).returning(_SUBSCRIPTION.c.id)
        ).first()
        if added is None:
            return False
        for phase in subscription.phases:
            self.add_phase(subscription.id, phase)
        return True

    def lock(self, subscription: str) -> None:
        """Let nobody else change a subscription until the transaction ends. SQLite has one writer anyway."""
        query = select(_SUBSCRIPTION.c.id).where(
            _SUBSCRIPTION.c.tenant == self._uow.tenant, _SUBSCRIPTION.c.id == subscription
        )
        self._uow.connection.execute(query.with_for_update(key_share=True)).all()

    def add_phase(self, subscription: str, phase: Phase) -> None:
        """Append a phase; the database refuses a sequence that is there already."""
        self._uow.facts_change()
        agreement = phase.agreement
        self._uow.connection.execute(
            insert(_PHASE).values(
                tenant=self._uow.tenant,
                subscription=subscription,
                sequence=phase.sequence,
                starts_at=phase.starts_at,
                state=phase.state.value,
                action=phase.action,
                book_hash=agreement.book_hash,
                sheet_hash=agreement.sheet_hash,
                quote_id=agreement.quote_id,
                document=agreement_document(agreement),
                reason=phase.reason,
                actor=phase.actor,
                recorded_at=phase.recorded_at,
            )
        )

    def get(self, subscription: str) -> Subscription:
        """Return one subscription. Raises NotFoundError."""
        found = self.find(subscription)
        if found is None:
            raise NotFoundError(
                "no such subscription", field="subscription", value=subscription, code="unknown_subscription"
            )
        return found

    def find(self, subscription: str) -> Subscription | None:
        """Return one subscription, or None."""
        query = select(_SUBSCRIPTION).where(
            _SUBSCRIPTION.c.tenant == self._uow.tenant, _SUBSCRIPTION.c.id == subscription
        )
        return next(iter(self._read(self._uow.connection.execute(query).all())), None)

    def of_customers(self, customers: Collection[str]) -> list[Subscription]:
        """Return the subscriptions of some customers, by customer and id."""
        query = select(_SUBSCRIPTION).where(
            _SUBSCRIPTION.c.tenant == self._uow.tenant, members(self._uow, _SUBSCRIPTION.c.customer, customers)
        )
        return self._read(self._uow.connection.execute(query).all())

    def page(self, after: str, limit: int, customer: str | None = None) -> list[Subscription]:
        """Return the subscriptions beyond an id, by id, of one customer where given."""
        query = select(_SUBSCRIPTION).where(_SUBSCRIPTION.c.tenant == self._uow.tenant, _SUBSCRIPTION.c.id > after)
        if customer is not None:
            query = query.where(_SUBSCRIPTION.c.customer == customer)
        found = self._read(self._uow.connection.execute(query.order_by(_SUBSCRIPTION.c.id).limit(limit)).all())
        return sorted(found, key=lambda each: each.id)

    def customers(self) -> list[str]:
        """Return every customer that has, or had, a subscription, in order."""
        query = select(_SUBSCRIPTION.c.customer).where(_SUBSCRIPTION.c.tenant == self._uow.tenant).distinct()
        return sorted(self._uow.connection.execute(query).scalars())

    def customers_with_thresholds(self) -> list[str]:
        """Return every customer with a subscription of which a phase names thresholds, in order."""
        named = type_coerce(_PHASE.c.document, Text).not_like(f'%"thresholds":{_NO_THRESHOLDS}%')
        query = (
            select(_SUBSCRIPTION.c.customer)
            .join(_PHASE, (_PHASE.c.tenant == _SUBSCRIPTION.c.tenant) & (_PHASE.c.subscription == _SUBSCRIPTION.c.id))
            .where(_SUBSCRIPTION.c.tenant == self._uow.tenant, named)
            .distinct()
        )
        return sorted(self._uow.connection.execute(query).scalars())

    def _read(self, rows: Iterable[Any]) -> list[Subscription]:
        found = sorted(rows, key=lambda row: (row.customer, row.id))
        phases: dict[str, list[Phase]] = {row.id: [] for row in found}
        query = select(_PHASE).where(
            _PHASE.c.tenant == self._uow.tenant, members(self._uow, _PHASE.c.subscription, list(phases))
        )
        for row in self._uow.connection.execute(query):
            phases[row.subscription].append(_phase(row))
        return [
            Subscription(
                id=row.id,
                customer=row.customer,
                currency=row.currency,
                starts_at=row.starts_at,
                trial_ends_at=row.trial_ends_at,
                phases=tuple(sorted(phases[row.id], key=lambda phase: phase.sequence)),
            )
            for row in found
        ]


def _phase(row: Any) -> Phase:  # noqa: ANN401
    return Phase(
        sequence=row.sequence,
        starts_at=row.starts_at,
        state=PhaseState(row.state),
        action=row.action,
        agreement=read_agreement(
            row.document, book_hash=row.book_hash, sheet_hash=row.sheet_hash, quote_id=row.quote_id
        ),
        reason=row.reason,
        actor=row.actor,
        recorded_at=row.recorded_at,
    )
