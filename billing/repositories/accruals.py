"""Rows of accruals and of the sums they carry, for many customers at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from billing.carrying import Accrual, Carried, Parts
from billing.repositories.journals import whole_tables
from billing.unit_of_work import UnitOfWork
from models.tables.ledger import AccountRow, AccrualRow, CarriedAmountRow, EntryRow, JournalRow
from models.values.quantity import plain

_ACCRUAL = AccrualRow.__table__  # type: ignore[attr-defined]
_CARRIED = CarriedAmountRow.__table__  # type: ignore[attr-defined]
_JOURNAL = JournalRow.__table__  # type: ignore[attr-defined]
_ENTRY = EntryRow.__table__  # type: ignore[attr-defined]
_ACCOUNT = AccountRow.__table__  # type: ignore[attr-defined]
_CHUNK = 5_000

Stream = tuple[str, str]
"""Customer and asset: amounts of one stream are carried together."""


def by_key(uow: UnitOfWork, keys: Sequence[str]) -> dict[str, tuple[Accrual, Parts]]:
    """Return the accruals that already have one of `keys`, with what each came to in ledger units."""
    found: dict[str, tuple[Accrual, Parts]] = {}
    for start in range(0, len(keys), _CHUNK):
        query = select(_ACCRUAL).where(
            _ACCRUAL.c.tenant == uow.tenant, _ACCRUAL.c.key.in_(keys[start : start + _CHUNK])
        )
        found |= {row.key: _read(row) for row in uow.connection.execute(query)}
    return found


def carried(uow: UnitOfWork, streams: Iterable[Stream]) -> dict[Stream, Carried]:
    """Return the sums of those `streams` that have one."""
    wanted = sorted(streams)
    found: dict[Stream, Carried] = {}
    for start in range(0, len(wanted), _CHUNK):
        query = select(_CARRIED).where(
            _CARRIED.c.tenant == uow.tenant,
            tuple_(_CARRIED.c.party, _CARRIED.c.asset).in_(wanted[start : start + _CHUNK]),
        )
        found |= {(row.party, row.asset): Carried(row.exact, row.posted) for row in uow.connection.execute(query)}
    return found


def every(uow: UnitOfWork) -> Iterator[tuple[Accrual, Parts]]:
    """Yield every accrual, with what it came to in ledger units."""
    query = select(_ACCRUAL).where(_ACCRUAL.c.tenant == uow.tenant).execution_options(yield_per=_CHUNK)
    for row in uow.connection.execute(query):
        yield _read(row)


def all_carried(uow: UnitOfWork) -> dict[Stream, Carried]:
    """Return every sum."""
    query = select(_CARRIED).where(_CARRIED.c.tenant == uow.tenant)
    return {(row.party, row.asset): Carried(row.exact, row.posted) for row in uow.connection.execute(query)}


def beside_journals(uow: UnitOfWork) -> Iterator[tuple[str, int, int | None]]:
    """Yield key, units accrued and units its journal put on the unbilled account; None where it has no journal."""
    journals = (
        select(_ENTRY.c.amount, _JOURNAL.c.key)
        .join(_JOURNAL, (_JOURNAL.c.tenant == _ENTRY.c.tenant) & (_JOURNAL.c.id == _ENTRY.c.journal))
        .join(_ACCOUNT, (_ACCOUNT.c.tenant == _ENTRY.c.tenant) & (_ACCOUNT.c.id == _ENTRY.c.account))
        .where(_ENTRY.c.tenant == uow.tenant, _ACCOUNT.c.code == "unbilled", _JOURNAL.c.kind == "usage_accrual")
    )
    with whole_tables(uow):
        posted = {row.key: row.amount for row in uow.connection.execute(journals)}
    for accrual, units in every(uow):
        came_to = sum(amount for _, amount in units)
        yield accrual.key, came_to, posted.get(accrual.key, 0 if came_to == 0 else None)


def write(uow: UnitOfWork, accruals: Sequence[tuple[Accrual, Parts]], sums: dict[Stream, Carried]) -> None:
    """Append accruals and bring the sums of their streams up to date."""
    if not accruals:
        return
    uow.connection.execute(insert(_ACCRUAL), [_row(uow.tenant, accrual, units) for accrual, units in accruals])
    dialect = sqlite if uow.is_sqlite else postgresql
    statement = dialect.insert(_CARRIED)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "party", "asset"],
        set_={"exact": statement.excluded.exact, "posted": statement.excluded.posted},
    )
    rows = [
        {"tenant": uow.tenant, "party": party, "asset": asset, "exact": total.exact, "posted": total.posted}
        for (party, asset), total in sorted(sums.items())
    ]
    uow.connection.execute(statement, rows)


def _row(tenant: str, accrual: Accrual, units: Parts) -> dict[str, Any]:
    exact = zip(accrual.by_feature, units, strict=True)
    return {
        "tenant": tenant,
        "key": accrual.key,
        "party": accrual.customer,
        "asset": accrual.asset,
        "effective_at": accrual.effective_at,
        "by_feature": [[feature, plain(amount), str(came_to)] for (feature, amount), (_, came_to) in exact],
    }


def _read(row: Row[Any]) -> tuple[Accrual, Parts]:
    amounts = tuple((feature, Decimal(amount)) for feature, amount, _ in row.by_feature)
    units = tuple((feature, int(came_to)) for feature, _, came_to in row.by_feature)
    return Accrual(row.key, row.party, row.asset, row.effective_at, amounts), units
