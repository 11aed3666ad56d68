"""Rows of what we know of the provider's side: invoices being collected, lines, customers, facts already told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, update

from billing.collection import DisputePhase
from billing.metering.sets import members
from billing.repositories.inserting import insert_new
from billing.stripe.carry_over import Obligation
from billing.stripe.status import FINAL, CollectionStatus
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import InvoiceRow
from models.tables.outbox import StripeCustomerRow, StripeFactRow, StripeInvoiceRow, StripeLineRow
from models.values.errors import NotFoundError

INVOICE = table_of(StripeInvoiceRow)
LINE = table_of(StripeLineRow)
CUSTOMER = table_of(StripeCustomerRow)
FACT = table_of(StripeFactRow)
_OURS = table_of(InvoiceRow)


@dataclass(frozen=True, slots=True)
class Collecting:
    """Where collecting one invoice stands; amounts in minor units."""

    invoice_id: str
    number: str
    customer: str
    currency: str
    method: str
    total_minor: int
    settled_minor: int
    carried_in_minor: int
    collect_minor: int
    carried_out_minor: int
    carried_into: str | None
    incarnation: int
    stripe_id: str | None
    status: CollectionStatus
    paid_minor: int
    failed_attempts: int
    next_attempt_at: datetime | None
    needs_review: str | None
    created_at: datetime

    @property
    def obligation(self) -> Obligation:
        """What this invoice adds to what a payment is for."""
        return Obligation(self.invoice_id, self.total_minor - self.settled_minor, self.collect_minor)


def add_invoice(uow: UnitOfWork, **columns: object) -> None:
    """Write the row of an invoice that is to be collected."""
    uow.connection.execute(insert(INVOICE).values(tenant=uow.tenant, **columns))


def invoice(uow: UnitOfWork, invoice_id: str, *, lock: bool = False) -> Collecting:
    """Return where an invoice stands. Raises NotFoundError for one that was never handed over."""
    found = _invoices(uow, INVOICE.c.invoice_id == invoice_id, lock=lock)
    if not found:
        raise NotFoundError(
            "was not handed over for collection", field="invoice", value=invoice_id, code="not_handed_over"
        )
    return found[0]


def has_invoice(uow: UnitOfWork, invoice_id: str) -> bool:
    """Whether the invoice was handed over."""
    return bool(_invoices(uow, INVOICE.c.invoice_id == invoice_id))


def invoice_by_stripe_id(uow: UnitOfWork, stripe_id: str) -> Collecting | None:
    """Return the invoice that the provider knows by this id."""
    return next(iter(_invoices(uow, INVOICE.c.stripe_id == stripe_id)), None)


def invoices_of(uow: UnitOfWork, invoice_ids: Collection[str]) -> list[Collecting]:
    """Return those of these invoices that were handed over, oldest first."""
    return _invoices(uow, members(uow, INVOICE.c.invoice_id, invoice_ids))


def invoices_of_customer(uow: UnitOfWork, customer: str, currency: str) -> list[Collecting]:
    """Return a customer's invoices in one currency that were handed over, oldest first."""
    return _invoices(uow, INVOICE.c.customer == customer, INVOICE.c.currency == currency)


def invoices_since(uow: UnitOfWork, since: datetime) -> list[Collecting]:
    """Return invoices handed over since then, oldest first."""
    return _invoices(uow, INVOICE.c.created_at >= since)


def invoices_to_charge(uow: UnitOfWork, now: datetime) -> list[Collecting]:
    """Return open invoices whose next attempt at charging is due."""
    return _invoices(uow, INVOICE.c.status == CollectionStatus.OPEN.value, INVOICE.c.next_attempt_at <= now, lock=True)


def next_charge(uow: UnitOfWork) -> datetime | None:
    """Return when the next attempt at charging is due."""
    query = select(func.min(INVOICE.c.next_attempt_at)).where(
        INVOICE.c.tenant == uow.tenant, INVOICE.c.status == CollectionStatus.OPEN.value
    )
    due: datetime | None = uow.connection.execute(query).scalar_one()
    return due


