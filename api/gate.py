"""The gate of the API: who calls, how often, what its key reaches, whether it can be read."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.enums import HttpMethod, ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from api.patience import Wait
from api.problems import any_error
from api.rate_limits import RateLimits
from api.requests import check_address, check_media_type, check_parameters, declared_parameters
from api.security import authenticated, check_scopes


class Gate(ASGIMiddleware):
    """Lets a request through to its handler, or answers why not.

    One middleware, no guards and no `before_request`: the framework copies the handler at every request for each
    guard, and a controller could put a hook of its own in the place of ours. It answers what is raised behind it
    itself: left to the framework, such an answer passes by whoever counts answers.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self) -> None:
        self._declared: dict[BaseRouteHandler, frozenset[str]] = {}

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Name the caller as the request's user and pass the request on. `OPTIONS` alone needs no key."""
        try:
            async with Wait(scope, receive, send) as wait:
                if scope["method"] != HttpMethod.OPTIONS:
                    scope["user"] = caller = await authenticated(scope)
                    scope["auth"] = caller.key
                    limits: RateLimits = scope["litestar_app"].state.limits
                    limits.admit(scope, caller)
                    check_scopes(scope["route_handler"], caller)
                    check_parameters(scope, self._parameters_of(scope["route_handler"]))
                check_address(scope)
                check_media_type(scope)
                await next_app(scope, wait.receive, wait.send)
        except Exception as error:
            request = Request[Any, Any, Any](scope)
            answer = any_error(request, error)
            await answer.to_asgi_response(None, request)(scope, receive, send)

    def _parameters_of(self, handler: BaseRouteHandler) -> frozenset[str]:
        if handler not in self._declared:
            self._declared[handler] = declared_parameters(handler)
        return self._declared[handler]
