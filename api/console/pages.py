"""Pages: one Jinja environment, and what every template may ask for."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from litestar import MediaType, Request, Response
from litestar.datastructures import Cookie
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from litestar.status_codes import HTTP_303_SEE_OTHER
from litestar.template.base import csrf_token
from litestar.types import Scope
from markupsafe import Markup

from api.console import charts, figures
from api.console.sessions import Visitor
from api.console.wording import LANGUAGES, Words, best_language, detail
from api.requests import Headers, request_id
from billing.audit import Actor

HOME = Path(__file__).resolve().parent
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE = "alacarte_language"
THEME_COOKIE = "alacarte_theme"
CSRF_COOKIE = "alacarte_csrf"
_CSRF_FIELD = Markup('<input type="hidden" name="_csrf_token" value="{}">')
_YEAR = 365 * 24 * 3600
_FILTERS = ("money", "minor", "number", "price", "percent", "day", "days", "minute", "instant")

ConsoleRequest = Request[Visitor, Any, Any]

_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]


def harden(headers: Headers, scope: Scope) -> None:
    """Tell the browser what a page of the console may do; pages, unlike static files, are kept by nobody."""
    if not scope["path"].startswith("/console"):
        return
    headers += _HEADERS
    if not scope["path"].startswith("/console/static/"):
        headers.append((b"cache-control", b"no-store"))


def get(path: str, **options: Any) -> HTTPRouteHandler:  # noqa: ANN401
    """Return the decorator of a page. It answers `HEAD` too, as it does `GET`; `before_answers` leaves its body out."""
    return HTTPRouteHandler(path, http_method=[HttpMethod.GET, HttpMethod.HEAD], **options)


def actor_of(request: ConsoleRequest, now: datetime) -> Actor:
    """Return who does something in the console, for the audit trail."""
    return Actor(request.user.person.name, now, None, request_id(request.scope))


def page(
    request: Request[Any, Any, Any],
    template: str,
    /,
    *,
    status: int = 200,
    language: str = "",
    **context: Any,  # noqa: ANN401
) -> Response[str]:
    """Return a page in the reader's language and colours. `context`: what the template shows.

    `language`: that of the person the page is made for, where they have not chosen another.
    """
    words = Words(language_of(request, language))
    visitor = request.scope.get("user")
    text = (
        _environment()
        .get_template(template)
        .render(
            t=words,
            languages=LANGUAGES,
            theme=theme_of(request),
            visitor=visitor if isinstance(visitor, Visitor) else None,
            csrf_field=_CSRF_FIELD.format(csrf_token({"request": request}) or request.cookies.get(CSRF_COOKIE, "")),
            path=request.url.path,
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            **context,
        )
    )
    return Response(text, media_type=MediaType.HTML, status_code=status)


def go_to(address: str) -> Redirect:
    """Return a redirect after a form was taken."""
    return Redirect(address, status_code=HTTP_303_SEE_OTHER)


def language_of(request: Request[Any, Any, Any], known: str = "") -> str:
    """Return the language to answer in."""
    accepted = request.headers.get("accept-language", "")
    return best_language(request.cookies.get(LANGUAGE_COOKIE), f"{known},{accepted}")


def theme_of(request: Request[Any, Any, Any]) -> str:
    """Return the colours a reader chose; `auto` follows the system."""
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def preference(name: str, value: str, *, secure: bool) -> Cookie:
    """Return a cookie that keeps a reader's choice for a year."""
    return Cookie(key=name, value=value, path="/console", max_age=_YEAR, samesite="lax", httponly=True, secure=secure)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HOME / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"detail": detail} | {name: getattr(figures, name) for name in _FILTERS}
    environment.globals |= {"charts": charts}
    return environment
