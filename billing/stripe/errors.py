"""From the SDK's exceptions to what they mean for us."""

from __future__ import annotations

from http import HTTPStatus

import stripe

from billing.billing_provider import (
    BusyError,
    DeclinedError,
    MissingError,
    NoAnswerError,
    NotAuthorisedError,
    ProviderError,
    RateLimitedError,
    RefusedError,
    StoredFailureError,
)

_BY_STATUS: dict[int, type[ProviderError]] = {
    HTTPStatus.UNAUTHORIZED: NotAuthorisedError,
    HTTPStatus.PAYMENT_REQUIRED: DeclinedError,
    HTTPStatus.FORBIDDEN: NotAuthorisedError,
    HTTPStatus.NOT_FOUND: MissingError,
    HTTPStatus.CONFLICT: BusyError,
    HTTPStatus.TOO_MANY_REQUESTS: RateLimitedError,
}


def translated(error: stripe.StripeError) -> ProviderError:
    """Return our error for the SDK's, by HTTP status; without a status no answer came."""
    status = error.http_status
    detail = error.error
    reason = getattr(detail, "decline_code", None) or error.code or ""
    return _kind(error, status)(
        str(error.user_message or type(error).__name__),
        status=status,
        reason=str(reason),
        request_id=str(error.request_id or ""),
    )


def _kind(error: stripe.StripeError, status: int | None) -> type[ProviderError]:
    if isinstance(error, stripe.APIConnectionError) or status is None:
        return NoAnswerError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        replayed = (error.headers or {}).get("idempotent-replayed") == "true"
        return StoredFailureError if replayed else NoAnswerError
    return _BY_STATUS.get(status, RefusedError)
