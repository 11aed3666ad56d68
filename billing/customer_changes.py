"""Customers added and changed, by whatever door they come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError


class CustomerCurrencyInUseError(RuleBrokenError):
    """A subscription that has not ended bills the customer in another currency."""

    code = "customer_currency_in_use"


def save_customers(uow: UnitOfWork, customers: Sequence[Customer], at: datetime) -> None:
    """Add customers, or change those that are there.

    Raises NotFoundError for an unknown legal entity, CustomerCurrencyInUseError.
    """
    repository = CustomerRepository(uow)
    known = repository.many({each.key for each in customers})
    wanted = {each.key: each.currency for each in customers}
    moved = [key for key, before in known.items() if before.currency != wanted[key]]
    for subscription in SubscriptionRepository(uow).of_customers(moved):
        is_over = subscription.ends_at is not None and subscription.ends_at <= at
        if not is_over and subscription.currency != wanted[subscription.customer]:
            raise CustomerCurrencyInUseError(
                f"the subscription {subscription.id} bills {subscription.customer} in {subscription.currency}",
                field="currency",
                value=wanted[subscription.customer],
            )
    repository.save(customers, at)