def carried_for(uow: UnitOfWork, customer: str, currency: str) -> list[Collecting]:
    """Return, locked, the invoices whose carried amount no later invoice has taken up."""
    return _invoices(
        uow,
        INVOICE.c.customer == customer,
        INVOICE.c.currency == currency,
        INVOICE.c.carried_out_minor > 0,
        INVOICE.c.carried_into.is_(None),
        lock=True,
    )


def carried_into(uow: UnitOfWork, invoice_ids: Iterable[str]) -> list[Collecting]:
    """Return the invoices whose carried amount these took up."""
    return _invoices(uow, INVOICE.c.carried_into.in_(list(invoice_ids)))


def carried(uow: UnitOfWork) -> set[str]:
    """Return the invoices whose whole amount is carried over to a later one, which has not taken it up yet."""
    query = select(INVOICE.c.invoice_id).where(
        INVOICE.c.tenant == uow.tenant,
        INVOICE.c.status == CollectionStatus.SETTLED.value,
        INVOICE.c.carried_out_minor > 0,
        INVOICE.c.carried_into.is_(None),
    )
    return set(uow.connection.execute(query).scalars())


def needing_review(uow: UnitOfWork) -> list[Collecting]:
    """Return the invoices that a person has to look at."""
    return _invoices(uow, INVOICE.c.needs_review.is_not(None))


def not_handed_over(uow: UnitOfWork) -> list[str]:
    """Return finalised invoices that the bridge does not know, in the order in which they were finalised."""
    query = (
        select(_OURS.c.id)
        .outerjoin(INVOICE, (INVOICE.c.tenant == _OURS.c.tenant) & (INVOICE.c.invoice_id == _OURS.c.id))
        .where(_OURS.c.tenant == uow.tenant, _OURS.c.state == "finalised", INVOICE.c.invoice_id.is_(None))
        .order_by(_OURS.c.finalised_at, _OURS.c.number)
    )
    return list(uow.connection.execute(query).scalars())


def behind_our_books(uow: UnitOfWork) -> list[Collecting]:
    """Return the invoices of which our books may have decided something that the provider was not told."""
    ours, theirs = _OURS.c.state, INVOICE.c.status
    unfinished = theirs.not_in([state.value for state in FINAL])
    carried = (theirs == CollectionStatus.SETTLED.value) & (INVOICE.c.carried_out_minor > INVOICE.c.carried_in_minor)
    query = (
        select(INVOICE.c.invoice_id)
        .join(_OURS, (INVOICE.c.tenant == _OURS.c.tenant) & (INVOICE.c.invoice_id == _OURS.c.id))
        .where(
            INVOICE.c.tenant == uow.tenant,
            or_(
                unfinished & (_OURS.c.settled_minor != INVOICE.c.settled_minor + INVOICE.c.paid_minor),
                (unfinished | carried) & ours.in_(["void", "uncollectible"]),
            ),
        )
    )
    return invoices_of(uow, list(uow.connection.execute(query).scalars()))


def change_invoice(uow: UnitOfWork, invoice_id: str, **changes: object) -> None:
    """Change columns of an invoice's row."""
    uow.connection.execute(
        update(INVOICE).where(INVOICE.c.tenant == uow.tenant, INVOICE.c.invoice_id == invoice_id).values(**changes)
    )


def take_up(uow: UnitOfWork, invoice_ids: Sequence[str], into: str) -> None:
    """Note that `into` collects what these have carried out."""
    if invoice_ids:
        uow.connection.execute(
            update(INVOICE)
            .where(INVOICE.c.tenant == uow.tenant, INVOICE.c.invoice_id.in_(invoice_ids))
            .values(carried_into=into)
        )


def release(uow: UnitOfWork, from_invoice: str) -> None:
    """Let a later invoice take up what `from_invoice` had taken over: it is void."""
    uow.connection.execute(
        update(INVOICE)
        .where(INVOICE.c.tenant == uow.tenant, INVOICE.c.carried_into == from_invoice)
        .values(carried_into=None)
    )


def add_lines(uow: UnitOfWork, invoice_id: str, lines: Sequence[dict[str, object]]) -> None:
    """Write which remote line each of our lines went into."""
    if lines:
        rows = [{"tenant": uow.tenant, "invoice_id": invoice_id, **line} for line in lines]
        uow.connection.execute(insert(LINE), rows)


