"""PostgreSQL shows a transaction its own tenant's rows in every table, and nothing where no tenant is set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Table, func, insert, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.types import Boolean, Date, DateTime, LargeBinary, Numeric, TypeDecorator

from billing.database import Database
from models.column_types import CanonicalJson
from models.tables.base import metadata

on_postgresql = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
"""Row-level security is PostgreSQL's; on SQLite the queries alone keep tenants apart."""

TABLES = [table for table in metadata().sorted_tables if "tenant" in table.c]


def _value(column: Any, tenant: str) -> Any:
    if column.name == "tenant":
        return tenant
    kind = column.type
    if isinstance(kind, CanonicalJson):
        return {}
    underlying = kind.impl if isinstance(kind, TypeDecorator) else kind
    if isinstance(underlying, DateTime):
        return datetime(2026, 1, 1, tzinfo=UTC)
    if isinstance(underlying, Date):
        return date(2026, 1, 1)
    if isinstance(underlying, LargeBinary):
        return b"x"
    if isinstance(underlying, Boolean):
        return False
    if isinstance(underlying, Numeric):
        return Decimal(1) if kind.__class__.__name__ == "ExactAmount" else 1
    return 1 if underlying.python_type is int else "x"


@pytest.fixture
def filled(database: Database) -> Iterator[Connection]:
    """A connection as a role that is neither owner nor superuser, to a database with one row a tenant and table."""
    role = f"alacarte_test_{uuid4().hex[:8]}"
    with database.engine.connect() as connection:
        with connection.begin():
            connection.execute(text(f"create role {role}"))
            connection.execute(text(f"grant select, insert, update, delete on all tables in schema public to {role}"))
            connection.execute(text("set local session_replication_role = replica"))
            for table in TABLES:
                for constraint in _checks(connection, table.name):
                    connection.execute(text(f'alter table {table.name} drop constraint "{constraint}"'))
                for tenant in ("one", "two"):
                    row = {column.name: _value(column, tenant) for column in table.c}
                    connection.execute(insert(table).values(**row))
        with connection.begin():
            connection.execute(text(f"set local role {role}"))
            yield connection
        with connection.begin():
            connection.execute(text(f"drop owned by {role}"))
            connection.execute(text(f"drop role {role}"))


def _checks(connection: Connection, table: str) -> list[str]:
    query = text("select conname from pg_constraint where contype = 'c' and conrelid = cast(:table as regclass)")
    return list(connection.execute(query, {"table": table}).scalars())


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@on_postgresql
@pytest.mark.postgres
def test_every_table_shows_its_tenants_rows_and_no_others(filled: Connection) -> None:
    assert {table.name: _count(filled, table) for table in TABLES} == dict.fromkeys((t.name for t in TABLES), 0)
    for tenant in ("one", "two", "three"):
        filled.execute(text("select set_config('app.tenant', :tenant, true)"), {"tenant": tenant})
        seen = {table.name: list(filled.execute(select(table.c.tenant)).scalars()) for table in TABLES}
        expected = [] if tenant == "three" else [tenant]
        assert seen == dict.fromkeys((t.name for t in TABLES), expected)


@on_postgresql
@pytest.mark.postgres
def test_no_table_takes_a_row_of_another_tenant(filled: Connection) -> None:
    filled.execute(text("select set_config('app.tenant', 'one', true)"))
    for table in TABLES:
        row = {column.name: _value(column, "three") for column in table.c}
        with pytest.raises(ProgrammingError, match="row-level security"), filled.begin_nested():
            filled.execute(insert(table).values(**row))


@on_postgresql
@pytest.mark.postgres
def test_the_owner_is_held_to_it_as_well(filled: Connection) -> None:
    forced = filled.execute(
        text("select relname from pg_class where relkind = 'r' and relrowsecurity and relforcerowsecurity")
    ).scalars()
    assert {table.name for table in TABLES} <= set(forced)


def test_every_table_has_a_tenant() -> None:
    assert [table.name for table in metadata().sorted_tables if "tenant" not in table.c] == []
