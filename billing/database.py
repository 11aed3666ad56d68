"""Opening the database: durable SQLite by default, PostgreSQL by URL, one transaction a unit of work."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import psycopg
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from billing.unit_of_work import FACTS_CHANGED, UnitOfWork
from models.values.errors import ConflictError, DomainError, InvalidValueError, LimitExceededError

_BUSY_TIMEOUT_MS = 30_000
_LOOK_AGAIN_SECONDS = 0.001
_WRITES = "alacarte_writes"
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02
_GIVEN_UP = {"40001", "40P01"}
"""SQLSTATE of a serialization failure and of a deadlock: PostgreSQL undid the transaction for another one's sake."""

T = TypeVar("T")


class StorageFullError(LimitExceededError):
    """The database has no room left. The transaction is rolled back; what was committed before stays."""

    code = "storage_full"


class WriteConflictError(ConflictError):
    """Other writers were in the way, at every attempt made. Nothing is written; the same may be done again."""

    code = "write_conflict"


class UnreachableError(DomainError):
    """The database was not reached: nothing was done, and the same may be done again."""

    code = "busy"


class Database:
    """One database, opened durably. Hands out units of work; closes with `close`."""

    def __init__(self, url: str) -> None:
        """Open `url` (`sqlite:///path` or `postgresql://...`). Raises InvalidValueError for other databases."""
        self._changes: dict[str, int] = {}
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            self.engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_size=20, max_overflow=20)
        elif parsed.get_backend_name() == "sqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise InvalidValueError("SQLite needs a file: memory is not durable", field="database", value=url)
            self.engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})
            _make_durable(self.engine)
        else:
            raise InvalidValueError("must be a sqlite or postgresql URL", field="database", value=parsed.drivername)

    def changes(self, tenant: str) -> int:
        """Return how often catalog, customers, subscriptions or keys of a tenant were changed through this object."""
        return self._changes.get(tenant, 0)

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, false on PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self, tenant: str) -> Iterator[UnitOfWork]:
        """Open a writing unit of work: commits on leaving, rolls back on an exception.

        On SQLite it takes the write lock at once, so that no reader has to be upgraded half-way. Raises
        StorageFullError where there is no room, WriteConflictError where the database undid it for another writer's
        sake; `write` begins anew then.
        """
        try:
            with self._connected().execution_options(**{_WRITES: True}) as connection:
                connection.info.pop(FACTS_CHANGED, None)
                with connection.begin():
                    yield self._unit(connection, tenant)
                if connection.info.pop(FACTS_CHANGED, False):
                    self._changes[tenant] = self._changes.get(tenant, 0) + 1
        except (sqlalchemy.exc.OperationalError, sqlite3.OperationalError, psycopg.OperationalError) as error:
            if _says_full(error):
                raise StorageFullError(
                    "has no room left", field="database", value=self.engine.url.render_as_string()
                ) from error
            if _was_undone(error):
                raise WriteConflictError("other writers are in the way", field="database") from error
            raise

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """Do `work` in a writing unit of work, and again, five times at most, where other writers undid it.

        A deadlock, a serialization failure or a busy file leaves nothing behind, so `work` begins anew from what is
        there then; it must do nothing outside its unit of work. Raises WriteConflictError after the last attempt.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self.writing(tenant) as uow:
                    return work(uow)
            except WriteConflictError:
                if attempt == _ATTEMPTS:
                    raise
            time.sleep(_PAUSE_SECONDS * attempt)
        raise AssertionError("unreachable")

    @contextmanager
    def reading(self, tenant: str) -> Iterator[UnitOfWork]:
        """Open a unit of work over one snapshot; whatever it might write is rolled back."""
        with self._connected() as plain_connection:
            connection = plain_connection
            if not self.is_sqlite:
                connection = plain_connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin() as transaction:
                yield self._unit(connection, tenant)
                transaction.rollback()

    def _connected(self) -> Connection:
        if self.is_sqlite:
            return self.engine.connect()
        with _reaching():
            return self.engine.connect()

    def _unit(self, connection: Connection, tenant: str) -> UnitOfWork:
        if not self.is_sqlite:
            with _reaching():  # A connection of the pool may have been cut since; this is the first that it hears.
                connection.execute(text("select set_config('app.tenant', :tenant, true)"), {"tenant": tenant})
        return UnitOfWork(connection, tenant)

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`; does nothing where it is there already."""
        with self.engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            config = migration_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def is_migrated(self) -> bool:
        """Tell whether the schema is at head: not behind this version, and not of a later one."""
        with self.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_heads() == _heads()

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


@cache
def _heads() -> tuple[str, ...]:
    return tuple(ScriptDirectory.from_config(migration_config()).get_heads())


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError) as error:
        raise UnreachableError("does not answer; send it again", field="database") from error


def _cause(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, sqlalchemy.exc.OperationalError) else error


def _was_undone(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, sqlite3.OperationalError):
        return _is_busy(cause)
    return getattr(cause, "sqlstate", None) in _GIVEN_UP


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # With its extended codes.


def _says_full(error: Exception) -> bool:
    cause = _cause(error)
    return isinstance(cause, psycopg.errors.DiskFull) or "database or disk is full" in str(cause)


def migration_config() -> Config:
    """Return the alembic configuration; migrations travel inside the `models` package."""
    import models.migrations  # Only when migrating.

    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(models.migrations.__path__)))).replace("%", "%%"))
    return config


def _make_durable(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # Transactions are ours: see _on_begin.
        cursor = connection.cursor()
        for pragma in ("journal_mode=wal", "synchronous=full", "foreign_keys=on", "recursive_triggers=on"):
            cursor.execute(f"pragma {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            _begin_writing(cast("sqlite3.Connection", connection.connection.driver_connection))
        else:
            connection.exec_driver_sql("begin")


def _begin_writing(connection: sqlite3.Connection) -> None:
    """Take the write lock, waiting as long as SQLite would, but for a millisecond at a time.

    SQLite's own waits grow to a tenth of a second, in which other writers come and go: the slowest request in a hundred
    took twice as long. Raises sqlite3.OperationalError.
    """
    until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    connection.execute("pragma busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= until:
                    raise
            else:
                return
            time.sleep(_LOOK_AGAIN_SECONDS)
    finally:
        connection.execute(f"pragma busy_timeout = {_BUSY_TIMEOUT_MS}")
