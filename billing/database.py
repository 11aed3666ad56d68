"""Opening the database: durable SQLite by default, PostgreSQL by URL, one transaction a unit of work."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from billing.unit_of_work import FACTS_CHANGED, UnitOfWork
from models.values.errors import ConflictError, DomainError, InvalidValueError, LimitExceededError

_BUSY_TIMEOUT_MS = 30_000
_LOOK_AGAIN_SECONDS = 0.001
_WRITES = "alacarte_writes"
_PATIENCE = "alacarte_patience"
_ATTEMPTS = 5
_PAUSE_SECONDS = 0.02
_GIVEN_UP = {"40001", "40P01"}
"""SQLSTATE of a serialization failure and of a deadlock: PostgreSQL undid the transaction for another one's sake."""
_CUT_OFF = "57014"
"""SQLSTATE of a statement that ran longer than it may."""
_READ_ONLY = "25006"
"""SQLSTATE of a write on a server that only reads, such as the standby to which a fail-over has not come yet."""
_BROKEN_OFF = ("08", "57P")
"""SQLSTATE of a connection that is gone begins with these; where the client notices it itself there is none."""
_FILE_FAULTS = {sqlite3.SQLITE_NOTADB: "is no SQLite database", sqlite3.SQLITE_CORRUPT: "is damaged"}
_TELLING = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InternalError,  # psycopg's name for a write where only reading is possible.
    sqlite3.OperationalError,
    psycopg.OperationalError,
)
_NAME_TENANT = text("select set_config('app.tenant', :tenant, true)")
_NAME_BOTH = text("select set_config('app.tenant', :tenant, true), set_config('statement_timeout', :patience, true)")

T = TypeVar("T")


class StorageFullError(LimitExceededError):
    """The database has no room left. The transaction is rolled back; what was committed before stays."""

    code = "storage_full"


class WriteConflictError(ConflictError):
    """Other writers were in the way, at every attempt made. Nothing is written; the same may be done again."""

    code = "write_conflict"


class UnreachableError(DomainError):
    """The database was not reached, or not in time: nothing was done, and the same may be done again."""

    code = "busy"


class OvertimeError(UnreachableError):
    """A statement was cut off because it took longer than anybody waits, or waited that long for another one."""


class UnansweredError(DomainError):
    """The database went silent half-way: it may have been done. Send the same again, under the same key or id."""

    code = "unanswered"


