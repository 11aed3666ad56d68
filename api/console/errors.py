"""Refusals and failures as pages, with the same statuses and codes as the API's."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

from api.console.pages import go_to, page
from api.console.sessions import SignInNeededError
from api.console.wording import SAID_WHOLE, detail
from api.problems import HTTP_CODES, http_error, retry_after, status_of
from api.requests import request_id
from models.values.errors import DomainError

_CODES = {**HTTP_CODES, 403: "stale_form"}
"""A role that is missing is a refusal of ours: what the framework itself forbids here is a form without its token."""

_log = logging.getLogger(__name__)


def refused(request: Request[Any, Any, Any], error: DomainError) -> Response[Any]:
    """Say what the domain refused and why."""
    if isinstance(error, SignInNeededError):
        return _page(request, 403, error.code, "") if error.address is None else go_to(error.address)
    answer = _page(request, status_of(error), error.code, detail(error))
    if wait := retry_after(error):
        answer.headers["Retry-After"] = str(wait)
    return answer


def not_served(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Say that there is no such page, or that the form was not one of ours."""
    code = _CODES.get(error.status_code, "malformed")
    return _page(request, error.status_code, code, "" if code in SAID_WHOLE else error.detail)


def not_served_anywhere(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what matches no route: in the console with a page, as an API with a problem."""
    return (not_served if request.url.path.startswith("/console/") else http_error)(request, error)


def failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Say that it is our fault."""
    _log.error("request %s failed", request_id(request.scope), exc_info=error)
    return _page(request, 500, "internal_error", "")


def _page(request: Request[Any, Any, Any], status: int, code: str, detail: str) -> Response[Any]:
    return page(
        request, "error.html", status=status, error_status=status, code=code, detail=detail,
        request_id=request_id(request.scope),
    )  # fmt: skip
