"""Rows of the ledger: set-based statements for a batch of journals, one form for each database.

SQLite takes `executemany`, PostgreSQL one `insert ... select unnest(...)` a table: measured the fastest of the
forms that row-level security allows (it forbids COPY).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, bindparam, func, select, text, type_coerce

from billing.chart_of_accounts import Account, kind_of
from billing.journals import GENESIS
from billing.metering.sets import members
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.tables.ledger import AccountRow, EntryRow, JournalRow, JournalSealRow

ACCOUNT = AccountRow.__table__  # type: ignore[attr-defined]
JOURNAL = JournalRow.__table__  # type: ignore[attr-defined]
ENTRY = EntryRow.__table__  # type: ignore[attr-defined]
SEAL = JournalSealRow.__table__  # type: ignore[attr-defined]


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
_HEAD = (
    select(SEAL.c.journal, SEAL.c.hash, JOURNAL.c.recorded_at)
    .join(JOURNAL, (JOURNAL.c.tenant == SEAL.c.tenant) & (JOURNAL.c.id == SEAL.c.journal))
    .where(SEAL.c.tenant == bindparam("tenant"))
    .order_by(SEAL.c.journal.desc())
    .limit(1)
)


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
    row = uow.connection.execute(_HEAD, {"tenant": uow.tenant}).first()
    return Head(0, GENESIS, "") if row is None else Head(row[0], bytes(row[1]), utc_text(row[2]))


def hash_of(uow: UnitOfWork, journal: int) -> bytes | None:
    """Return the hash of one journal, None where it is not there."""
    query = select(SEAL.c.hash).where(SEAL.c.tenant == uow.tenant, SEAL.c.journal == journal)
    found = uow.connection.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)


def by_key(uow: UnitOfWork, keys: Sequence[str]) -> dict[str, StoredJournal]:
    """Return the journals that already have one of `keys`."""
    columns = (
        "j.key, j.id, j.canonical, "
        "(select s.hash from journal_seal s where s.tenant = j.tenant and s.journal = j.id) as hash"
    )
    if uow.is_sqlite:
        statement = f"select {columns} from json_each(?) k cross join journal j on j.tenant = ? and j.key = k.value"  # noqa: S608
        rows = uow.connection.exec_driver_sql(statement, (json.dumps(keys), uow.tenant))
    else:
        statement = f"select {columns} from journal j where j.tenant = %s and j.key = any(%b)"  # noqa: S608
        rows = uow.connection.exec_driver_sql(statement, (uow.tenant, list(keys)))
    return {row[0]: StoredJournal(row[1], bytes(row[2]), bytes(row[3])) for row in rows}


def after(uow: UnitOfWork, journal: int, limit: int) -> list[StoredJournal]:
    """Return up to `limit` journals beyond number `journal`, in order."""
    query = (
        select(JOURNAL.c.id, JOURNAL.c.canonical, SEAL.c.hash)
        .join(SEAL, (SEAL.c.tenant == JOURNAL.c.tenant) & (SEAL.c.journal == JOURNAL.c.id))
        .where(JOURNAL.c.tenant == uow.tenant, JOURNAL.c.id > journal)
        .order_by(JOURNAL.c.id)
        .limit(limit)
    )
    return [StoredJournal(row[0], bytes(row[1]), bytes(row[2])) for row in uow.connection.execute(query)]


def sums(uow: UnitOfWork, conditions: Sequence[ColumnElement[bool]]) -> dict[Account, int]:
    """Return the sum of entries by account, over the journals and accounts that satisfy `conditions`.

    SQLite's sum is 64-bit, so there it is taken in two halves.
    """
    amount = ENTRY.c.amount
    halves = [func.sum(amount)]
    if uow.is_sqlite:
        whole = type_coerce(amount, BigInteger)
        halves = [func.sum(whole.op(">>")(32)), func.sum(whole.op("&")(2**32 - 1))]
    names = [ACCOUNT.c[name] for name in Account._fields]
    query = (
        select(*names, *halves)
        .join(JOURNAL, (JOURNAL.c.tenant == ENTRY.c.tenant) & (JOURNAL.c.id == ENTRY.c.journal))
        .join(ACCOUNT, (ACCOUNT.c.tenant == ENTRY.c.tenant) & (ACCOUNT.c.id == ENTRY.c.account))
        .where(ENTRY.c.tenant == uow.tenant, *conditions)
        .group_by(*names)
    )
    width = len(Account._fields)
    found = {}
    with whole_tables(uow):
        for row in uow.connection.execute(query).all():
            high, low = (row[width], row[width + 1]) if uow.is_sqlite else (0, row[width])
            found[Account(*row[:width])] = (int(high) << 32) + int(low)
    return found


@contextmanager
def whole_tables(uow: UnitOfWork) -> Iterator[None]:
    """Join whole tables by hash on PostgreSQL, which without statistics takes a tenant for one row in 200 and loops."""
    if not uow.is_sqlite:
        uow.connection.execute(text("set local enable_nestloop = off"))
    yield
    if not uow.is_sqlite:
        uow.connection.execute(text("set local enable_nestloop = on"))


def reversed_by(uow: UnitOfWork, journal: int) -> str | None:
    """Return the key of the journal that reverses `journal`."""
    query = text("select key from journal where tenant = :tenant and reverses = :journal")
    return uow.connection.execute(query, {"tenant": uow.tenant, "journal": journal}).scalar_one_or_none()


def account_states(uow: UnitOfWork, accounts: Iterable[Account]) -> dict[Account, AccountState]:
    """Return those of `accounts` that exist, with their balances.

    One index lookup a name, whatever a planner believes: a cross join keeps its order on SQLite, a lateral with a
    limit on PostgreSQL.
    """
    names = list(accounts)
    named = "a.code = k.code and a.asset = k.asset and a.party = k.party and a.detail = k.detail"
    balance = "(select b.balance from account_balance b where b.tenant = a.tenant and b.account = a.id) as balance"
    if uow.is_sqlite:
        fields = ", ".join(f"value->>{i} as {name}" for i, name in enumerate(Account._fields))
        statement = (
            f"with k as materialized (select {fields} from json_each(?)) select k.*, a.id, {balance} "  # noqa: S608
            f"from k cross join account a on a.tenant = ? and {named}"
        )
        rows = uow.connection.exec_driver_sql(statement, (json.dumps(names), uow.tenant))
    else:
        statement = (
            "select k.*, a.id, a.balance "  # noqa: S608
            f"from unnest(%b::text[], %b::text[], %b::text[], %b::text[]) as k({', '.join(Account._fields)}) "
            f"cross join lateral (select a.id, {balance} from account a where a.tenant = %s and {named} limit 1) a"
        )
        rows = uow.connection.exec_driver_sql(statement, (*_arrays(names, len(Account._fields)), uow.tenant))
    return {Account(*row[:4]): AccountState(row[4], int(row[5])) for row in rows}


def accounts_of(uow: UnitOfWork, code: str, parties: Collection[str]) -> list[Account]:
    """Return the accounts of a code that some parties have."""
    query = select(*[ACCOUNT.c[name] for name in Account._fields]).where(
        ACCOUNT.c.tenant == uow.tenant, ACCOUNT.c.code == code, members(uow, ACCOUNT.c.party, parties)
    )
    return sorted(Account(*row) for row in uow.connection.execute(query))


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
            "from unnest(%b::bigint[], %b::numeric[]) as k(account, balance) "
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
        arrays = ", ".join(f"%b::{column.partition(':')[2]}[]" for column in columns)
        statement = f"insert into {table} (tenant, {names}) select %s, * from unnest({arrays})"  # noqa: S608
        uow.connection.exec_driver_sql(statement, (uow.tenant, *_arrays(rows, len(columns))))


def _arrays(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
