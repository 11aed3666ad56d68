"""Rows of the ledger: set-based statements for a batch of journals, one form for each database.

SQLite takes `executemany`, PostgreSQL one `insert ... select unnest(...)` a table: measured the fastest of the
forms that row-level security allows (it forbids COPY).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import select, text

from billing.chart_of_accounts import Account, kind_of
from billing.journals import GENESIS
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.tables.ledger import JournalRow, JournalSealRow


class Head(NamedTuple):
    """The last journal of a tenant's chain; number 0 before the first."""

    journal: int
    hash: bytes
    recorded_at: str


class StoredJournal(NamedTuple):
    """A journal as it lies in its row."""

    id: int
    canonical: bytes
    hash: bytes


@dataclass(slots=True)
class AccountState:
    """An account with its balance, as found under the lock."""

    id: int
    balance: int


@dataclass(slots=True)
class Batch:
    """Rows of one posting, column order as in `_COLUMNS`."""

    journals: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    seals: list[tuple[Any, ...]] = field(default_factory=list)


_JOURNAL = ("id:bigint", "key:text", "kind:text", "effective_at:timestamptz", "recorded_at:timestamptz",
            "reverses:bigint", "memo:text", "canonical:bytea")  # fmt: skip
_ENTRY = ("journal:bigint", "leg:int", "account:bigint", "asset:text", "amount:numeric")
_SEAL = ("journal:bigint", "previous_hash:bytea", "hash:bytea")
_ACCOUNT = ("id:bigint", "code:text", "asset:text", "party:text", "detail:text")
_BALANCE = ("account:bigint", "balance:numeric", "bounded:boolean")


def lock(uow: UnitOfWork) -> None:
    """Make this transaction the only one that extends the tenant's ledger, until it ends.

    Take it before any row lock of the same transaction, so that no two wait for each other.
    SQLite: a writing unit of work holds the only write lock already.
    """
    if not uow.is_sqlite:
        uow.connection.execute(
            text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"alacarte.ledger/{uow.tenant}"}
        )


def head(uow: UnitOfWork) -> Head:
    """Return the end of the chain."""
    row = uow.connection.execute(
        select(JournalSealRow.journal, JournalSealRow.hash, JournalRow.recorded_at)  # type: ignore[call-overload]
        .join(JournalRow, (JournalRow.tenant == JournalSealRow.tenant) & (JournalRow.id == JournalSealRow.journal))
        .where(JournalSealRow.tenant == uow.tenant)
        .order_by(JournalSealRow.journal.desc())  # type: ignore[attr-defined]
        .limit(1)
    ).first()
    return Head(0, GENESIS, "") if row is None else Head(row[0], bytes(row[1]), utc_text(row[2]))


def by_key(uow: UnitOfWork, keys: Sequence[str]) -> dict[str, StoredJournal]:
    """Return the journals that already have one of `keys`."""
    if uow.is_sqlite:
        statement = (
            "select j.key, j.id, j.canonical, s.hash from json_each(?) k cross join journal j on j.tenant = ? "
            "and j.key = k.value join journal_seal s on s.tenant = j.tenant and s.journal = j.id"
        )
        rows = uow.connection.exec_driver_sql(statement, (json.dumps(keys), uow.tenant))
    else:
        statement = (
            "select j.key, j.id, j.canonical, s.hash from journal j join journal_seal s on s.tenant = j.tenant "
            "and s.journal = j.id where j.tenant = %s and j.key = any(%s)"
        )
        rows = uow.connection.exec_driver_sql(statement, (uow.tenant, list(keys)))
    return {row[0]: StoredJournal(row[1], bytes(row[2]), bytes(row[3])) for row in rows}


def reversed_by(uow: UnitOfWork, journal: int) -> str | None:
    """Return the key of the journal that reverses `journal`."""
    query = text("select key from journal where tenant = :tenant and reverses = :journal")
    return uow.connection.execute(query, {"tenant": uow.tenant, "journal": journal}).scalar_one_or_none()


