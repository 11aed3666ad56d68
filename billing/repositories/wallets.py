"""Rows of wallets, grants, burns and holds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from billing.burn_down import Grant, GrantKind, Taking
from billing.metering.sets import members
from billing.unit_of_work import UnitOfWork
from models.tables.wallet import BurnRow, CreditGrantRow, CreditHoldRow, HoldPartRow, WalletRow

WALLET = WalletRow.__table__  # type: ignore[attr-defined]
GRANT = CreditGrantRow.__table__  # type: ignore[attr-defined]
BURN = BurnRow.__table__  # type: ignore[attr-defined]
HOLD = CreditHoldRow.__table__  # type: ignore[attr-defined]
PART = HoldPartRow.__table__  # type: ignore[attr-defined]


def wallets(uow: UnitOfWork, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """Return wallets in the order in which they pay."""
    query = select(WALLET).where(WALLET.c.tenant == uow.tenant, *conditions).order_by(WALLET.c.priority, WALLET.c.id)
    return list(uow.connection.execute(query))


def add_wallet(uow: UnitOfWork, **columns: object) -> None:
    """Write a wallet."""
    uow.connection.execute(insert(WALLET).values(tenant=uow.tenant, **columns))


def lock_wallets(uow: UnitOfWork, customer: str) -> None:
    """Make this transaction the only one that takes credit from a customer, until it ends."""
    lock_wallets_of(uow, [customer])


def lock_wallets_of(uow: UnitOfWork, customers: Collection[str]) -> None:
    """Do the same for several customers."""
    query = select(WALLET.c.id).where(WALLET.c.tenant == uow.tenant, members(uow, WALLET.c.customer, customers))
    uow.connection.execute(query.order_by(WALLET.c.id).with_for_update()).all()


def grants(uow: UnitOfWork, *conditions: ColumnElement[bool]) -> list[Grant]:
    """Return grants with what their wallets say, oldest first."""
    query = (
        select(GRANT, WALLET.c.customer, WALLET.c.asset, WALLET.c.features, WALLET.c.priority.label("wallet_priority"))
        .join(WALLET, (WALLET.c.tenant == GRANT.c.tenant) & (WALLET.c.id == GRANT.c.wallet))
        .where(GRANT.c.tenant == uow.tenant, *conditions)
        .order_by(GRANT.c.sequence)
    )
    return [_grant(row) for row in uow.connection.execute(query).all()]


def grants_of(uow: UnitOfWork, customer: str, asset: str) -> list[Grant]:
    """Return a customer's grants in `asset` that still hold something."""
    return grants(uow, WALLET.c.customer == customer, WALLET.c.asset == asset, GRANT.c.remaining > 0)


def next_sequence(uow: UnitOfWork) -> int:
    """Return the number of the next grant; asked for under the ledger's lock."""
    query = select(func.coalesce(func.max(GRANT.c.sequence), 0)).where(GRANT.c.tenant == uow.tenant)
    return int(uow.connection.execute(query).scalar_one()) + 1


def add_grant(uow: UnitOfWork, grant: Grant, recorded_at: datetime) -> None:
    """Write a new grant."""
    columns = {column.name: getattr(grant, column.name) for column in GRANT.c if hasattr(grant, column.name)}
    uow.connection.execute(insert(GRANT).values(**columns, tenant=uow.tenant, recorded_at=recorded_at))


