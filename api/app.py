"""The composition root: settings, database, signer, routes and errors become one Litestar application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.logging import LoggingConfig
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from api.console.errors import not_served_anywhere
from api.console.pages import harden
from api.console.routes import console_routes
from api.controllers.closes import CloseController
from api.controllers.coupons import CouponController
from api.controllers.credit_notes import CreditNoteController
from api.controllers.customers import CustomerController
from api.controllers.demand import DemandController
from api.controllers.entitlements import EntitlementController
from api.controllers.event_lists import ConflictController, EventFateController, UnmatchedController
from api.controllers.exports import ExportController
from api.controllers.health import HealthController
from api.controllers.invoices import InvoiceController
from api.controllers.keys import AuditController, KeyController
from api.controllers.ledger import LedgerController
from api.controllers.price_books import PriceBookController, PriceSheetController
from api.controllers.price_proposals import PriceProposalController
from api.controllers.problems import ProblemController
from api.controllers.quotes import QuoteController
from api.controllers.sandbox import SandboxClockController
from api.controllers.signing_key import SigningKeyController
from api.controllers.stripe_events import StripeEventController
from api.controllers.subscriptions import SubscriptionController
from api.controllers.usage import UsageController
from api.controllers.usage_holds import UsageAlertController, UsageHoldController
from api.controllers.wallets import WalletController
from api.controllers.webhooks import WebhookController
from api.gate import Gate
from api.metrics import Metrics, forget_dead_workers
from api.openapi import openapi_config
from api.problems import domain_error, unexpected_error
from api.rate_limits import RateLimits, state_limits
from api.readiness import Readiness
from api.requests import MAX_BODY_BYTES, StrictRequest, before_answers, identify, state_clock, state_methods
from api.services import Services
from api.settings import Settings, load_settings
from api.tracing import configured_tracer_provider, name_span, tracing_plugin
from api.upkeep import upkeep
from billing.database import Database
from billing.stripe.handing_over import configured_hand_over
from billing.stripe.settings import KEY, stripe_settings
from models.values.errors import DomainError

DOCS = Path(__file__).parent / "static" / "docs"
"""The reference, browsable: Swagger UI from our own files; no page of it asks another host for anything."""

_HANDLERS: list[ControllerRouterHandler] = [
    QuoteController,
    UsageController,
    UsageHoldController,
    UsageAlertController,
    CustomerController,
    EntitlementController,
    WalletController,
    CouponController,
    InvoiceController,
    CreditNoteController,
    CloseController,
    ExportController,
    LedgerController,
    PriceBookController,
    PriceSheetController,
    DemandController,
    PriceProposalController,
    SubscriptionController,
    UnmatchedController,
    ConflictController,
    EventFateController,
    KeyController,
    AuditController,
    WebhookController,
    SandboxClockController,
    SigningKeyController,
]


def create_services(settings: Settings) -> Services:
    """Open the configured database, bring its schema up to date and read the signing key."""
    database = Database(settings.database_url, patience_seconds=settings.patience_seconds or None)
    database.migrate()
    return Services(
        settings,
        database,
        settings.signer(),
        collect=configured_hand_over(os.environ),
        stripe=stripe_settings(os.environ) if os.environ.get(KEY) else None,
        tracer_provider=configured_tracer_provider(os.environ),
    )


def create_app(services: Services | None = None) -> Litestar:
    """Return the application; without `services` they are opened from the environment."""
    wired = services or create_services(load_settings())
    metrics, limits = Metrics(), RateLimits(wired.settings)
    forget_dead_workers()
    tracer = wired.tracer_provider

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with upkeep(wired):
            yield
        await wired.kept.settle()
        wired.close()

    return Litestar(
        route_handlers=[
            HealthController,
            StripeEventController,
            ProblemController,
            *console_routes(wired),
            create_static_files_router("/docs", [DOCS], name="docs", html_mode=True, include_in_schema=False),
            Router(
                "/",
                route_handlers=_HANDLERS,
                middleware=[Gate()],
            ),
        ],
        middleware=[metrics.middleware],
        plugins=[tracing_plugin(tracer)] if tracer else [],
        before_send=[
            before_answers(
                identify, state_limits, state_clock, state_methods, harden, *([name_span] if tracer else [])
            ),
        ],
        exception_handlers={DomainError: domain_error, HTTPException: not_served_anywhere, Exception: unexpected_error},
        lifespan=[lifespan],
        # Its client logs each webhook with its whole address, which often is a secret.
        logging_config=LoggingConfig(loggers={"httpx": {"level": "WARNING"}}),
        openapi_config=openapi_config(),
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"services": wired, "metrics": metrics, "limits": limits, "readiness": Readiness(wired)}),
        request_class=StrictRequest,
    )
