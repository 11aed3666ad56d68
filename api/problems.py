"""Errors as RFC 9457 problem+json: stable codes from the domain, statuses decided here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from api.choices import rule_of
from api.requests import MAX_BODY_BYTES, request_id
from models.values.errors import (
    ConflictError,
    DomainError,
    InvalidValueError,
    LimitExceededError,
    NotFoundError,
)

MEDIA_TYPE = "application/problem+json"

_log = logging.getLogger(__name__)


class Problem(msgspec.Struct, omit_defaults=True):
    """What went wrong (RFC 9457). `code` is stable; `field` names the member of the request that is meant."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str = ""
    errors: Any = None
    kept_hash: str = ""
    sent_hash: str = ""
    retry_after: int = 0


_UNAUTHORIZED = 401
HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}
"""What the framework refuses, by status; anything else of it is `malformed`."""
_STATUS_BY_CODE = {
    "idempotency_key_required": 400,
    "invalid_signature": 400,
    "invalid_event": 400,
    "unauthenticated": _UNAUTHORIZED,
    "forbidden": 403,
    "sandbox_only": 403,
    "precondition_failed": 412,
    "precondition_required": 428,
    "rate_limited": 429,
    "busy": 503,
    "not_ready": 503,
    "closed": 503,
    "unanswered": 503,
    "stripe_not_configured": 503,
    "storage_full": 507,
}
_RETRY_AFTER = {"busy": 1, "closed": 1, "unanswered": 1, "not_ready": 5}
"""After how many seconds something else is to be expected."""
_STATUS_BY_KIND: tuple[tuple[type[DomainError], int], ...] = (
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidValueError, 422),
    (LimitExceededError, 422),
    (DomainError, 422),
)


def status_of(error: DomainError) -> int:
    """Return the HTTP status of a domain error: 404 unknown, 409 conflict, 422 a rule, or by its code."""
    by_code = _STATUS_BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    return next(status for kind, status in _STATUS_BY_KIND if isinstance(error, kind))


def retry_after(error: DomainError) -> int:
    """Return in how many seconds the same may be answered otherwise, 0 where nobody knows."""
    wait: int = getattr(error, "retry_after", _RETRY_AFTER.get(error.code, 0))
    return wait


def problem(request: Request[Any, Any, Any], status: int, code: str, detail: str, **more: Any) -> Response[bytes]:  # noqa: ANN401
    """Return one problem document. `more` adds members such as `field`."""
    body = Problem(
        type=f"/problems/{code}",
        title=code.replace("_", " "),
        status=status,
        code=code,
        detail=detail,
        request_id=request_id(request.scope),
        **more,
    )
    headers = {"Retry-After": str(body.retry_after)} if body.retry_after else {}
    if status == _UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), media_type=MEDIA_TYPE, status_code=status, headers=headers)


@contextmanager
def called(**names: str) -> Iterator[None]:
    """Name in a refusal what the caller sent, where the domain calls that otherwise: `called(key="reference")`."""
    try:
        yield
    except DomainError as error:
        if error.field in names:
            error.field = names[error.field]
            error.args = (error.describe(),)
        raise


def domain_error(request: Request[Any, Any, Any], error: DomainError) -> Response[bytes]:
    """Answer a refusal of the domain."""
    wait = retry_after(error)
    return problem(request, status_of(error), error.code, str(error), field=error.field, retry_after=wait)


def http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refuses: malformed bodies are 400, whatever it calls them."""
    if isinstance(error, ValidationException):
        errors = _as_sent(request, error.extra)
        named = [each for each in errors if each.get("key")] if isinstance(errors, list) else []
        detail = "; ".join(f"{each['key']}: {each['message']}" for each in named) or error.detail
        return problem(request, 400, "malformed", detail, field=named[0]["key"] if named else "", errors=errors)
    code = HTTP_CODES.get(error.status_code, "malformed")
    named = error.extra if isinstance(error.extra, dict) else {}
    detail = f"the body is larger than {MAX_BODY_BYTES} bytes" if code == "body_too_large" else error.detail
    answer = problem(request, error.status_code, code, detail, field=named.get("field", ""))
    answer.headers.update(error.headers or {})  # Such as the methods that are allowed.
    return answer


def _as_sent(request: Request[Any, Any, Any], errors: Any) -> Any:  # noqa: ANN401
    """Return what is wrong with each parameter under the name it is sent by: the framework names ours."""
    if not isinstance(errors, list):
        return errors
    ours = request.route_handler.parsed_fn_signature.parameters
    sent = {name: getattr(each.kwarg_definition, "name", None) or name for name, each in ours.items()}
    return [
        each
        if each.get("source") == "body" or "key" not in each
        else each
        | {
            "key": sent.get(each["key"], each["key"]),
            "message": rule_of(each["message"], ours[each["key"]].annotation if each["key"] in ours else Any),
        }
        for each in errors
    ]


def unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer what nobody foresaw: logged under the request's id, told to nobody."""
    _log.error("request %s failed", request_id(request.scope), exc_info=error)
    return problem(request, 500, "internal_error", "it is our fault, and logged under the request id")


def any_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer whatever was raised."""
    if isinstance(error, DomainError):
        return domain_error(request, error)
    if isinstance(error, HTTPException):
        return http_error(request, error)
    return unexpected_error(request, error)