def burns(uow: UnitOfWork, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """Return what was taken from grants."""
    return list(uow.connection.execute(select(BURN).where(BURN.c.tenant == uow.tenant, *conditions)))


def rolled_over(uow: UnitOfWork, origin: str) -> list[int]:
    """Return the units that rolled over of a grant and of what voids gave back of it, piece by piece."""
    query = (
        select(BURN.c.units)
        .join(GRANT, (GRANT.c.tenant == BURN.c.tenant) & (GRANT.c.id == BURN.c.credit_grant))
        .where(BURN.c.tenant == uow.tenant, BURN.c.kind == "rollover")
        .where((GRANT.c.id == origin) | (GRANT.c.origin == origin))
    )
    return list(uow.connection.execute(query).scalars())


def taken_by_grant(uow: UnitOfWork) -> dict[str, tuple[int, int]]:
    """Return units and cost taken from each grant."""
    sums: dict[str, tuple[int, int]] = {}
    for row in burns(uow):
        units, cost = sums.get(row.credit_grant, (0, 0))
        sums[row.credit_grant] = units + row.units, cost + row.cost_units
    return sums


def kept_by_grant(uow: UnitOfWork) -> dict[str, int]:
    """Return units that pending holds keep of each grant."""
    query = (
        select(PART.c.credit_grant, PART.c.units)
        .join(HOLD, (HOLD.c.tenant == PART.c.tenant) & (HOLD.c.key == PART.c.hold))
        .where(PART.c.tenant == uow.tenant, HOLD.c.state == "pending")
    )
    sums: dict[str, int] = {}
    for row in uow.connection.execute(query):
        sums[row.credit_grant] = sums.get(row.credit_grant, 0) + row.units
    return sums


def take(uow: UnitOfWork, key: str, kind: str, takings: Iterable[Taking], at: datetime) -> None:
    """Write takings and lower what their grants hold."""
    for taking in takings:
        row = {"key": key, "credit_grant": taking.grant.id, "kind": kind, "units": taking.units}
        uow.connection.execute(insert(BURN).values(tenant=uow.tenant, cost_units=taking.cost_units, at=at, **row))
        uow.connection.execute(
            update(GRANT)
            .where(GRANT.c.tenant == uow.tenant, GRANT.c.id == taking.grant.id)
            .values(
                remaining=GRANT.c.remaining - taking.units, cost_remaining=GRANT.c.cost_remaining - taking.cost_units
            )
        )


def hold(uow: UnitOfWork, key: str) -> Row[Any] | None:
    """Return one hold. Holds change only under the lock of their customer's wallets."""
    query = select(HOLD).where(HOLD.c.tenant == uow.tenant, HOLD.c.key == key)
    return uow.connection.execute(query).first()


def due_holds(uow: UnitOfWork, at: datetime, customer: str | None = None) -> list[str]:
    """Return the keys of pending holds that have expired by `at`."""
    query = select(HOLD.c.key).where(HOLD.c.tenant == uow.tenant, HOLD.c.state == "pending", HOLD.c.expires_at <= at)
    if customer is not None:
        query = query.where(HOLD.c.customer == customer)
    return list(uow.connection.execute(query.order_by(HOLD.c.key)).scalars())


def add_hold(uow: UnitOfWork, **columns: object) -> None:
    """Write a hold that keeps nothing yet."""
    uow.connection.execute(insert(HOLD).values(tenant=uow.tenant, **columns))


def change_parts(uow: UnitOfWork, key: str, changes: Mapping[str, int]) -> None:
    """Let a pending hold keep more, or less, of some grants."""
    kept = hold_parts(uow, key)
    for grant, change in sorted(changes.items()):
        if grant in kept:
            mine = PART.c.hold == key, PART.c.credit_grant == grant
            uow.connection.execute(delete(PART).where(PART.c.tenant == uow.tenant, *mine))
        if units := kept.get(grant, 0) + change:
            part = {"hold": key, "credit_grant": grant, "units": units}
            uow.connection.execute(insert(PART).values(tenant=uow.tenant, **part))
        _change_held(uow, grant, change)


def kept_parts(uow: UnitOfWork, customer: str) -> list[Row[Any]]:
    """Return what a customer's pending holds keep: key, asset, feature and units, a row for each grant, if any."""
    query = (
        select(HOLD.c.key, HOLD.c.asset, HOLD.c.feature, PART.c.units)
        .outerjoin(PART, (PART.c.tenant == HOLD.c.tenant) & (PART.c.hold == HOLD.c.key))
        .where(HOLD.c.tenant == uow.tenant, HOLD.c.state == "pending", HOLD.c.customer == customer)
    )
    return list(uow.connection.execute(query.order_by(HOLD.c.key, PART.c.credit_grant)))


def count_holds(uow: UnitOfWork, prefix: str) -> int:
    """Return how many holds, ended ones too, have a key that begins with `prefix`."""
    query = select(func.count()).where(HOLD.c.tenant == uow.tenant, HOLD.c.key.startswith(prefix, autoescape=True))
    return int(uow.connection.execute(query).scalar_one())


def hold_parts(uow: UnitOfWork, key: str) -> dict[str, int]:
    """Return how much of each grant a hold keeps."""
    query = select(PART.c.credit_grant, PART.c.units).where(PART.c.tenant == uow.tenant, PART.c.hold == key)
    return {row.credit_grant: row.units for row in uow.connection.execute(query)}


def free_hold(uow: UnitOfWork, key: str, state: str, at: datetime, settled_units: int = 0) -> None:
    """End a hold: what it kept of each grant is free again."""
    for grant, units in sorted(hold_parts(uow, key).items()):
        _change_held(uow, grant, -units)
    uow.connection.execute(
        update(HOLD)
        .where(HOLD.c.tenant == uow.tenant, HOLD.c.key == key)
        .values(state=state, resolved_at=at, settled_units=settled_units)
    )


def _change_held(uow: UnitOfWork, grant: str, units: int) -> None:
    where = update(GRANT).where(GRANT.c.tenant == uow.tenant, GRANT.c.id == grant)
    uow.connection.execute(where.values(held=GRANT.c.held + units))


def _grant(row: Row[*tuple[Any, ...]]) -> Grant:
    return Grant(
        id=row.id,
        wallet=row.wallet,
        customer=row.customer,
        asset=row.asset,
        kind=GrantKind(row.kind),
        remaining=row.remaining,
        starts_at=row.starts_at,
        sequence=row.sequence,
        held=row.held,
        units=row.units,
        priority=row.priority,
        wallet_priority=row.wallet_priority,
        features=None if row.features is None else frozenset(row.features),
        expires_at=row.expires_at,
        cost_asset=row.cost_asset,
        cost_units=row.cost_units,
        cost_remaining=row.cost_remaining,
        rollover_units=row.rollover_units,
        rollover_days=row.rollover_days,
        origin=row.origin,
    )
