"""The whole API over a real database, with keys of two tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from litestar.testing import TestClient

from api.app import create_app
from api.services import Services
from api.settings import Settings
from billing.api_keys import Scope, create_key, revoke_key
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import publish
from billing.repositories.customers import CustomerRepository
from tests.quote_facts import BOOK, SIGNER, price_book

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANTS = ("default", "other")
LIMITED = {
    "key": "slots",
    "name": "Slots",
    "kind": "quantity",
    "supply_limit": 100,
    "tariff": {"model": "unit", "unit_amount": "100"},
}


@dataclass
class Door:
    """The API as its callers meet it; the clock stands still until a test moves it."""

    client: TestClient[Any]
    database: Database
    clock: list[datetime]
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    def token(
        self, *scopes: str, tenant: str = "default", expires_at: datetime | None = None, name: str = "test"
    ) -> str:
        """Return a key with `scopes`; the same scopes again are answered with the same key."""
        known = (tenant, ",".join([name, *scopes]))
        if known not in self.tokens or expires_at is not None:
            key_id, secret = uuid4().hex, uuid4().hex * 2
            made_at = START if expires_at is None else min(START, expires_at - timedelta(days=1))
            with self.database.writing(tenant) as uow:
                _, token = create_key(uow, name, "sandbox", scopes, key_id, secret, made_at, expires_at)
            if expires_at is not None:
                return token
            self.tokens[known] = token
        return self.tokens[known]

    def revoked(self, *scopes: str) -> str:
        key_id, secret = uuid4().hex, uuid4().hex * 2
        with self.database.writing("default") as uow:
            _, token = create_key(uow, "test", "sandbox", scopes, key_id, secret, START)
            revoke_key(uow, key_id, START)
        return token

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        key: str | None = None,
        raw: bytes | None = None,
        if_match: str | None = None,
        **params: Any,
    ) -> Any:
        """Send one request, with a key of every scope where none is named."""
        headers = {"Authorization": f"Bearer {token or self.token(*Scope)}"}
        if token == "":
            headers = {}
        if key is not None:
            headers["Idempotency-Key"] = key
        if if_match is not None:
            headers["If-Match"] = if_match
        if raw is not None:
            return self.client.request(
                method, path, content=raw, headers={**headers, "Content-Type": "application/json"}, params=params
            )
        return self.client.request(method, path, json=body, headers=headers, params=params)

    def wait(self, **span: float) -> None:
        self.clock[0] += timedelta(**span)


def open_door(
    database_url: str, tmp_path: Path, before: Callable[[Database], None] | None = None, **settings: Any
) -> Iterator[Door]:
    database = Database(database_url, patience_seconds=settings.get("patience_seconds"))
    for tenant in TENANTS:
        with database.writing(tenant) as uow:
            customers = CustomerRepository(uow)
            customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
            customers.save([Customer(f"acme-{tenant}", "hq", "ACME GmbH", "DE", "USD")], START)
            publish(uow, price_book(features=[*BOOK["features"], LIMITED]), SIGNER, START, "ann")
    if before is not None:
        before(database)
    clock = [START]
    (tmp_path / "key.pem").write_bytes(SIGNER.private_pem())
    services = Services(
        Settings(
            database_url, tmp_path / "key.pem", **{"webhook_networks": "127.0.0.0/8", "webhook_seconds": 0, **settings}
        ),
        database,
        SIGNER,
        lambda: clock[0],
    )
    with TestClient(create_app(services), raise_server_exceptions=False) as client:
        yield Door(client, database, clock)
