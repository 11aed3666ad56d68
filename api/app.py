"""The composition root: settings, database, signer, routes and errors become one Litestar application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uuid_utils
from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.controllers.health import HealthController
from api.controllers.quotes import QuoteController
from api.controllers.usage import UsageController
from api.problems import domain_error, http_error
from api.security import KeyAuthentication
from api.services import Services, system_clock
from api.settings import Settings, load_settings
from billing.database import Database
from billing.metering.directory import PriceBookDirectory
from billing.metering.group_commit import GroupCommit
from models.values.errors import DomainError

API_VERSION = "2026-11-01"
MAX_BODY_BYTES = 10 * 1024 * 1024


class RequestIdentity(ASGIMiddleware):
    """Gives each request an id, and each answer that id and the API version."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, adding headers to its answer."""
        request_id = str(uuid_utils.uuid7())
        scope["state"]["request_id"] = request_id
        added = [(b"x-request-id", request_id.encode()), (b"alacarte-version", API_VERSION.encode())]

        async def send_with_identity(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await next_app(scope, receive, send_with_identity)


def create_services(settings: Settings) -> Services:
    """Open the configured database, bring its schema up to date and read the signing key."""
    database = Database(settings.database_url)
    database.migrate()
    group = GroupCommit(database, PriceBookDirectory(), system_clock)
    return Services(settings, database, settings.signer(), group)


def create_app(services: Services | None = None) -> Litestar:
    """Return the application; without `services` they are opened from the environment."""
    wired = services or create_services(load_settings())

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        yield
        wired.ingest.close()
        wired.database.close()

    return Litestar(
        route_handlers=[
            HealthController,
            Router("/", route_handlers=[QuoteController, UsageController], middleware=[KeyAuthentication]),
        ],
        middleware=[RequestIdentity()],
        exception_handlers={DomainError: domain_error, HTTPException: http_error},
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(title="Alacarte", version=API_VERSION, path="/openapi"),
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"services": wired}),
        request_class=Request,
    )
