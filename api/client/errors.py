"""What can go wrong with a call, by what its caller can do about it."""

from __future__ import annotations

import httpx
import msgspec


class ClientError(Exception):
    """Base of everything the client raises."""


class NoAnswerError(ClientError):
    """The server could not be reached, or did not answer in time. The call may or may not have had its effect."""


class Problem(msgspec.Struct):
    """The parts of problem+json (RFC 9457) that the client hands on."""

    code: str = ""
    detail: str = ""
    field: str = ""
    request_id: str = ""


class RefusedError(ClientError):
    """The server refused. `code` is stable, `field` names what is meant, `request_id` the request in its logs."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(f"{status} {problem.code}: {problem.detail} (request {problem.request_id or 'unknown'})")
        self.status = status
        self.code, self.detail = problem.code, problem.detail
        self.field, self.request_id = problem.field, problem.request_id


class MalformedError(RefusedError):
    """400: the request is not what this version of the API reads."""


class NotAllowedError(RefusedError):
    """401 or 403: the key proves nothing, or its scopes do not reach."""


class NotFoundError(RefusedError):
    """404: there is no such thing."""


class ConflictError(RefusedError):
    """409 or 412: contradicts what is recorded."""


class RuleBrokenError(RefusedError):
    """422: well formed, and refused by a rule that `code` names."""


class UnavailableError(RefusedError):
    """429 or 5xx: not now; it was tried several times."""


_BY_STATUS: dict[int, type[RefusedError]] = {
    400: MalformedError,
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    422: RuleBrokenError,
    429: UnavailableError,
}
_SERVER_ERRORS = 500


def problem_of(response: httpx.Response) -> Problem:
    """Return the problem in an answer; what is not one, such as a proxy's page, has no code."""
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except msgspec.MsgspecError:
        return Problem(detail=response.reason_phrase, request_id=response.headers.get("x-request-id", ""))


def refusal(response: httpx.Response) -> RefusedError:
    """Return the error that an answer stands for."""
    status = response.status_code
    kind = UnavailableError if status >= _SERVER_ERRORS else _BY_STATUS.get(status, RefusedError)
    return kind(status, problem_of(response))