def lines(uow: UnitOfWork, invoice_id: str) -> list[Row[Any]]:
    """Return our lines with the remote line that each went into."""
    query = select(LINE).where(LINE.c.tenant == uow.tenant, LINE.c.invoice_id == invoice_id)
    return list(uow.connection.execute(query.order_by(LINE.c.remote_ref, LINE.c.line_id)))


def customer(uow: UnitOfWork, key: str) -> Row[Any] | None:
    """Return the provider's customer for ours."""
    query = select(CUSTOMER).where(CUSTOMER.c.tenant == uow.tenant, CUSTOMER.c.key == key)
    return uow.connection.execute(query).first()


def add_customer(uow: UnitOfWork, key: str, details_sha256: str) -> bool:
    """Note that a customer is to be created; False when that was done before."""
    return insert_new(uow, CUSTOMER, {"tenant": uow.tenant, "key": key, "details_sha256": details_sha256})


def change_customer(uow: UnitOfWork, key: str, **changes: object) -> None:
    """Change columns of a customer's row."""
    uow.connection.execute(
        update(CUSTOMER).where(CUSTOMER.c.tenant == uow.tenant, CUSTOMER.c.key == key).values(**changes)
    )


def add_fact(uow: UnitOfWork, **columns: object) -> bool:
    """Note a fact; False when it is known already and must not be told again."""
    return insert_new(uow, FACT, {"tenant": uow.tenant, **columns})


def facts(uow: UnitOfWork, invoice_id: str, kind: str) -> list[Row[Any]]:
    """Return what was told of an invoice, oldest first."""
    query = select(FACT).where(FACT.c.tenant == uow.tenant, FACT.c.invoice_id == invoice_id, FACT.c.kind == kind)
    return list(uow.connection.execute(query.order_by(FACT.c.recorded_at, FACT.c.reference)))


def disputed_minor(uow: UnitOfWork, invoice_id: str) -> int:
    """Return what of an invoice's payments cardholders' banks hold back, or have kept."""
    amounts: dict[str, int] = {}
    won = set()
    for fact in facts(uow, invoice_id, "dispute"):
        dispute, _, phase = fact.reference.rpartition(":")
        amounts[dispute] = fact.amount_minor
        if phase == DisputePhase.WON:
            won.add(dispute)
    return sum(amount for dispute, amount in amounts.items() if dispute not in won)


def every_fact(uow: UnitOfWork, invoice_id: str) -> list[Row[Any]]:
    """Return all that was told of an invoice, oldest first."""
    query = select(FACT).where(FACT.c.tenant == uow.tenant, FACT.c.invoice_id == invoice_id)
    return list(uow.connection.execute(query.order_by(FACT.c.recorded_at, FACT.c.reference)))


def has_fact(uow: UnitOfWork, reference: str) -> bool:
    """Whether a fact was told."""
    query = select(FACT.c.reference).where(FACT.c.tenant == uow.tenant, FACT.c.reference == reference)
    return uow.connection.execute(query).first() is not None


def _invoices(uow: UnitOfWork, *conditions: ColumnElement[bool], lock: bool = False) -> list[Collecting]:
    query = select(INVOICE).where(INVOICE.c.tenant == uow.tenant, *conditions)
    query = query.order_by(INVOICE.c.created_at, INVOICE.c.invoice_id)
    rows = uow.connection.execute(query.with_for_update() if lock else query).all()
    return [_collecting(row) for row in rows]


def _collecting(row: Row[Any]) -> Collecting:
    return Collecting(
        invoice_id=row.invoice_id,
        number=row.number,
        customer=row.customer,
        currency=row.currency,
        method=row.method,
        total_minor=row.total_minor,
        settled_minor=row.settled_minor,
        carried_in_minor=row.carried_in_minor,
        collect_minor=row.collect_minor,
        carried_out_minor=row.carried_out_minor,
        carried_into=row.carried_into,
        incarnation=row.incarnation,
        stripe_id=row.stripe_id,
        status=CollectionStatus(row.status),
        paid_minor=row.paid_minor,
        failed_attempts=row.failed_attempts,
        next_attempt_at=row.next_attempt_at,
        needs_review=row.needs_review,
        created_at=row.created_at,
    )
