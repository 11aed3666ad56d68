"""The composition root: settings, database, signer, routes and errors become one Litestar application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig

from api.controllers.health import HealthController
from api.controllers.quotes import QuoteController
from api.controllers.usage import UsageController
from api.problems import domain_error, http_error, unexpected_error
from api.requests import API_VERSION, StrictRequest, identify, refuse_nul
from api.security import KeyAuthentication
from api.services import Services, system_clock
from api.settings import Settings, load_settings
from billing.database import Database
from billing.metering.directory import PriceBookDirectory
from billing.metering.group_commit import GroupCommit
from models.values.errors import DomainError

MAX_BODY_BYTES = 10 * 1024 * 1024


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
            Router(
                "/",
                route_handlers=[QuoteController, UsageController],
                middleware=[KeyAuthentication],
                before_request=refuse_nul,
            ),
        ],
        before_send=[identify],
        exception_handlers={DomainError: domain_error, HTTPException: http_error, Exception: unexpected_error},
        lifespan=[lifespan],
        openapi_config=OpenAPIConfig(title="Alacarte", version=API_VERSION, path="/openapi"),
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"services": wired}),
        request_class=StrictRequest,
    )
