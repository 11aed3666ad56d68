"""`alacarte serve`: the API and the console on Granian."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from api.cli.workspace import prepared_database
from api.settings import Settings, load_settings
from models.values.errors import RuleBrokenError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("serve", help="serve the API and the console")
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--port", type=partial(_whole, least=1, most=65535), default=8000)
    command.add_argument("--workers", type=partial(_whole, least=1, most=256), default=1)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from granian import Granian
    from granian.constants import Interfaces

    settings = load_settings()
    _check_free(options.host, options.port)
    database = _prepare(settings)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"http://{host}:{options.port}  ({database})")
    print("sign in as one of `alacarte people list`; `alacarte people add NAME --role product` lets somebody in")
    with _shared_metrics(options.workers):
        Granian(
            "api.serving:create_served_app",
            factory=True,
            address=options.host,
            port=options.port,
            workers=options.workers,
            interface=Interfaces.ASGI,
            websockets=False,
            respawn_failed_workers=True,
        ).serve(target_loader=_load)
    return 0


def _load(_target: str) -> Callable[..., Any]:
    """Return the application, in a worker: one that is stopped while it still loads ends at once.

    It begins with the handlers of the process that started it, under which a signal would pass unheard: whoever stopped
    the server would wait for this worker for ever.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    from api.serving import create_served_app

    return create_served_app()


def _whole(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
    return int(text)


def _check_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened at. Raises RuleBrokenError.

    Granian shares its port with any other server of ours, whatever database that one has: half of the requests would
    go there.
    """
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        raise RuleBrokenError(
            f"cannot be listened at: {error.strerror}", field="address", value=f"{host}:{port}"
        ) from error


def _prepare(settings: Settings) -> str:
    """Make the schema and the signing key once, before several workers would each begin to.

    Returns the database as it may be shown, without its password.
    """
    settings.signer()
    database = prepared_database(settings)
    database.close()
    return database.engine.url.render_as_string()


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Give several workers a directory where each finds the others' metrics; it must be named before they start."""
    if workers == 1 or "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="alacarte-metrics-") as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
