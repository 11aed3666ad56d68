"""A proxy between SDK and twin that breaks connections on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

from tests.stripe_twin.problems import broken, key_in_use, rate_limited
from tests.stripe_twin.server import free_port

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # Loading the trusted authorities takes longer than a request.
_HOP_HEADERS = {"connection", "content-encoding", "content-length", "transfer-encoding", "host"}


class Breakage(StrEnum):
    """What can go wrong on the way."""

    CUT_BEFORE_SENDING = "cut_before_sending"
    CUT_AFTER_COMMIT = "cut_after_commit"
    TOO_MANY = "429"
    SERVER_ERROR = "500"
    CONFLICT = "409"
    DELAY = "delay"
    DUPLICATE = "duplicate"


_ANSWERS = {Breakage.TOO_MANY: rate_limited(), Breakage.SERVER_ERROR: broken(), Breakage.CONFLICT: key_in_use("...")}


@dataclass(slots=True)
class Fault:
    """Breaks the next `times` requests whose `METHOD /path` matches `operation`."""

    breakage: Breakage
    operation: str = ".*"
    times: int = 1
    seconds: float = 0.0


@dataclass(slots=True)
class FaultProxy:
    """Forwards each request to `upstream`, or breaks it as planned; `broken` counts what was broken."""

    upstream: str
    faults: list[Fault] = field(default_factory=list)
    broken: int = 0

    def plan(self, breakage: Breakage, operation: str = ".*", *, times: int = 1, seconds: float = 0.0) -> None:
        """Break the next `times` matching requests."""
        self.faults.append(Fault(breakage, operation, times, seconds))

    def _next_fault(self, operation: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and re.fullmatch(fault.operation, operation):
                fault.times -= 1
                self.broken += 1
                return fault
        return None

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client connection, request after request."""
        try:
            tls = ssl.create_default_context() if self.upstream.startswith("https:") else _NO_TLS
            async with httpx.AsyncClient(base_url=self.upstream, timeout=30, verify=tls) as client:
                while await self._serve_request(reader, writer, client):
                    pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has gone.
        finally:
            writer.close()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: httpx.AsyncClient
    ) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        length = int(next((value for name, value in headers.items() if name.lower() == "content-length"), "0"))
        body = await reader.readexactly(length)
        fault = self._next_fault(f"{method} {target.partition('?')[0]}")
        breakage = None if fault is None else fault.breakage
        if breakage is Breakage.CUT_BEFORE_SENDING:
            return False
        if breakage in _ANSWERS:
            problem = _ANSWERS[breakage]
            _write(writer, httpx.Response(problem.status, json={"error": problem.error}))
            return True
        if fault is not None and breakage is Breakage.DELAY:
            await asyncio.sleep(fault.seconds)
        passed = {name: value for name, value in headers.items() if name.lower() not in _HOP_HEADERS}
        answer = await client.request(method, target, headers=passed, content=body)
        if breakage is Breakage.DUPLICATE:
            answer = await client.request(method, target, headers=passed, content=body)
        if breakage is Breakage.CUT_AFTER_COMMIT:
            return False
        _write(writer, answer)
        return True


@contextlib.contextmanager
def breaking(upstream: str) -> Iterator[tuple[FaultProxy, str]]:
    """Run a proxy before `upstream` until the block ends; yields it and its base address."""
    proxy, port = FaultProxy(upstream), free_port()
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def _serve(stop: asyncio.Event) -> None:
        server = await asyncio.start_server(proxy.serve_connection, "127.0.0.1", port)
        started.set()
        await stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(stop)), name="fault-proxy", daemon=True)
    thread.start()
    started.wait(10)
    yield proxy, f"http://127.0.0.1:{port}"
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def _write(writer: asyncio.StreamWriter, answer: httpx.Response) -> None:
    lines = [f"HTTP/1.1 {answer.status_code} Twin", f"content-length: {len(answer.content)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items() if name.lower() not in _HOP_HEADERS]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + answer.content)
