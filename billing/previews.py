"""Previews: the invoice as it would be, with or without a change of a subscription. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from billing.charging import Run, charge_customers
from billing.invoices import PAYMENT_DAYS, Invoice, Issue, draft_invoice
from billing.invoicing import feature_names
from billing.phases import Subscription
from billing.rated_usage import RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.repositories.closes import CloseRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.subscriptions import Change
from billing.tax import BuiltInRates, TaxRates
from billing.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """The next invoices of a customer without and with a change, by currency."""

    before: tuple[Invoice, ...]
    after: tuple[Invoice, ...]

    @property
    def difference_minor(self) -> Mapping[str, int]:
        """What the change adds to the totals, by currency, in minor units."""
        totals: dict[str, int] = {}
        for sign, invoices in ((-1, self.before), (1, self.after)):
            for invoice in invoices:
                totals[invoice.currency] = totals.get(invoice.currency, 0) + sign * invoice.total_minor
        return totals


def month_end(at: datetime) -> date:
    """Return the first day of the month after an instant, in UTC: what previews look ahead to."""
    return (at.date().replace(day=1) + timedelta(days=32)).replace(day=1)


def preview_invoices(
    uow: UnitOfWork,
    customer: str,
    until: date,
    now: datetime,
    *,
    instead: Mapping[str, Subscription] | None = None,
    rates: TaxRates | None = None,
) -> tuple[Invoice, ...]:
    """Return a customer's next invoices if everything before the day `until` were closed with what is stored now.

    They take up charges that are on no invoice as well, as those of one that is void.
    """
    months = [month for month in CloseRepository(uow).all() if month.state != "open"]
    last = months[-1] if months else None
    run = Run(
        key="preview",
        kind="close",
        period=f"{until.year:04d}-{until.month:02d}",
        until=until,
        since=None if last is None else _after(last.key),
        known_at=now,
        known_before=None if last is None else last.known_at,
        effective_at=datetime.combine(until, time.min, tzinfo=UTC) - timedelta(microseconds=1),
        live=True,
    )
    charged = charge_customers(uow, [customer], run, instead=instead)
    buyer = CustomerRepository(uow).get(customer)
    seller = CustomerRepository(uow).legal_entity(buyer.legal_entity)
    carried = InvoiceRepository(uow).remainders([customer])
    issue = Issue(run.period, run.key, until, until + timedelta(days=PAYMENT_DAYS), now)
    by_currency = _waiting(uow, customer)
    for draft in charged.drafts:
        rows = [(draft.id, position, row) for position, row in enumerate(draft.rows)]
        by_currency[draft.currency] = [*by_currency.get(draft.currency, ()), *rows]
    return tuple(
        draft_invoice(
            uow.tenant,
            buyer,
            seller,
            asset,
            rows,
            feature_names(uow, [row.book_hash for _, _, row in rows]),
            carried.get((customer, asset), Decimal(0)),
            issue,
            rates or BuiltInRates(),
        )
        for asset, rows in sorted(by_currency.items())
        if rows
    )


def _waiting(uow: UnitOfWork, customer: str) -> dict[str, list[tuple[str, int, RatedUsage]]]:
    """Return by currency what was charged and is on no invoice, in the order of an invoice's lines."""
    currencies = {charge.id: charge.currency for charge in ChargeRepository(uow).open([customer])}
    found: dict[str, list[tuple[str, int, RatedUsage]]] = {}
    for row in ChargeRepository(uow).rows(currencies):
        found.setdefault(currencies[row[0]], []).append(row)
    return found


def preview_change(
    uow: UnitOfWork, change: Change, until: date, now: datetime, rates: TaxRates | None = None
) -> ChangePreview:
    """Return the next invoices without and with a change that was worked out and not recorded."""
    customer = change.subscription.customer
    outcome = {change.subscription.id: change.outcome}
    return ChangePreview(
        before=preview_invoices(uow, customer, until, now, rates=rates),
        after=preview_invoices(uow, customer, until, now, instead=outcome, rates=rates),
    )


def _after(key: str) -> date:
    return (date(int(key[:4]), int(key[5:]), 1) + timedelta(days=32)).replace(day=1)
