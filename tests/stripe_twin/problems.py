"""The errors the twin answers with, in Stripe's envelope."""

from __future__ import annotations

from typing import Any


class ProblemError(Exception):
    """An error answer. `stored`: whether the idempotency store keeps it (execution had begun)."""

    def __init__(self, status: int, error: dict[str, Any], *, stored: bool) -> None:
        super().__init__(f"{status} {error}")
        self.status = status
        self.error = error
        self.stored = stored


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ProblemError:
    """Return a 400 for parameters that fail validation: nothing ran, nothing is stored."""
    return ProblemError(400, _error("invalid_request_error", message, param=param, code=code), stored=False)


def refused(message: str, *, code: str | None = None, param: str | None = None) -> ProblemError:
    """Return a 400 from a rule that was checked while the request ran."""
    return ProblemError(400, _error("invalid_request_error", message, param=param, code=code), stored=True)


def missing(kind: str, identity: str, param: str = "id") -> ProblemError:
    """Return a 404 for an object that is not there."""
    message = f"No such {kind}: '{identity}'"
    return ProblemError(
        404, _error("invalid_request_error", message, param=param, code="resource_missing"), stored=False
    )


def declined(decline_code: str, payment_intent: dict[str, Any] | None = None) -> ProblemError:
    """Return a 402 from the card network."""
    error = _error("card_error", "Your card was declined.", code="card_declined") | {"decline_code": decline_code}
    if payment_intent is not None:
        error["payment_intent"] = payment_intent
    return ProblemError(402, error, stored=True)


def idempotency_mismatch(key: str) -> ProblemError:
    """Return a 400: the key was used before with other parameters."""
    message = f"Keys for idempotent requests can only be used with the same parameters they were first used with: {key}"
    return ProblemError(400, _error("idempotency_error", message), stored=False)


def key_in_use(key: str) -> ProblemError:
    """Return a 409: another request with this key is running."""
    message = f"There is currently another in-progress request using this Idempotent Key: {key}"
    return ProblemError(409, _error("idempotency_error", message, code="idempotency_key_in_use"), stored=False)


def rate_limited() -> ProblemError:
    """Return a 429."""
    return ProblemError(429, _error("invalid_request_error", "Too many requests", code="rate_limit"), stored=False)


def broken() -> ProblemError:
    """Return a 500 that the idempotency store keeps."""
    return ProblemError(500, _error("api_error", "An unknown error occurred"), stored=True)


def unauthorised() -> ProblemError:
    """Return a 401."""
    return ProblemError(401, _error("invalid_request_error", "Invalid API Key provided"), stored=False)


def _error(kind: str, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    error = {"type": kind, "message": message}
    if param is not None:
        error["param"] = param
    if code is not None:
        error["code"] = code
    return error
