"""One unit of work: one transaction, one tenant."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """An open transaction of one tenant. Repositories and statements go through its `connection`.

    It is opened by `Database.writing` or `Database.reading`, which also ends it: nothing inside commits.
    """

    connection: Connection
    tenant: str

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, false on PostgreSQL."""
        return self.connection.dialect.name == "sqlite"
