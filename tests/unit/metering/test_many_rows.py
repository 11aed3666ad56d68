"""Many rows a statement: the same rows, in the same order, as one at a time."""

from __future__ import annotations

import sqlite3

import pytest

from billing.metering.many_rows import ManyRows

NOTED = ManyRows(
    "insert or fail into note (tenant, number, word)", ("?1", "?", "?"), "on conflict do nothing", shared=1
)


@pytest.fixture
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("create table note (tenant text, number integer, word text not null, unique (tenant, number))")
    return connection


def words(connection: sqlite3.Connection) -> list[tuple[str, int, str]]:
    return connection.execute("select tenant, number, word from note order by rowid").fetchall()


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 101, 237, 1_000])
def test_any_number_of_rows_is_written_in_order(connection: sqlite3.Connection, size: int) -> None:
    rows = [(number, f"word {number}") for number in range(size)]
    assert NOTED.execute(connection.cursor(), ("acme",), rows) == size
    assert words(connection) == [("acme", *row) for row in rows]


def test_rows_that_stand_in_the_way_are_kept_and_not_counted(connection: sqlite3.Connection) -> None:
    NOTED.execute(connection.cursor(), ("acme",), [(5, "first"), (150, "first")])
    assert NOTED.execute(connection.cursor(), ("acme",), [(number, "again") for number in range(237)]) == 235
    assert [row for row in words(connection) if row[2] == "first"] == [("acme", 5, "first"), ("acme", 150, "first")]


def test_a_refused_row_raises_and_goes_with_its_transaction(connection: sqlite3.Connection) -> None:
    connection.execute("begin immediate")
    with pytest.raises(sqlite3.IntegrityError):
        NOTED.execute(
            connection.cursor(), ("acme",), [(number, None if number == 150 else "x") for number in range(237)]
        )
    connection.execute("rollback")
    assert words(connection) == []
