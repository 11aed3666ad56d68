"""Charges and rated usage: rows <-> values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, bindparam, func, insert, select, update

from billing.charges import ChargeDraft
from billing.credited import credited_before_coupons
from billing.metering.sets import members
from billing.rated_usage import Billed, Key, Kind, RatedUsage, with_more
from billing.repositories.credit_notes import CreditNoteRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import (
    ChargeRow,
    CouponUseRow,
    CreditNoteRow,
    InvoiceLineRow,
    InvoiceLineSourceRow,
    InvoiceRow,
    RatedUsageRow,
)
from models.values.period import Period

_CHARGE = table_of(ChargeRow)
_RATED = table_of(RatedUsageRow)
_COUPON_USE = table_of(CouponUseRow)
_INVOICE = table_of(InvoiceRow)
_LINE = table_of(InvoiceLineRow)
_SOURCE = table_of(InvoiceLineSourceRow)
_NOTE = table_of(CreditNoteRow)
_ZERO = Decimal(0)
_COMPARED = (Kind.USAGE, Kind.RECURRING, Kind.COMMITMENT)


@dataclass(frozen=True, slots=True)
class Charge:
    """A posted charge: its exact sum and the ledger units it came to."""

    id: str
    customer: str
    currency: str
    kind: str
    period: str
    known_at: datetime
    cutoff: datetime
    exact: Decimal
    units: int
    invoice: str | None


class ChargeRepository:
    """The charges of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, posted: Sequence[tuple[ChargeDraft, int]], at: datetime) -> None:
        """Store charges with the ledger units each came to."""
        if not posted:
            return
        tenant = self._uow.tenant
        charges = [
            {
                "tenant": tenant,
                "id": draft.id,
                "customer": draft.customer,
                "currency": draft.currency,
                "kind": draft.kind,
                "period": draft.period,
                "known_at": draft.known_at,
                "cutoff": draft.cutoff,
                "exact": draft.exact,
                "units": units,
                "invoice": None,
                "recorded_at": at,
            }
            for draft, units in posted
        ]
        self._uow.connection.execute(insert(_CHARGE), charges)
        rows = [
            _rated_values(tenant, draft.id, position, row)
            for draft, _ in posted
            for position, row in enumerate(draft.rows)
        ]
        if rows:
            self._uow.connection.execute(insert(_RATED), rows)
        uses = [
            {
                "tenant": tenant,
                "customer": draft.customer,
                "code": use.code,
                "charge": draft.id,
                "amount_minor": use.amount_minor,
            }
            for draft, _ in posted
            for use in draft.coupons
        ]
        if uses:
            self._uow.connection.execute(insert(_COUPON_USE), uses)

    def find(self, charge: str) -> Charge | None:
        """Return one charge."""
        query = select(_CHARGE).where(_CHARGE.c.tenant == self._uow.tenant, _CHARGE.c.id == charge)
        row = self._uow.connection.execute(query).one_or_none()
        return None if row is None else _charge(row)

    def open(self, customers: Collection[str]) -> list[Charge]:
        """Return the charges of some customers that no live invoice has taken up, by customer and id."""
        query = select(_CHARGE).where(
            _CHARGE.c.tenant == self._uow.tenant,
            members(self._uow, _CHARGE.c.customer, customers),
            _CHARGE.c.invoice.is_(None),
        )
        return sorted(map(_charge, self._uow.connection.execute(query)), key=_order)

    def of_invoices(self, invoices: Collection[str]) -> list[Charge]:
        """Return the charges that some live invoices took up, by customer and id."""
        query = select(_CHARGE).where(
            _CHARGE.c.tenant == self._uow.tenant, members(self._uow, _CHARGE.c.invoice, invoices)
        )
        return sorted(map(_charge, self._uow.connection.execute(query)), key=_order)

    def of_period(self, customers: Collection[str], period: str) -> list[Charge]:
        """Return all that was charged to some customers for a month, by customer and time."""
        query = select(_CHARGE).where(
            _CHARGE.c.tenant == self._uow.tenant,
            members(self._uow, _CHARGE.c.customer, customers),
            _CHARGE.c.period == period,
        )
        return sorted(map(_charge, self._uow.connection.execute(query)), key=_order)

    def take_up(self, charges: Sequence[tuple[str, str | None]]) -> None:
        """Say which invoice has taken each charge up; None releases it."""
        if charges:
            statement = (
                update(_CHARGE)
                .where(_CHARGE.c.tenant == self._uow.tenant, _CHARGE.c.id == bindparam("charge_id"))
                .values(invoice=bindparam("new_invoice"))
            )
            pairs = [{"charge_id": charge, "new_invoice": invoice} for charge, invoice in charges]
            self._uow.connection.execute(statement, pairs)

    def charged_and_credited(self, customers: Collection[str]) -> tuple[int, int]:
        """Count the charges and the credit notes of some customers: neither ever gets fewer."""
        charges = select(func.count()).where(
            _CHARGE.c.tenant == self._uow.tenant, members(self._uow, _CHARGE.c.customer, customers)
        )
        notes = select(func.count()).where(
            _NOTE.c.tenant == _INVOICE.c.tenant,
            _NOTE.c.invoice == _INVOICE.c.id,
            _INVOICE.c.tenant == self._uow.tenant,
            members(self._uow, _INVOICE.c.customer, customers),
        )
        row = self._uow.connection.execute(select(charges.scalar_subquery(), notes.scalar_subquery())).one()
        return int(row[0]), int(row[1])

    def rows(self, charges: Collection[str]) -> Iterator[tuple[str, int, RatedUsage]]:
        """Yield (charge, position, rated usage) in that order."""
        query = select(_RATED).where(_RATED.c.tenant == self._uow.tenant, members(self._uow, _RATED.c.charge, charges))
        found = sorted(self._uow.connection.execute(query), key=lambda row: (row.charge, row.position))
        for row in found:
            yield row.charge, row.position, _rated(row)

    def row(self, charge: str, position: int) -> RatedUsage:
        """Return one rated usage."""
        query = select(_RATED).where(
            _RATED.c.tenant == self._uow.tenant, _RATED.c.charge == charge, _RATED.c.position == position
        )
        return _rated(self._uow.connection.execute(query).one())

    def billed(
        self,
        subscriptions: Collection[str],
        since: datetime,
        *,
        before_period: str | None = None,
        credited_until: datetime | None = None,
    ) -> dict[str, dict[Key, Billed]]:
        """Return by subscription what was billed for billing periods that end after `since`, summed by key.

        Coupons and additions stay out: they are not differences. `before_period`: only by charges of earlier months.
        `credited_until`: with the credit notes recorded up to then, all of them where it is None.
        """
        rows = list(self._of_subscriptions(subscriptions, since, before_period))
        notes = CreditNoteRepository(self._uow).of_charges({charge for charge, _, _ in rows}, credited_until)
        credited = credited_before_coupons(rows, notes)
        found: dict[str, dict[Key, Billed]] = {}
        for charge, position, rated in rows:
            if rated.kind in _COMPARED:
                by_key = found.setdefault(rated.subscription or "", {})
                gone = credited.get((charge, position), _ZERO)
                by_key[rated.key] = with_more(by_key.get(rated.key), rated, charge, gone)
        return found

    def nets(self, charges: Collection[str]) -> dict[tuple[str, int], int]:
        """Return by charge and position what rated usage comes to on its finalised invoice, in minor units."""
        invoice = (_INVOICE.c.tenant == _CHARGE.c.tenant) & (_INVOICE.c.id == _CHARGE.c.invoice)
        source = (_SOURCE.c.tenant == _CHARGE.c.tenant) & (_SOURCE.c.invoice == _CHARGE.c.invoice)
        line = (_LINE.c.tenant == _SOURCE.c.tenant) & (_LINE.c.invoice == _SOURCE.c.invoice)
        query = (
            select(_SOURCE.c.charge, _SOURCE.c.position, _LINE.c.net_minor)
            .select_from(_CHARGE)
            .join(_INVOICE, invoice)
            .join(_SOURCE, source & (_SOURCE.c.charge == _CHARGE.c.id))
            .join(_LINE, line & (_LINE.c.line == _SOURCE.c.line))
            .where(
                _CHARGE.c.tenant == self._uow.tenant,
                members(self._uow, _CHARGE.c.id, charges),
                _INVOICE.c.state != "draft",
            )
        )
        return {(row.charge, row.position): row.net_minor for row in self._uow.connection.execute(query)}

    def of_turns(self, subscriptions: Collection[str], since: datetime) -> list[tuple[str, int, RatedUsage]]:
        """Return (charge, position, rated usage) of all that was billed for billing periods that end after `since`."""
        return list(self._of_subscriptions(subscriptions, since, None))

    def billed_by_turn(
        self, subscriptions: Collection[str], since: datetime, *, before_period: str | None = None
    ) -> dict[tuple[str | None, Period], list[RatedUsage]]:
        """Return by subscription and billing period all that was billed of it, coupons included."""
        found: dict[tuple[str | None, Period], list[RatedUsage]] = {}
        for _, _, rated in self._of_subscriptions(subscriptions, since, before_period):
            found.setdefault((rated.subscription, rated.cycle), []).append(rated)
        return found

    def _of_subscriptions(
        self, subscriptions: Collection[str], since: datetime, before_period: str | None
    ) -> Iterator[tuple[str, int, RatedUsage]]:
        """Yield (charge, position, what was billed) for billing periods that end after `since`, in order of runs."""
        query = select(_RATED).where(
            _RATED.c.tenant == self._uow.tenant,
            members(self._uow, _RATED.c.subscription, subscriptions),
            _RATED.c.cycle_end > since,
        )
        yield from self._in_order(query, before_period)

    def _in_order(self, query: Select[Any], before_period: str | None = None) -> Iterator[tuple[str, int, RatedUsage]]:
        rows = self._uow.connection.execute(query).all()
        order = self._run_order({row.charge for row in rows}, before_period)
        counted = [row for row in rows if row.charge in order]
        for row in sorted(counted, key=lambda row: (order[row.charge], row.position)):
            yield row.charge, row.position, _rated(row)

    def billed_ahead(
        self, subscriptions: Collection[str], since: datetime
    ) -> dict[str, list[tuple[str, int, RatedUsage]]]:
        """Return by subscription, in order of the runs, (charge, position, row) of what was billed for after `since`.

        Of each stretch that was billed in advance all rows, with earlier ones, corrections and coupons.
        """
        ahead = select(_RATED.c.subscription, _RATED.c.feature, _RATED.c.segment_start).where(
            _RATED.c.tenant == self._uow.tenant,
            members(self._uow, _RATED.c.subscription, subscriptions),
            _RATED.c.cycle_end > since,
            _RATED.c.service_end > since,
            _RATED.c.in_advance,
        )
        keys = ahead.distinct().subquery()
        query = select(_RATED).join(
            keys,
            (_RATED.c.subscription == keys.c.subscription)
            & (_RATED.c.feature == keys.c.feature)
            & (_RATED.c.segment_start == keys.c.segment_start)
            & (_RATED.c.cycle_end > keys.c.segment_start),  # Always so; the index finds them by it.
        )
        found: dict[str, list[tuple[str, int, RatedUsage]]] = {}
        for charge, position, row in self._in_order(query.where(_RATED.c.tenant == self._uow.tenant)):
            found.setdefault(row.subscription or "", []).append((charge, position, row))
        return found

    def _run_order(self, charges: Collection[str], before_period: str | None) -> dict[str, tuple[datetime, str]]:
        """Return when each charge was made, to sum in that order; those of `before_period` and later are left out."""
        if not charges:
            return {}
        query = select(_CHARGE.c.id, _CHARGE.c.known_at).where(
            _CHARGE.c.tenant == self._uow.tenant, members(self._uow, _CHARGE.c.id, charges)
        )
        if before_period is not None:
            query = query.where(_CHARGE.c.period < before_period)
        return {row.id: (row.known_at, row.id) for row in self._uow.connection.execute(query)}


