"""The twin on a real socket: Litestar under Granian, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import HttpMethod, Litestar, Request, Response, route

from tests.stripe_twin.twin import Twin


def application(current: Callable[[], Twin]) -> Litestar:
    """Return the Litestar application that answers as the current twin does."""

    @route("/{path:path}", http_method=[HttpMethod.GET, HttpMethod.POST, HttpMethod.DELETE])
    async def every_call(request: Request) -> Response[bytes]:
        body = (await request.body()).decode()
        query = request.scope["query_string"].decode()
        twin = current()
        answer = await twin.handle(request.method, request.url.path, query, body, request.headers)
        headers = {"Request-Id": f"req_Twin{len(twin.requests):014d}"}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        content = json.dumps(answer.body).encode()
        return Response(content, status_code=answer.status, headers=headers, media_type="application/json")

    return Litestar([every_call], openapi_config=None, logging_config=None)


@contextlib.contextmanager
def serving(app: Litestar) -> Iterator[str]:
    """Serve `app` on loopback until the block ends; yields the base address."""
    port = free_port()
    started, ended = threading.Event(), threading.Event()
    holder: list[tuple[asyncio.AbstractEventLoop, Server]] = []

    async def _serve() -> None:
        server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
        holder.append((asyncio.get_running_loop(), server))
        started.set()
        await server.serve()

    def _run() -> None:
        asyncio.run(_serve())
        ended.set()

    thread = threading.Thread(target=_run, name="stripe-twin", daemon=True)
    thread.start()
    started.wait(10)
    _wait_until_listening(port)
    yield f"http://127.0.0.1:{port}"
    loop, server = holder[0]
    loop.call_soon_threadsafe(server.stop)
    thread.join(10)


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        threading.Event().wait(0.01)
    raise TimeoutError(f"nothing listens on port {port}")
