"""Limited features: the units that subscriptions keep, taken as they start and change, free when they are over.

A quote holds units until it is accepted; from then on they are sold. A subscription keeps the most it will ever have of
a feature from now on, so that what is scheduled cannot be sold to somebody else meanwhile, nor what is paused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from billing.phases import Subscription
from billing.quotes import SoldOutError
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.quote import FeatureSupplyRow
from models.tables.subscription import KeptUnitsRow
from models.values.errors import InvalidValueError

_SUPPLY = table_of(FeatureSupplyRow)
_KEPT = table_of(KeptUnitsRow)


def keep_units(uow: UnitOfWork, subscription: Subscription, at: datetime, *, from_quote: bool = False) -> None:
    """Let a subscription keep what it needs of limited features from `at` on, and nothing more.

    `from_quote`: its units are sold already, to the quote that it starts from. Raises SoldOutError where fewer are
    left, InvalidValueError for a part of a unit.
    """
    needed, kept = _needed(uow, subscription, at), _kept(uow, subscription.id)
    for feature in sorted(needed.keys() | kept.keys()):  # In one order, so that two never wait for each other.
        units = needed.get(feature, 0)
        if units == kept.get(feature, 0):
            continue
        if not from_quote:
            _sell(uow, feature, units - kept.get(feature, 0))
        mine = {"tenant": uow.tenant, "subscription": subscription.id, "feature": feature}
        uow.connection.execute(delete(_KEPT).where(*(_KEPT.c[name] == value for name, value in mine.items())))
        if units:
            uow.connection.execute(insert(_KEPT).values(**mine, units=units))


def units_left(uow: UnitOfWork) -> dict[str, int]:
    """Return how many units of each limited feature are neither held by a quote nor sold."""
    left = _SUPPLY.c.supply_limit - _SUPPLY.c.held - _SUPPLY.c.sold
    rows = uow.connection.execute(select(_SUPPLY.c.feature, left.label("units")).where(_SUPPLY.c.tenant == uow.tenant))
    return {row.feature: row.units for row in rows}


def free_units(uow: UnitOfWork, at: datetime) -> int:
    """Free what subscriptions keep and need no more, as they ended or became smaller. Returns of how many."""
    query = select(_KEPT.c.subscription).where(_KEPT.c.tenant == uow.tenant).distinct().order_by(_KEPT.c.subscription)
    freed = 0
    for name in uow.connection.execute(query).scalars().all():
        repository = SubscriptionRepository(uow)
        if _needed(uow, repository.get(name), at) != _kept(uow, name):
            repository.lock(name)
            keep_units(uow, repository.get(name), at)
            freed += 1
    return freed


def _needed(uow: UnitOfWork, subscription: Subscription, at: datetime) -> dict[str, int]:
    """Return the most units of each limited feature that a subscription has from `at` on."""
    needed: dict[str, int] = {}
    for stretch in subscription.stretches():
        agreement = stretch.phase.agreement
        if stretch.period.end <= at:
            continue
        book = PriceBookRepository(uow).get(agreement.book_hash).book
        for feature, quantity in agreement.selection.items():
            if book.feature(feature).supply_limit is None:
                continue
            if quantity != int(quantity):
                raise InvalidValueError(
                    "a limited feature is sold in whole units", field=f"selection.{feature}", value=quantity
                )
            needed[feature] = max(needed.get(feature, 0), int(quantity))
    return needed


def _kept(uow: UnitOfWork, subscription: str) -> Mapping[str, int]:
    mine = (_KEPT.c.tenant == uow.tenant) & (_KEPT.c.subscription == subscription)
    rows = uow.connection.execute(select(_KEPT.c.feature, _KEPT.c.units).where(mine))
    return {row.feature: row.units for row in rows}


def _sell(uow: UnitOfWork, feature: str, units: int) -> None:
    """Sell more units, or take some back. Atomic under any concurrency."""
    mine = (_SUPPLY.c.tenant == uow.tenant) & (_SUPPLY.c.feature == feature)
    left = mine if units < 0 else mine & (_SUPPLY.c.held + _SUPPLY.c.sold + units <= _SUPPLY.c.supply_limit)
    if uow.connection.execute(update(_SUPPLY).where(left).values(sold=_SUPPLY.c.sold + units)).rowcount == 0:
        raise SoldOutError("fewer units are left", field=f"selection.{feature}", value=units)
