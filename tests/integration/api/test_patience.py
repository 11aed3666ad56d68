"""A database that hangs: who asks is told so while it does, and what was asked for is done at most once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from api.patience import TAKES_LONG, Wait
from billing.api_keys import Scope
from billing.database import Database, OvertimeError, UnansweredError
from tests.integration.api.door import Door, open_door

PATIENCE = 1.2
EVENT = {
    "specversion": "1.0",
    "source": "s",
    "type": "llm.request",
    "subject": "acme-default",
    "data": {},
    "time": "2026-03-01T11:00:00Z",
}
LONG = {
    "CheckClose", "CloseMonth", "ReopenMonth", "ExportInvoices", "VerifyLedger", "SimulateDraft", "ProposeEpoch",
}  # fmt: skip
"""What may run as long as it takes; everything else is answered in time."""


@pytest.fixture
def hasty(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """The API, waiting for its database hardly at all."""
    yield from open_door(database_url, tmp_path, patience_seconds=PATIENCE)


@contextmanager
def other(database: Database) -> Iterator[Connection]:
    """A connection of another process."""
    engine = create_engine(database.engine.url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
        connection.rollback()


@contextmanager
def locked(door: Door, *tables: str) -> Iterator[None]:
    with other(door.database) as connection:
        if door.database.is_sqlite:
            connection.exec_driver_sql("begin immediate")
        for table in () if door.database.is_sqlite else tables:
            connection.execute(text(f"lock table {table} in access exclusive mode"))
        yield


def refused(answer: Any, code: str = "busy") -> bool:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["code"], problem["field"]) == (503, code, "database"), problem
    assert answer.headers["retry-after"] == "1"
    return True


def again(call: Callable[[], Any]) -> None:
    """Send until it is done, as a client does: on a busy machine this little patience may be too little."""
    until = time.monotonic() + 60
    while (answer := call()).status_code == 503:
        assert time.monotonic() < until
    assert answer.status_code == 201, answer.text


def quote(door: Door, key: str) -> Any:
    body = {"customer": "acme-default", "selection": {"slots": "1"}}
    return door.call("POST", "/v1/quotes", body, key=key)


def test_writes_wait_for_a_lock_no_longer_than_allowed_and_leave_nothing(hasty: Door) -> None:
    hasty.token(*Scope)
    again(lambda: quote(hasty, "before"))
    with locked(hasty, "usage_event", "quote", "customer"):
        assert refused(hasty.call("POST", "/v1/events", {**EVENT, "id": "e1"}))
        assert refused(
            hasty.call(
                "PUT",
                "/v1/customers/new",
                {"legal_entity": "hq", "legal_name": "N", "country": "IE", "currency": "USD"},
            )
        )
        assert refused(quote(hasty, "q"))
    assert hasty.call("GET", "/v1/customers/new").status_code == 404
    again(lambda: hasty.call("POST", "/v1/events", {**EVENT, "id": "e1"}))
    again(lambda: quote(hasty, "q"))


def test_many_quotes_behind_a_lock_are_all_answered_in_time(hasty: Door) -> None:
    hasty.token(*Scope)
    again(lambda: quote(hasty, "before"))
    with locked(hasty, "quote", "request_key"), ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda number: quote(hasty, f"q{number}"), range(12)))
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["code"] for answer in answers} <= {"busy", "unanswered"}
    for number in range(12):
        again(lambda number=number: quote(hasty, f"q{number}"))


@pytest.mark.parametrize("path", ["/v1/customers", "/v1/invoices", "/console/sign-in"])
def test_reads_wait_for_a_lock_no_longer_than_allowed(hasty: Door, path: str) -> None:
    if hasty.database.is_sqlite:
        return  # Readers wait for nobody there.
    hasty.token(*Scope)
    with locked(hasty, "customer", "invoice", "person"):
        answer = hasty.call("GET", path)
        if path.startswith("/console"):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "<html" in answer.text
        else:
            assert refused(answer)
    assert hasty.call("GET", path).status_code == 200


def test_a_month_is_closed_however_long_it_waits(hasty: Door) -> None:
    hasty.token(*Scope)
    with locked(hasty, "close_run"):
        closing = ThreadPoolExecutor(1).submit(hasty.call, "POST", "/v1/closes/2026-01", {}, key="c")
        time.sleep(3 * PATIENCE)
        assert not closing.done()
    assert closing.result().status_code == 200


def test_work_that_is_not_hurried_is_cut_off_by_nobody(hasty: Door) -> None:
    if hasty.database.is_sqlite:
        return
    nap = text(f"select pg_sleep({2 * PATIENCE})")
    with pytest.raises(OvertimeError), hasty.database.reading("default") as uow:
        uow.connection.execute(nap)
    with hasty.database.unhurried().reading("default") as uow:
        uow.connection.execute(nap)


def test_only_what_takes_long_is_waited_for(hasty: Door) -> None:
    routes = [route for route in hasty.client.app.routes if route.path.startswith("/v1")]
    handlers = [each for route in routes for each in getattr(route, "route_handlers", ())]
    assert {str(each.operation_id) for each in handlers if each.opt.get(TAKES_LONG)} == LONG


@pytest.mark.parametrize(
    ("slow", "ends"),
    [("work", True), ("body", False), ("answer", False), ("work after the body", True), ("rest", False)],
)
def test_only_the_time_in_which_nobody_else_is_waited_for_counts(slow: str, ends: bool) -> None:
    long = 0.2
    settings = SimpleNamespace(patience_seconds=long / 4)
    app = SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(settings=settings)))
    scope: Any = {"litestar_app": app, "route_handler": SimpleNamespace(opt={})}

    async def receive() -> Any:
        await asyncio.sleep(long if slow == "body" else 0)

    async def send(_message: Any) -> None:
        await asyncio.sleep(long if slow == "answer" else 0)

    async def request() -> None:
        async with Wait(scope, receive, send) as wait:
            await asyncio.sleep(long if slow == "work" else 0)
            await wait.receive()
            await asyncio.sleep(long if slow == "work after the body" else 0)
            await wait.send({})  # type: ignore[typeddict-item]
            await asyncio.sleep(long if slow == "rest" else 0)

    with pytest.raises(UnansweredError) if ends else nullcontext():
        asyncio.run(request())


def test_who_gives_up_a_request_is_told_nothing_of_the_database() -> None:
    settings = SimpleNamespace(patience_seconds=60)
    app = SimpleNamespace(state=SimpleNamespace(services=SimpleNamespace(settings=settings)))
    scope: Any = {"litestar_app": app, "route_handler": SimpleNamespace(opt={})}

    async def request() -> None:
        async with Wait(scope, None, None):  # type: ignore[arg-type]
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


class Line:
    """A network to PostgreSQL's socket that can swallow what is sent."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._flows = threading.Event()
        self._flows.set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        self._door.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._to)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source:
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.mark.postgres
def test_a_network_that_swallows_everything_hangs_nobody(postgres_server: Any, tmp_path: Path) -> None:
    with postgres_server.database() as url:
        parsed = make_url(url)
        folder = str(parsed.query.get("host", ""))
        if not folder.startswith("/"):
            return  # A server elsewhere: no socket to stand in front of.
        line = Line(f"{folder}/.s.PGSQL.5432")
        query = {name: value for name, value in parsed.query.items() if name != "host"}
        through = parsed.set(host="127.0.0.1", port=line.port, query=query).render_as_string(hide_password=False)
        doors = open_door(through, tmp_path, patience_seconds=PATIENCE)
        door = next(doors)
        try:
            door.token(*Scope)
            again(lambda: quote(door, "before"))
            line.stall()
            with ThreadPoolExecutor(8) as clients:
                asked = [
                    *(
                        clients.submit(door.call, "GET", path)
                        for path in ("/v1/customers", "/v1/invoices", "/v1/quotes")
                    ),
                    clients.submit(door.call, "POST", "/v1/events", {**EVENT, "id": "e1"}),
                    clients.submit(quote, door, "q"),
                    clients.submit(door.call, "PUT", "/v1/customers/acme-default", {}),
                ]
                answers = [each.result() for each in asked]
            assert {answer.status_code for answer in answers} <= {503, 400}
            assert {answer.json()["code"] for answer in answers} <= {"busy", "unanswered", "malformed"}
            line.flow()
            time.sleep(PATIENCE)
            again(lambda: quote(door, "q"))
            assert door.call("POST", "/v1/events", {**EVENT, "id": "e1"}).status_code in {200, 201}
            assert door.call("GET", "/v1/customers").status_code == 200
        finally:
            line.close()
            next(doors, None)
