"""What all tables share: names of constraints that migrations can refer to, and the tenant in front."""

from __future__ import annotations

from sqlalchemy import MetaData, Table
from sqlmodel import Field, SQLModel

from models.values.ids import MAX_KEY_CHARS

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class TenantRow(SQLModel):
    """Base of every table: each key, primary or foreign, begins with the tenant."""

    tenant: str = Field(primary_key=True, max_length=MAX_KEY_CHARS)


def metadata() -> MetaData:
    """Return the metadata of all tables, loading every table module first."""
    import models.tables.every  # noqa: F401

    return SQLModel.metadata


def table_of(row: type[TenantRow]) -> Table:
    """Return the table of a row class, for statements."""
    table: Table = row.__table__  # type: ignore[attr-defined]
    return table
