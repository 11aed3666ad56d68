"""A company with customers and keys behind a real server, for the clients to talk to."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from api.client.http import Client
from billing.api_keys import Scope, create_key
from billing.database import Database
from models.values.ids import DEFAULT_TENANT
from pricing_engine.sealing import new_signer
from tests.billing_story import Company, repriced

INCLUDED = {"model": "unit", "unit_amount": "0.01", "included_units": "100"}
CUSTOMERS = ("acme", "bolt", "cora", "dune", "echo")


@dataclass(frozen=True)
class Served:
    """Where the API answers, and keys by scope."""

    address: str
    keys: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="session")
def served(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    shutil.copy(sqlite_template, home / "alacarte.db")
    url, signer = f"sqlite:///{home / 'alacarte.db'}", new_signer()
    (home / "key.pem").write_bytes(signer.private_pem())
    company = Company(Database(url), signer=signer)
    company.found(*CUSTOMERS)
    company.publish(repriced("calls", INCLUDED))
    with company.database.writing(DEFAULT_TENANT) as uow:
        keys = {
            name: create_key(uow, name, "sandbox", scopes, uuid4().hex, uuid4().hex * 2, datetime.now(UTC))[1]
            for name, scopes in (("all", [*Scope]), ("quote", [Scope.QUOTE]))
        }
    company.database.close()
    given = {"ALACARTE_DATABASE_URL": url, "ALACARTE_SIGNING_KEY": str(home / "key.pem")}
    with serving(given) as address:
        yield Served(address, keys)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.address, served.keys["all"]) as opened:
        yield opened


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[str]:
    """Run `alacarte serve` until the block ends; yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("alacarte"), "serve", "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            httpx.get(f"{address}/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not come up")
