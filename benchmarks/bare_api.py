"""What the API's handlers are compared with: Litestar handlers that only decode and encode the same bodies.

The quote's also signs the answer and commits one row of its size, all that wait at one moment in one commit.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from litestar import Litestar, post
from litestar.params import JSONBody

from api.schemas.quotes import PreviewView, QuoteBody, QuoteView
from pricing_engine.sealing import new_signer

FOLDER = "ALACARTE_BARE_API_FOLDER"
_signer = new_signer()


class Rows:
    """One table; rows offered while a commit is under way share the next one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def add(self, row: str) -> None:
        """Return when the row is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._arrived.set()
        await done

    async def work(self) -> None:
        """Commit what waits, for ever."""
        connection = sqlite3.connect(self._path, timeout=30, check_same_thread=False, isolation_level=None)
        connection.executescript("pragma journal_mode=wal; pragma synchronous=full")
        connection.execute("create table if not exists row (document text)")
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            waiting, self._waiting = self._waiting, []
            await asyncio.to_thread(_commit, connection, [row for row, _ in waiting])
            for _, done in waiting:
                done.set_result(None)


def _commit(connection: sqlite3.Connection, rows: list[str]) -> None:
    connection.execute("begin immediate")
    connection.executemany("insert into row values (?)", [(row,) for row in rows])
    connection.execute("commit")


def create_app() -> Litestar:
    """Answer every request with the bodies of the folder in ALACARTE_BARE_API_FOLDER."""
    folder = Path(os.environ[FOLDER])
    previewed = msgspec.json.decode((folder / "preview.json").read_bytes(), type=PreviewView)
    quoted = msgspec.json.decode((folder / "quote.json").read_bytes(), type=QuoteView)
    rows = Rows(folder / "bare.db")

    @post("/v1/quotes/preview", status_code=200)
    async def preview(data: JSONBody[QuoteBody]) -> PreviewView:
        return previewed

    @post("/v1/quotes")
    async def quote(data: JSONBody[QuoteBody]) -> QuoteView:
        document = msgspec.json.encode(quoted)
        _signer.sign(document[:32])
        await rows.add(document.decode())
        return quoted

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        writing = asyncio.create_task(rows.work())
        yield
        writing.cancel()

    return Litestar([preview, quote], lifespan=[lifespan])
