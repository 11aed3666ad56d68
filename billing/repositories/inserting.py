"""Insert unless it is there: the one statement that the two databases spell through different modules."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from billing.unit_of_work import UnitOfWork


def insert_new(uow: UnitOfWork, table: Table, row: Mapping[str, object]) -> bool:
    """Insert one row; False when a unique key of it was taken and nothing was written."""
    statement = (sqlite if uow.is_sqlite else postgresql).insert(table).on_conflict_do_nothing()
    return uow.connection.execute(statement.values(dict(row)).returning(table.c.tenant)).first() is not None
