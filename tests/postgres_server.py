"""A PostgreSQL server on which databases named alacarte_test_* are made and dropped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import psycopg

from billing.database import Database

_LOCAL_SOCKET = "postgresql:///postgres?host=/var/run/postgresql"
_UNHURRIED = "options=-csynchronous_commit%3Doff"
"""Tests kill our processes, not the server: its commits need not wait for the disk."""


def postgres_url() -> str | None:
    """Return the server to test on: the one named by the environment, or one on the usual local socket."""
    named = os.environ.get("ALACARTE_TEST_POSTGRES_URL")
    if named:
        return named
    try:
        psycopg.connect(_LOCAL_SOCKET, connect_timeout=2).close()
    except psycopg.OperationalError:
        return None
    return _LOCAL_SOCKET


class PostgresServer:
    """Makes and drops databases. Each waits for the disk, so the next is made ahead and the last is dropped later."""

    def __init__(self, url: str, *, durable: bool = False) -> None:
        """Open the server at `url`; `durable`: commits wait for the disk, as users' do."""
        self._url = url
        self._durable = durable
        self._aside = ThreadPoolExecutor(2)
        self._ahead: Future[str] | None = None
        self._migrated = self._create("template0")
        database = Database(self._url_of(self._migrated))
        database.migrate()
        database.close()

    @contextmanager
    def database(self, copy_of: str | None = None) -> Iterator[str]:
        """Yield the URL of a fresh migrated database, dropped afterwards.

        `copy_of`: the URL of one to copy instead, which nobody may be connected to.
        """
        if copy_of is not None:
            made = self._create(copy_of.partition("?")[0].rpartition("/")[2])
        else:
            made = (self._ahead or self._make()).result()
            self._ahead = self._make()
        try:
            yield self._url_of(made)
        finally:
            self._aside.submit(self._drop, made)

    def close(self) -> None:
        """Drop what is left."""
        if self._ahead is not None:
            self._aside.submit(self._drop, self._ahead.result())
        self._aside.shutdown()
        self._drop(self._migrated)

    def _make(self) -> Future[str]:
        return self._aside.submit(self._create, self._migrated)

    def _url_of(self, name: str) -> str:
        head, _, query = self._url.partition("?")
        queries = (query, "" if self._durable else _UNHURRIED)
        return f"{head.rsplit('/', 1)[0]}/{name}?" + "&".join(filter(None, queries))

    def _create(self, template: str) -> str:
        name = f"alacarte_test_{uuid4().hex[:12]}"
        self._execute(f'create database "{name}" template "{template}"')
        return name

    def _drop(self, name: str) -> None:
        self._execute(f'drop database if exists "{name}" with (force)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