def _order(charge: Charge) -> tuple[str, datetime, str]:
    return charge.customer, charge.known_at, charge.id


def _charge(row: Any) -> Charge:  # noqa: ANN401
    return Charge(**{name: getattr(row, name) for name in Charge.__slots__})


def _rated_values(tenant: str, charge: str, position: int, row: RatedUsage) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "charge": charge,
        "position": position,
        "subscription": row.subscription,
        "feature": row.feature,
        "kind": row.kind.value,
        "in_advance": row.in_advance,
        "cycle_start": row.cycle.start,
        "cycle_end": row.cycle.end,
        "segment_start": row.segment_start,
        "service_start": row.service.start,
        "service_end": row.service.end,
        "quantity": row.quantity,
        "prorated_units": row.prorated_units,
        "list_amount": row.list_amount,
        "amount": row.amount,
        "cost": row.cost,
        "tax_category": row.tax_category,
        "book_hash": row.book_hash,
        "corrects": row.corrects,
        "detail": dict(row.detail),
    }


def _rated(row: Any) -> RatedUsage:  # noqa: ANN401
    return RatedUsage(
        subscription=row.subscription,
        feature=row.feature,
        kind=Kind(row.kind),
        in_advance=row.in_advance,
        cycle=Period(row.cycle_start, row.cycle_end),
        segment_start=row.segment_start,
        service=Period(row.service_start, row.service_end),
        quantity=row.quantity,
        prorated_units=row.quantity if row.prorated_units is None else row.prorated_units,
        list_amount=row.list_amount,
        amount=row.amount,
        cost=row.cost,
        tax_category=row.tax_category,
        book_hash=row.book_hash,
        corrects=row.corrects,
        detail=row.detail,
    )