class Database:
    """One database, opened durably. Hands out units of work; closes with `close`."""

    def __init__(self, url: str, *, patience_seconds: float | None = None) -> None:
        """Open `url` (`sqlite:///path` or `postgresql://...`). Raises InvalidValueError for other databases.

        `patience_seconds`: how long a connection, a lock or a statement is waited for; OvertimeError then. For ever if
        None (on SQLite half a minute for the write lock): for commands, which may run long.
        """
        self._changes: dict[str, int] = {}
        self._patience = patience_seconds
        parsed = _read_url(url)
        if parsed.get_backend_name() == "postgresql":
            self.engine = create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_size=20,
                max_overflow=20,
                **_bounded(parsed, patience_seconds),
            )
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

    def unhurried(self) -> Database:
        """Return the same database for work that may take long: nothing of it is cut off."""
        unhurried = copy(self)
        unhurried._patience = None
        return unhurried

    @property
    def is_sqlite(self) -> bool:
        """True on SQLite, false on PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self, tenant: str) -> Iterator[UnitOfWork]:
        """Open a writing unit of work: commits on leaving, rolls back on an exception.

        On SQLite it takes the write lock at once, so that no reader has to be upgraded half-way. Raises
        StorageFullError where there is no room, WriteConflictError where the database undid it for another writer's
        sake (`write` begins anew then), UnreachableError, UnansweredError.
        """
        how = {_WRITES: True, _PATIENCE: self._patience}
        with self._telling(), self._connected().execution_options(**how) as connection:
            connection.info.pop(FACTS_CHANGED, None)
            with connection.begin():
                yield self._unit(connection, tenant)
            if connection.info.pop(FACTS_CHANGED, False):
                self._changes[tenant] = self._changes.get(tenant, 0) + 1

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
        """Open a unit of work over one snapshot; whatever it might write is rolled back.

        Raises UnreachableError, UnansweredError.
        """
        with self._telling(), self._connected() as plain_connection:
            connection = plain_connection
            if not self.is_sqlite:
                connection = plain_connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin() as transaction:
                yield self._unit(connection, tenant)
                transaction.rollback()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what it means that the database refused a statement."""
        try:
            yield
        except _TELLING as error:
            if _says_full(error):
                raise StorageFullError(
                    "has no room left", field="database", value=self.engine.url.render_as_string()
                ) from error
            if _was_undone(error) and (self._patience is None or not self.is_sqlite):
                raise WriteConflictError("other writers are in the way", field="database") from error
            if _was_cut_off(error) or _was_undone(error):
                raise OvertimeError("has not answered in time; send it again", field="database") from error
            if _broke_off(error):
                raise UnansweredError("broke off; it may have been done: send it again", field="database") from error
            if _takes_no_writes(error):
                raise UnreachableError("takes no writes; send it again later", field="database") from error
            if _cannot_be_opened(error):
                raise UnreachableError("cannot be opened; send it again later", field="database") from error
            raise

    def _connected(self) -> Connection:
        if self.is_sqlite:
            return self.engine.connect()
        with _reaching():
            return self.engine.connect()

    def _unit(self, connection: Connection, tenant: str) -> UnitOfWork:
        if not self.is_sqlite:
            with _reaching():  # A connection of the pool may have been cut since; this is the first that it hears.
                if self._patience is None:
                    connection.execute(_NAME_TENANT, {"tenant": tenant})
                else:
                    connection.execute(_NAME_BOTH, {"tenant": tenant, "patience": f"{self._patience * 1000:.0f}"})
        return UnitOfWork(connection, tenant)

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to `revision`; does nothing where it is there already.

        Raises UnreachableError, StorageFullError, WriteConflictError, InvalidValueError for a file that cannot be read.
        """
        with (
            self._telling(),
            _checked_file(),
            self._connected().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
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


@contextmanager
def _checked_file() -> Iterator[None]:
    """Tell that a file is no database or a damaged one: where it is first opened, by whoever chose it.

    A file that is damaged later is no fault of a request's: those meet the driver's own error.
    """
    try:
        yield
    except sqlalchemy.exc.DatabaseError as error:
        rule = _FILE_FAULTS.get(getattr(error.orig, "sqlite_errorcode", None))
        if rule is None:
            raise
        raise InvalidValueError(rule, field="database") from error


def _read_url(url: str) -> URL:
    try:
        return make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        # Not shown: a password may stand in it.
        raise InvalidValueError(
            "must be a URL such as sqlite:///alacarte.db or postgresql://host/name", field="database"
        ) from error


def _bounded(url: URL, patience_seconds: float | None) -> dict[str, Any]:
    """Return how long the pool and the network are waited for, except where `url` says so itself."""
    if patience_seconds is None:
        return {}
    seconds = max(int(patience_seconds), 2)  # Less is none to libpq.
    network = {
        "connect_timeout": seconds,
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": seconds,
        "keepalives_interval": max(seconds // 3, 1),
        "keepalives_count": 3,
    }
    return {
        "pool_timeout": patience_seconds,
        "connect_args": {name: value for name, value in network.items() if name not in url.query},
    }


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
    return error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error


def _was_undone(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, sqlite3.OperationalError):
        return _is_busy(cause)
    return getattr(cause, "sqlstate", None) in _GIVEN_UP


def _was_cut_off(error: Exception) -> bool:
    return getattr(_cause(error), "sqlstate", None) == _CUT_OFF


def _broke_off(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, sqlite3.OperationalError):
        return False
    return (getattr(cause, "sqlstate", None) or "08").startswith(_BROKEN_OFF)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # With its extended codes.


def _takes_no_writes(error: Exception) -> bool:
    cause = _cause(error)
    if isinstance(cause, sqlite3.OperationalError):
        return cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY
    return getattr(cause, "sqlstate", None) == _READ_ONLY


def _cannot_be_opened(error: Exception) -> bool:
    cause = _cause(error)
    return isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN


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
            seconds = connection.get_execution_options().get(_PATIENCE) or _BUSY_TIMEOUT_MS / 1000
            _begin_writing(cast("sqlite3.Connection", connection.connection.driver_connection), seconds)
        else:
            connection.exec_driver_sql("begin")


def _begin_writing(connection: sqlite3.Connection, seconds: float) -> None:
    """Take the write lock, waiting for `seconds` as SQLite would, but for a millisecond at a time.

    SQLite's own waits grow to a tenth of a second, in which other writers come and go: the slowest request in a hundred
    took twice as long. Raises sqlite3.OperationalError.
    """
    until = time.monotonic() + seconds
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
