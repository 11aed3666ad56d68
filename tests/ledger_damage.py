"""Damage to a ledger, one piece at a time: flipped bits, removed rows, swapped rows, with the triggers gone."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from billing import ledger
from billing.chart_of_accounts import Account, Leg
from billing.database import Database
from billing.journals import JournalDraft
from tests.ledger_facts import NOON, TENANT

TABLES = {
    "account": ("id", "code", "asset", "party", "detail"),
    "account_balance": ("account", "balance", "bounded"),
    "journal": ("id", "key", "kind", "effective_at", "recorded_at", "reverses", "memo", "canonical"),
    "journal_seal": ("journal", "previous_hash", "hash"),
    "entry": ("journal", "leg", "account", "asset", "amount"),
}
"""The columns of each table; the key comes first, of `entry` the first two."""


def fill(database: Database, journals: int, seed: int) -> None:
    """Post random journals: several assets, legs and times, some memos, some reversals."""
    rng = random.Random(seed)
    for start in range(0, journals, 500):
        drafts = [random_draft(rng, f"j{number}") for number in range(start, min(start + 500, journals))]
        with database.writing(TENANT) as uow:
            ledger.post(uow, drafts, recorded_at=NOON + timedelta(seconds=start))


def random_draft(rng: random.Random, key: str) -> JournalDraft:
    """One balanced journal in one or two assets, two to five legs in each."""
    legs: list[Leg] = []
    for asset in rng.sample(["USD", "KRW", "BHD"], rng.choice([1, 1, 1, 2])):
        amounts = [rng.choice([-1, 1]) * rng.randint(1, 10 ** rng.randint(1, 15)) for _ in range(rng.randint(1, 4))]
        amounts.append(-sum(amounts) or 7)
        if sum(amounts):
            amounts.append(-sum(amounts))
        codes = ["unbilled", "revenue", "receivable", "tax_payable", "bank"]
        legs += [Leg(Account(rng.choice(codes), asset, f"c{rng.randint(0, 20)}"), amount) for amount in amounts]
    at = NOON + timedelta(seconds=rng.randint(-(10**6), 10**6))
    return JournalDraft(key, rng.choice(["payment", "invoice"]), at, tuple(legs), rng.choice(["", "", "a memo"]))


def disarm(database: Database) -> None:
    """Drop every trigger and stop checking keys, as someone with the file or the owner's password could."""
    with database.engine.begin() as connection:
        if database.is_sqlite:
            for (name,) in connection.execute(text("select name from sqlite_master where type = 'trigger'")).all():
                connection.execute(text(f'drop trigger "{name}"'))
        else:
            for table in TABLES:
                connection.execute(text(f"alter table {table} disable trigger all"))
                connection.execute(text(f"alter table {table} drop constraint if exists ck_{table}_bounded"))


def damage(connection: Connection, rng: random.Random) -> str:
    """Do one piece of damage that leaves the rows different from what they were; return what it was."""
    while True:
        table = rng.choices(list(TABLES), weights=[1, 1, 4, 3, 4])[0]
        rows = [list(row) for row in connection.execute(text(f"select {', '.join(TABLES[table])} from {table}"))]  # noqa: S608
        row = rng.choice(rows)
        match rng.choices(["flip", "remove", "swap"], weights=[6, 2, 2])[0]:
            case "flip":
                column = rng.randrange(len(row))
                changed = [*row]
                changed[column] = _flipped(row[column], rng)
                if changed[column] != row[column] and _replace(connection, table, row, changed, rows):
                    return f"{table}.{TABLES[table][column]}: {row[column]!r} -> {changed[column]!r}"
            case "remove":
                _delete(connection, table, row)
                return f"{table} {row[:2]} removed"
            case "swap":
                other = rng.choice(rows)
                keys = _keys(table)
                if row[keys:] != other[keys:]:
                    _delete(connection, table, row)
                    _delete(connection, table, other)
                    _insert(connection, table, row[:keys] + other[keys:])
                    _insert(connection, table, other[:keys] + row[keys:])
                    return f"{table} {row[:keys]} and {other[:keys]} swapped"


def _keys(table: str) -> int:
    return 2 if table == "entry" else 1


def _flipped(value: Any, rng: random.Random) -> Any:
    """Flip one bit of a value as it is stored; text stays text that the database can hold."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int) and value in {0, 1} and rng.random() < 0.3:  # SQLite's booleans are such numbers.
        return 1 - value
    if value is None:
        return 1
    if isinstance(value, bytes | memoryview):
        changed = bytearray(value)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if isinstance(value, str) and value:
        at = rng.randrange(len(value))
        return value[:at] + chr(ord(value[at]) ^ (1 << rng.randrange(3))) + value[at + 1 :]
    if isinstance(value, str):
        return "x"
    if hasattr(value, "microsecond"):
        return value + timedelta(microseconds=1 << rng.randrange(40))
    return int(value) ^ (1 << rng.randrange(31))


def _replace(connection: Connection, table: str, row: list[Any], changed: list[Any], rows: list[list[Any]]) -> bool:
    """Write the changed row where it does not fall on another one's key."""
    keys = _keys(table)
    if any(other[:keys] == changed[:keys] for other in rows if other is not row):
        return False
    _delete(connection, table, row)
    _insert(connection, table, changed)
    return True


def _delete(connection: Connection, table: str, row: list[Any]) -> None:
    names = TABLES[table][: _keys(table)]
    where = " and ".join(f"{name} = :{name}" for name in names)
    statement = f"delete from {table} where tenant = '{TENANT}' and {where}"  # noqa: S608
    connection.execute(text(statement), dict(zip(names, row, strict=False)))


def _insert(connection: Connection, table: str, row: list[Any]) -> None:
    names = TABLES[table]
    marks = ", ".join(f":{name}" for name in names)
    statement = f"insert into {table} (tenant, {', '.join(names)}) values ('{TENANT}', {marks})"  # noqa: S608
    connection.execute(text(statement), dict(zip(names, row, strict=True)))
