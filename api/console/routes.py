"""The console's routes: pages for the signed-in, pages for everybody, and the files they load."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router
from litestar.config.csrf import CSRFConfig
from litestar.datastructures.headers import CacheControlHeader
from litestar.exceptions import HTTPException, NotFoundException
from litestar.middleware import DefineMiddleware
from litestar.middleware.csrf import CSRFMiddleware
from litestar.params import FromPath
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from api.console.board import BoardController
from api.console.books import BookPages
from api.console.checkout import CheckoutController
from api.console.collecting import CollectingPages
from api.console.customer_page import CustomerLinkPages, CustomerPage
from api.console.demand import DemandPages
from api.console.downloads import DownloadPages
from api.console.errors import failed, not_served, refused
from api.console.events import EventPages
from api.console.invoice_forms import InvoiceForms
from api.console.invoices import InvoicePages
from api.console.pages import CSRF_COOKIE, HOME, ConsoleRequest, get, go_to
from api.console.prices import PricePages
from api.console.replay import ReplayPages
from api.console.sessions import SessionAuthentication
from api.console.sign_in import SignInController, SignOutController
from api.console.webhook_forms import WebhookForms
from api.console.webhooks import WebhookPages
from api.patience import Patience
from api.requests import check_address
from api.services import Services
from billing.exports.rendering import FONTS
from billing.people import Role
from models.values.errors import DomainError

_PAGES: list[ControllerRouterHandler] = [
    SignOutController,
    BoardController,
    PricePages,
    ReplayPages,
    DemandPages,
    CheckoutController,
    BookPages,
    InvoicePages,
    InvoiceForms,
    EventPages,
    CollectingPages,
    DownloadPages,
    CustomerLinkPages,
    WebhookPages,
    WebhookForms,
]
_A_DAY = CacheControlHeader(max_age=24 * 3600, public=True)
_DOORS = (
    (Role.PRODUCT, "/console/product"),
    (Role.FINANCE, "/console/finance"),
    (Role.APPROVER, "/console/product"),
    (Role.INTEGRATOR, "/console/webhooks"),
)


@get("/", sync_to_thread=False)
def first_door(request: ConsoleRequest) -> Response[object]:
    """Lead to the first door that the person's roles open."""
    return go_to(next(door for role, door in _DOORS if request.user.person.has(role)))


@get("/{wanted:path}", sync_to_thread=False)
def nothing_here(wanted: FromPath[str]) -> None:
    """Answer an address of the console that does not exist with a page."""
    raise NotFoundException(wanted)


@get("/", include_in_schema=False, sync_to_thread=False)
def front_door() -> Response[object]:
    """Lead a browser that knows only the host to the console."""
    return go_to("/console")


async def _look_at_address(request: Request[Any, Any, Any]) -> None:
    """Refuse an address that no database takes, as the API does. Raises ClientException."""
    check_address(request.scope)


def console_routes(services: Services) -> list[ControllerRouterHandler]:
    """Return the console under /console, and the way there from the host's own address."""
    protection = CSRFConfig(
        secret=services.signer.secret("csrf").hex(),
        cookie_name=CSRF_COOKIE,
        cookie_path="/console",
        cookie_httponly=True,
        cookie_samesite="lax",  # A link in a mail would come without a strict one, and make every open form stale.
        cookie_secure=services.settings.environment == "live",
    )
    signed_in = Router(
        "/",
        route_handlers=[first_door, *_PAGES],
        middleware=[SessionAuthentication],
    )
    pages = Router(
        "/console",
        route_handlers=[signed_in, SignInController, CustomerPage, nothing_here],
        middleware=[Patience(), DefineMiddleware(CSRFMiddleware, config=protection)],
        before_request=_look_at_address,
        exception_handlers={DomainError: refused, HTTPException: not_served, Exception: failed},
        include_in_schema=False,
    )
    fonts = create_static_files_router("/console/static/fonts", directories=[FONTS], name="fonts", cache_control=_A_DAY)
    files = create_static_files_router("/console/static", directories=[HOME / "static"])
    return [front_door, pages, fonts, files]
