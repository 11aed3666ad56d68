"""The demo, smaller, behind a real server; a real Chromium in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from api.cli.main import main as alacarte
from api.settings import load_settings
from examples.llm_gateway.demo import let_people_in, sell, write_events
from examples.llm_gateway.world import MONTHS, accounts
from tests.absent import absent
from tests.e2e.visit import Visit

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
expect.set_options(timeout=30_000)  # A busy machine draws late; how fast it draws is not what the stories hold.
CUSTOMERS = 12
EVENTS = 800


@dataclass(frozen=True)
class World:
    """A served demo: where, and who may sign in."""

    address: str
    passwords: dict[str, str]
    environment: dict[str, str]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Sell, ingest and close two months as `make demo` does, then serve it."""
    home = tmp_path_factory.mktemp("world")
    given = {
        "ALACARTE_DATABASE_URL": f"sqlite:///{home / 'alacarte.db'}",
        "ALACARTE_SIGNING_KEY": str(home / "signing_key.pem"),
        "ALACARTE_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        settings, known = load_settings(), accounts(CUSTOMERS)
        sell(settings, known)
        passwords = let_people_in(settings, home / "sign-in.txt")
        for month in MONTHS:
            write_events(home / "events.jsonl", month, known, EVENTS)
            assert alacarte(("ingest", str(home / "events.jsonl"))) == 0
            assert alacarte(("close", f"{month:%Y-%m}")) == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("alacarte"), "serve", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, **given}, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address)
        yield World(address, passwords, given)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(address: str) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        try:
            httpx.get(f"{address}/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the server did not come up")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, closed after a file's last story: while it is open, its event loop runs in this thread."""
    if CHROMIUM is None:
        absent("no Chromium: the console's stories need one")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield opened
        opened.close()


@pytest.fixture
def visit(world: World, browser: Browser) -> Iterator[Visit]:
    """A browser nobody has used; what it asked of other hosts or complained about fails the test that did it."""
    visiting = Visit(browser, world.address, world.passwords)
    yield visiting
    visiting.end()
