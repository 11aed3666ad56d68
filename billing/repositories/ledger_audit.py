"""Reading the whole ledger in order, in chunks, for verification: rows as they lie, not as anybody means them.

Raw driver rows: verification touches every entry, and a row object each would cost more than the check.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from billing.chart_of_accounts import Account
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError

_CHUNK = 400
_ISO = '\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\''


class UnreadableLedgerError(DomainError):
    """The database could not read rows of the ledger."""

    code = "unreadable_ledger"


AuditedJournal = tuple[int, str, str, str, str, int | None, str, bytes]
"""Id, key, kind, effective and recording time as `utc_text`, reversed id, memo, canonical bytes."""

AuditedSeal = tuple[int, bytes, bytes]
"""Journal, previous hash, hash."""

AuditedEntry = tuple[int, int, int, str, int]
"""Journal, leg, account, asset, amount."""

Stretch = tuple[list[AuditedJournal], list[AuditedSeal], list[AuditedEntry]]
"""Rows of some consecutive journals, in order."""


class Strays(NamedTuple):
    """How many rows of each kind have a number that no journal has."""

    journals: int
    entries: int
    seals: int


def last_journal(uow: UnitOfWork) -> int:
    """Return the highest number of a journal, 0 where there is none."""
    # The bound leaves out what a damaged SQLite file holds instead of a number: to SQLite any text is more.
    query = "select coalesce(max(id), 0) from journal where tenant = %s and id <= 9223372036854775807"
    return int(_rows(uow, query, (uow.tenant,))[0][0])


def strays(uow: UnitOfWork, until: int) -> Strays:
    """Count the rows numbered below 1 or beyond `until`: those that `stretches` does not come by."""
    numbered = (("journal", "id"), ("entry", "journal"), ("journal_seal", "journal"))
    below = "select count(*) from {0} where tenant = %s and {1} < 1"
    beyond = "select count(*) from {0} where tenant = %s and {1} > %s"
    return Strays(
        *(
            _rows(uow, below.format(table, number), (uow.tenant,))[0][0]
            + _rows(uow, beyond.format(table, number), (uow.tenant, until))[0][0]
            for table, number in numbered
        )
    )


def stretches(uow: UnitOfWork, until: int) -> Iterator[Stretch]:
    """Yield journals numbered 1 to `until` with their seals and entries, some at a time; none behind a gap."""
    times, amount = "effective_at, recorded_at", "amount"
    if not uow.is_sqlite:
        times = ", ".join(f"to_char({name} at time zone 'utc', {_ISO})" for name in times.split(", "))
        amount = "amount::text"
    of = "where tenant = %s and {0} > %s and {0} <= %s order by {0}"
    journals = f"select id, key, kind, {times}, reverses, memo, canonical from journal {of.format('id')}"  # noqa: S608
    seals = f"select journal, previous_hash, hash from journal_seal {of.format('journal')}"  # noqa: S608
    entries = f"select journal, leg, account, asset, {amount} from entry {of.format('journal')}, leg"  # noqa: S608
    for after in range(0, until, _CHUNK):
        upto = min(after + _CHUNK, until)
        values = (uow.tenant, after, upto)
        legs = _rows(uow, entries, values)
        if not uow.is_sqlite:  # Decimals, unless asked for as text.
            legs = [(*leg, int(amount)) for *leg, amount in legs]
        found = _rows(uow, journals, values)
        yield found, _rows(uow, seals, values), legs
        if len(found) < upto - after:
            return


def accounts(uow: UnitOfWork) -> dict[int, Account]:
    """Return every account by its id."""
    rows = _rows(uow, "select id, code, asset, party, detail from account where tenant = %s", (uow.tenant,))
    return {row[0]: Account(*row[1:]) for row in rows}


def stored_balances(uow: UnitOfWork) -> dict[int, tuple[int, bool]]:
    """Return balance and bound of every account that has a balance row."""
    rows = _rows(uow, "select account, balance, bounded from account_balance where tenant = %s", (uow.tenant,))
    return {row[0]: (int(row[1]), bool(row[2])) for row in rows}


def damaged_pages(uow: UnitOfWork) -> list[str]:
    """Return what SQLite's own check says of the pages and indexes of the file; [] where all is well.

    PostgreSQL checks pages as it reads them, where its checksums are on.
    """
    if not uow.is_sqlite:
        return []
    return [row[0] for row in _rows(uow, "pragma integrity_check", ()) if row[0] != "ok"]


def _rows(uow: UnitOfWork, statement: str, values: tuple[Any, ...]) -> list[Any]:
    cursor = uow.connection.connection.cursor()
    try:
        cursor.execute(statement.replace("%s", "?") if uow.is_sqlite else statement, values)
        return list(cursor.fetchall())
    except (sqlite3.DatabaseError, psycopg.Error) as error:
        raise UnreadableLedgerError(str(error), field="ledger") from error
    finally:
        cursor.close()
