"""A server in a process of its own, and clients that each wait for an answer before they ask again.

The clients are connections of one raw asyncio process, so that the load costs little beside the server.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CLIENTS = 32
STARTED_WITHIN_SECONDS = 60
HOST = "127.0.0.1"

Request = Callable[[int], bytes]
"""The bytes of request number n: head and body."""


def program(name: str) -> str:
    """Return the path of a command installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return one POST of a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def get(path: str, headers: Mapping[str, str]) -> bytes:
    """Return one GET."""
    lines = [f"GET {path} HTTP/1.1", "host: bench", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


class Server(NamedTuple):
    """Where a server listens, and its process."""

    port: int
    pid: int


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], workers: int = 1) -> Iterator[Server]:
    """Run `command --port N --workers M` until the block ends; yields once all workers answer."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--workers", str(workers)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    started = threading.Semaphore(0)
    threading.Thread(target=_pass_on, args=(server, started), daemon=True).start()
    try:
        for _ in range(workers):
            if not started.acquire(timeout=STARTED_WITHIN_SECONDS):
                raise TimeoutError("the server did not start")
        _wait_for(port)  # A worker says that it has started a moment before it listens.
        yield Server(port, server.pid)
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(port: int) -> None:
    until = time.monotonic() + STARTED_WITHIN_SECONDS
    while time.monotonic() < until:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the server did not listen")


def _pass_on(server: subprocess.Popen[bytes], started: threading.Semaphore) -> None:
    """Show what the server says, and count the workers that say that they have started."""
    for line in server.stdout or ():
        sys.stderr.write(line.decode())
        if b"Started worker-" in line:
            started.release()


async def send(port: int, request: Request, count: int, status: int) -> list[float]:
    """Send requests 0 to `count` over all connections; return how long each answer took, in seconds, ascending.

    Raises AssertionError for any other status.
    """
    parts = [range(first, count, CLIENTS) for first in range(CLIENTS)]
    taken = await asyncio.gather(*(_client(port, request, part, status) for part in parts))
    return sorted(each for part in taken for each in part)


def percentile_ms(ascending: Sequence[float], part: float) -> float:
    """Return a percentile of times in milliseconds."""
    return round(ascending[int(part * (len(ascending) - 1))] * 1_000, 2)


async def _client(port: int, request: Request, numbers: range, status: int) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    wanted = f" {status}".encode()
    taken = []
    for number in numbers:
        sent = request(number)
        began = time.perf_counter()
        writer.write(sent)
        first = await reader.readline()
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer = await reader.readexactly(length)
        taken.append(time.perf_counter() - began)
        if wanted not in first:
            raise AssertionError(f"{first!r} {answer!r}")
    writer.close()
    return taken