def account_states(uow: UnitOfWork, accounts: Iterable[Account]) -> dict[Account, AccountState]:
    """Return those of `accounts` that exist, with their balances."""
    names = list(accounts)
    columns = "a.code, a.asset, a.party, a.detail, a.id, b.balance"
    same = "a.code = k.code and a.asset = k.asset and a.party = k.party and a.detail = k.detail"
    balance = "join account_balance b on b.tenant = a.tenant and b.account = a.id"
    if uow.is_sqlite:
        fields = ", ".join(f"value->>{i} as {name}" for i, name in enumerate(Account._fields))
        statement = (
            f"with k as materialized (select {fields} from json_each(?)) select {columns} from k "  # noqa: S608
            f"cross join account a on a.tenant = ? and {same} {balance}"
        )
        rows = uow.connection.exec_driver_sql(statement, (json.dumps(names), uow.tenant))
    else:
        statement = (
            f"select {columns} from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) "  # noqa: S608
            f"as k(code, asset, party, detail) join account a on a.tenant = %s and {same} {balance}"
        )
        rows = uow.connection.exec_driver_sql(statement, (*_arrays(names, 4), uow.tenant))
    return {Account(*row[:4]): AccountState(row[4], int(row[5])) for row in rows}


def last_account(uow: UnitOfWork) -> int:
    """Return the highest account id, 0 where there is none; accounts are numbered under the lock."""
    query = text("select coalesce(max(id), 0) from account where tenant = :tenant")
    return int(uow.connection.execute(query, {"tenant": uow.tenant}).scalar_one())


def append(uow: UnitOfWork, batch: Batch) -> None:
    """Write journals, entries and seals, in the order that the triggers expect."""
    _insert(uow, "journal", _JOURNAL, batch.journals)
    _insert(uow, "entry", _ENTRY, batch.entries)
    _insert(uow, "journal_seal", _SEAL, batch.seals)


def open_accounts(uow: UnitOfWork, opened: dict[Account, AccountState]) -> None:
    """Write new accounts, with a balance of zero for now; their states hold what they come to."""
    _insert(uow, "account", _ACCOUNT, [(state.id, *account) for account, state in opened.items()])
    zeros = [(state.id, 0, kind_of(account.code).bounded) for account, state in opened.items()]
    _insert(uow, "account_balance", _BALANCE, zeros)


def write_balances(uow: UnitOfWork, states: Iterable[AccountState]) -> None:
    """Write balances computed under the lock."""
    rows = [(state.id, state.balance) for state in sorted(states, key=lambda state: state.id)]
    if uow.is_sqlite:
        uow.connection.exec_driver_sql(
            "update account_balance set balance = ?2 where account = ?1 and tenant = ?3",
            [(*row, uow.tenant) for row in rows],
        )
    else:
        uow.connection.exec_driver_sql(
            "update account_balance b set balance = k.balance "
            "from unnest(%s::bigint[], %s::numeric[]) as k(account, balance) "
            "where b.tenant = %s and b.account = k.account",
            (*_arrays(rows, 2), uow.tenant),
        )


def _insert(uow: UnitOfWork, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    names = ", ".join(column.partition(":")[0] for column in columns)
    if uow.is_sqlite:
        marks = ", ".join("?" for _ in columns)
        statement = f"insert into {table} (tenant, {names}) values (?, {marks})"  # noqa: S608
        tenant = (uow.tenant,)
        uow.connection.exec_driver_sql(statement, [tenant + row for row in rows])
    else:
        arrays = ", ".join(f"%s::{column.partition(':')[2]}[]" for column in columns)
        statement = f"insert into {table} (tenant, {names}) select %s, * from unnest({arrays})"  # noqa: S608
        uow.connection.exec_driver_sql(statement, (uow.tenant, *_arrays(rows, len(columns))))


def _arrays(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
