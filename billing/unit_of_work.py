"""One unit of work: one transaction, one tenant."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

FACTS_CHANGED = "alacarte_facts_changed"


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """An open transaction of one tenant. Repositories and statements go through its `connection`.

    It is opened by `Database.writing` or `Database.reading`, which also ends it: nothing inside commits.
    """

    connection: Connection
    tenant: str

    def facts_change(self) -> None:
        """Say that catalog, customers, subscriptions or keys change here: what was kept of them is read again."""
        self.connection.info[FACTS_CHANGED] = True

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, false on PostgreSQL."""
        return self.connection.dialect.name == "sqlite"
