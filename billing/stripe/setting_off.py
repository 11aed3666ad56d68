"""Setting off: a customer's credit pays what is open, and is not paid out before. What Stripe collects, it is told."""

from __future__ import annotations

from datetime import datetime

from billing.invoices import Invoice
from billing.settlements import credit_left, debts, spend_credit
from billing.stripe.following import follow
from billing.stripe.money_back import awaited_refunds
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError
from models.values.money import shown_minor


def set_off(
    uow: UnitOfWork, customer: str, currency: str, cause: str, now: datetime, *, recovers: bool = False
) -> list[Invoice]:
    """Let credit pay what is open, but for what a refund on its way will take. Returns what it paid.

    `cause`: what left the credit, or asks for it. Raises RuleBrokenError where the provider cannot follow.
    """
    awaited = awaited_refunds(uow, customer, currency)
    kept = credit_left(uow, customer, currency) - credit_left(uow, customer, currency, awaited)
    paid = spend_credit(uow, customer, currency, cause, now, now, kept_minor=kept, recovers=recovers)
    for each in paid:
        follow(uow, each.id, now)
    return paid


def settle_debts(uow: UnitOfWork, invoice: Invoice, refund: str, amount_minor: int, now: datetime) -> list[Invoice]:
    """Let credit that is to be paid back pay the customer's debts first, also those that were given up.

    Raises RuleBrokenError, naming the oldest, where not enough is left for the refund. Where credit is not enough
    anyhow, the refund is of what was paid, and the invoice is open again: then the credit stays for what is open.
    """
    customer, asset = invoice.customer, invoice.currency
    if amount_minor > credit_left(uow, customer, asset):
        return []
    owed = debts(uow, customer, asset)
    if not owed:
        return []
    left = credit_left(uow, customer, asset, awaited_refunds(uow, customer, asset)) - sum(debt.total for debt in owed)
    if amount_minor > left:
        oldest, most = owed[0], shown_minor(max(left, 0), asset)
        stands = "written off" if oldest.given_up else "open"
        raise RuleBrokenError(
            f"{oldest.invoice.number} is {stands} by {shown_minor(oldest.total, asset)}, which credit pays first: "
            f"at most {most} can be paid back",
            field="amount",
            value=shown_minor(amount_minor, asset),
            code="debts_first",
        )
    return set_off(uow, customer, asset, f"refund:{refund}", now, recovers=True)
