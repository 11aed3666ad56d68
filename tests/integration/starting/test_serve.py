"""`alacarte serve` as a process: what it shows, and that it ends whenever it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from api.cli.main import main


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_a_server_told_to_stop_while_it_loads_stops(sqlite_template: Path, tmp_path: Path) -> None:
    """Whoever runs services tells a whole group of processes, and may do so a second after they were started."""
    database = tmp_path / "alacarte.db"
    database.write_bytes(sqlite_template.read_bytes())
    environment = {
        **os.environ,
        "ALACARTE_DATABASE_URL": f"sqlite:///{database}",
        "ALACARTE_SIGNING_KEY": str(tmp_path / "key.pem"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [Path(sys.executable).with_name("alacarte"), "serve", "--port", str(free_port())]
    log = tmp_path / "log"
    with log.open("w") as out:
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while "Spawning worker-1" not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.02)
        time.sleep(0.3)  # It has begun to load, which takes some seconds.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_password_is_not_shown_and_the_address_can_be_opened(
    host: str,
    shown: str,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Serving:
        def __init__(self, *_what: object, **_how: object) -> None: ...

        def serve(self, **_how: Any) -> None: ...

    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(password="dont-tell")  # noqa: S106
    monkeypatch.setattr("granian.Granian", Serving)
    monkeypatch.setenv("ALACARTE_DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    port = free_port()
    assert main(["serve", "--host", host, "--port", str(port)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"http://{shown}:{port}  (")
    assert str(url.database) in said
    assert "dont-tell" not in said
