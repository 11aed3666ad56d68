"""Progressive billing: an invoice before the period ends, when usage reaches a threshold.

Thresholds are on usage since the subscription began. What a threshold invoice bills is all usage that was not billed,
not the amount of the threshold; the close then bills the rest, as the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from billing.charge_posting import post_charges
from billing.charges import ChargeDraft
from billing.charging import Charged, Run, charge_customers
from billing.database import Database
from billing.invoices import PAYMENT_DAYS, Invoice, Issue
from billing.invoicing import Collect, draft_open_charges, finalise
from billing.months import day_after
from billing.phases import Subscription, Thresholds
from billing.rated_usage import Kind
from billing.repositories import journals
from billing.repositories.charges import ChargeRepository
from billing.repositories.closes import CloseRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.tax import TaxRates
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.values.errors import DomainError
from models.values.quantity import EXACT


@dataclass(frozen=True, slots=True)
class Reached:
    """A subscription whose usage reached a threshold: usage billed so far, and with what is not billed."""

    subscription: str
    billed: Decimal
    used: Decimal


def crosses(thresholds: Thresholds, billed: Decimal, used: Decimal) -> bool:
    """Whether a threshold lies above what was billed and not above what was used. Pure.

    The recurring one repeats from the last fixed one on.
    """
    if any(billed < amount <= used for amount in thresholds.amounts):
        return True
    if thresholds.recurring is None:
        return False
    last = max(thresholds.amounts, default=Decimal(0))
    return _turns(used, last, thresholds.recurring) > _turns(billed, last, thresholds.recurring)


def reached(uow: UnitOfWork, customer: str, at: datetime, *, live: bool = False) -> tuple[Charged, list[Reached]]:
    """Return what an interim run would charge a customer now, and whose thresholds that reaches.

    `live`: by the running totals, in milliseconds whatever was used, as a look that bills nothing.
    """
    charged = charge_customers(uow, [customer], replace(_interim_run(uow, at), live=live))
    found = []
    for subscription in SubscriptionRepository(uow).of_customers([customer]):
        thresholds = thresholds_of(subscription, at)
        if thresholds is None:
            continue
        billed = _usage_billed(uow, subscription)
        used = EXACT.add(billed, _usage_in(charged.drafts, subscription))
        if crosses(thresholds, billed, used):
            found.append(Reached(subscription.id, billed, used))
    return charged, found


class BilledEarly(NamedTuple):
    """Invoices made at thresholds, and by customer why one could not be made."""

    invoices: list[Invoice]
    refused: dict[str, DomainError]


def bill_reached(database: Database, tenant: str, now: datetime, collect: Collect | None = None) -> BilledEarly:
    """Invoice every customer of a tenant whose usage has reached a threshold, each in a transaction of its own.

    Most have not: they are looked at without a lock, and without reading their events. What refuses one customer keeps
    no other from being billed. `collect` is handed what was finalised, in the same transaction.
    """
    with database.reading(tenant) as uow:
        customers = SubscriptionRepository(uow).customers_with_thresholds()
    done = BilledEarly([], {})
    for customer in customers:
        try:
            with database.reading(tenant) as uow:
                _, found = reached(uow, customer, now, live=True)
            billed = database.write(tenant, partial(_bill, customer=customer, at=now, collect=collect)) if found else []
        except DomainError as error:
            done.refused[customer] = error
        else:
            done.invoices.extend(billed)
    return done


def _bill(uow: UnitOfWork, customer: str, at: datetime, collect: Collect | None) -> list[Invoice]:
    return bill_thresholds(uow, customer, at, at, collect=collect)


def bill_thresholds(
    uow: UnitOfWork,
    customer: str,
    at: datetime,
    recorded_at: datetime,
    rates: TaxRates | None = None,
    *,
    collect: Collect | None = None,
) -> list[Invoice]:
    """Invoice a customer's usage so far where a threshold is reached, one invoice a currency; none where none is.

    A billing period that ends with a month whose close has begun is left to the close, whatever our clock says.
    """
    journals.lock(uow)
    charged, found = reached(uow, customer, at)
    if not found:
        return []
    post_charges(uow, charged.drafts, recorded_at)
    issue = Issue(
        period=f"{at.year:04d}-{at.month:02d}",
        cause=_run_key(at),
        issued_on=at.date(),
        due_on=at.date() + timedelta(days=PAYMENT_DAYS),
        finalise_from=recorded_at,
    )
    drafts = draft_open_charges(uow, [customer], issue, recorded_at, rates)
    return finalise(uow, [draft.id for draft in drafts], recorded_at, collect=collect)


def thresholds_of(subscription: Subscription, at: datetime) -> Thresholds | None:
    """Return the thresholds in force, or those there were at the end; None where there are none."""
    begun = [each.phase for each in subscription.stretches() if each.period.start <= at]
    thresholds = begun[-1].agreement.thresholds if begun else None
    return thresholds if thresholds is not None and (thresholds.amounts or thresholds.recurring) else None


def _run_key(at: datetime) -> str:
    return f"interim/{utc_text(at)}"


def _interim_run(uow: UnitOfWork, at: datetime) -> Run:
    """Return the run that bills usage before `at`."""
    begun = CloseRepository(uow).all()
    return Run(
        key=_run_key(at),
        kind="interim",
        period=f"{at.year:04d}-{at.month:02d}",
        until=at.date(),
        since=day_after(begun[-1].key) if begun else None,
        known_at=at,
        known_before=None,
        effective_at=at,
        interim_at=at,
    )


def _turns(amount: Decimal, last: Decimal, every: Decimal) -> int:
    beyond = Fraction(amount) - Fraction(last)
    return max(int(beyond // Fraction(every)), 0)


def _usage_billed(uow: UnitOfWork, subscription: Subscription) -> Decimal:
    by_key = ChargeRepository(uow).billed([subscription.id], subscription.starts_at).get(subscription.id, {})
    total = Decimal(0)
    for key, earlier in by_key.items():
        if key.kind is Kind.USAGE:
            total = EXACT.add(total, earlier.row.amount)
    return total


def _usage_in(drafts: tuple[ChargeDraft, ...], subscription: Subscription) -> Decimal:
    total = Decimal(0)
    for draft in drafts:
        for row in draft.rows:
            if row.subscription == subscription.id and row.kind is Kind.USAGE:
                total = EXACT.add(total, row.amount)
    return total
