"""What the database refuses by itself, whoever writes to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, func, select, table, text
from sqlalchemy.exc import DBAPIError

from billing import ledger
from billing.database import Database
from tests.ledger_facts import NOON, TENANT, accrual

_JOURNAL = (
    "insert into journal (tenant, id, key, kind, effective_at, recorded_at, memo, canonical) "
    "values ('default', 2, 'k2', 'x', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', '', 'c')"
)
_ENTRY = "insert into entry (tenant, journal, leg, account, asset, amount) values ('default', {}, {}, {}, '{}', {})"
_SEAL = (
    "insert into journal_seal (tenant, journal, previous_hash, hash) "
    "select 'default', 2, hash, hash from journal_seal where journal = 1"
)


@pytest.fixture
def opened(database: Database) -> Iterator[Database]:
    with database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", 5)], recorded_at=NOON)
    with database.writing(TENANT) as uow:
        uow.connection.execute(text("insert into account values ('default', 9, 'bank', 'EUR', '', '')"))
    return database


def _run(database: Database, *statements: str) -> None:
    with database.writing(TENANT) as uow:
        for statement in statements:
            uow.connection.execute(text(statement))


def _counts(connection: Connection) -> list[int]:
    return [connection.scalar(select(func.count()).select_from(table(t))) for t in ("journal", "entry", "journal_seal")]


def test_a_balanced_sealed_journal_is_accepted(opened: Database) -> None:
    entries = (_ENTRY.format(2, 0, 1, "USD", 7), _ENTRY.format(2, 1, 2, "USD", -7))
    _run(opened, _JOURNAL, *entries, _SEAL)
    with opened.engine.connect() as connection:
        assert _counts(connection) == [2, 4, 2]


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param((_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 7), _ENTRY.format(2, 1, 2, "USD", -7)), id="unsealed"),
        pytest.param((_JOURNAL,), id="empty and unsealed"),
        pytest.param((_JOURNAL, _SEAL), id="without entries"),
        pytest.param((_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 7), _SEAL), id="one entry"),
        pytest.param(
            (_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 7), _ENTRY.format(2, 1, 2, "USD", -6), _SEAL), id="unbalanced"
        ),
        pytest.param(
            (_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 7), _ENTRY.format(2, 1, 9, "EUR", -7), _SEAL), id="two assets"
        ),
        pytest.param((_JOURNAL, _ENTRY.format(2, 0, 1, "EUR", 7)), id="asset of another account"),
        pytest.param((_JOURNAL, _ENTRY.format(2, 0, 77, "USD", 7)), id="no such account"),
        pytest.param((_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 0)), id="zero amount"),
        pytest.param((_ENTRY.format(1, 2, 1, "USD", 7), _ENTRY.format(1, 3, 2, "USD", -7)), id="late legs"),
        pytest.param(
            (_JOURNAL, _ENTRY.format(2, 0, 1, "USD", 7), _ENTRY.format(2, 1, 2, "USD", -7),
             "insert into journal_seal values ('default', 2, 'other', 'hash')"), id="seal on another chain"
        ),
        pytest.param(
            (_JOURNAL.replace("2, 'k2'", "3, 'k3'"), _ENTRY.format(3, 0, 1, "USD", 7),
             _ENTRY.format(3, 1, 2, "USD", -7), _SEAL.replace("'default', 2", "'default', 3")), id="gap in the numbers"
        ),
        pytest.param(("update journal set key = 'z'",), id="update journal"),
        pytest.param(("update entry set amount = amount + 1",), id="update entry"),
        pytest.param(("update journal_seal set hash = previous_hash",), id="update seal"),
        pytest.param(("update account set code = 'bank' where id = 1",), id="update account"),
        pytest.param(("delete from entry",), id="delete entry"),
        pytest.param(("delete from journal_seal",), id="delete seal"),
        pytest.param(("delete from journal",), id="delete journal"),
        pytest.param(("delete from account where id = 9",), id="delete account"),
        pytest.param(("delete from account_balance",), id="delete balance"),
        pytest.param(("update account_balance set balance = 1, bounded = true where account = 1",), id="bounded"),
    ],
)  # fmt: skip
def test_the_database_refuses(opened: Database, statements: tuple[str, ...]) -> None:
    with opened.engine.connect() as connection:
        before = _counts(connection)
    with pytest.raises(DBAPIError):
        _run(opened, *statements)
    with opened.engine.connect() as connection:
        assert _counts(connection) == before


@pytest.mark.parametrize(
    "statement",
    [
        "insert or replace into journal select tenant, id, 'z', kind, effective_at, recorded_at, reverses, memo, "
        "canonical from journal",
        "insert or replace into journal select tenant, 2, key, kind, effective_at, recorded_at, reverses, memo, "
        "canonical from journal",
        "insert or replace into entry select tenant, journal, leg, account, asset, amount + 1 from entry",
        "insert or replace into journal_seal select tenant, journal, previous_hash, previous_hash from journal_seal",
        "insert or replace into account select tenant, id, 'bank', asset, party, detail from account where id = 1",
        "insert or replace into account select tenant, 5, code, asset, party, detail from account where id = 1",
        "update account_balance set balance = balance + 9223372036854775807 where account = 2",
        "insert into entry select 'default', 2, 0, 1, 'USD', 9223372036854775808",
    ],
)
def test_sqlite_refuses_replacing_and_overflow(opened: Database, statement: str) -> None:
    if not opened.is_sqlite:
        with pytest.raises(DBAPIError):
            _run(opened, "truncate journal, entry, journal_seal cascade")
        return
    with opened.engine.connect() as connection:
        before = (
            connection.execute(text("select * from journal")).all()
            + connection.execute(text("select * from entry")).all()
        )
    with pytest.raises(DBAPIError, match="ledger:"):
        _run(opened, statement)
    with opened.engine.connect() as connection:
        after = (
            connection.execute(text("select * from journal")).all()
            + connection.execute(text("select * from entry")).all()
        )
    assert after == before
