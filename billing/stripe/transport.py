"""How requests travel to Stripe: one pooled httpx client, our own timeout, a token for each request."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import cache

import httpx
import stripe

TIMEOUT_SECONDS = 10.0


class Transport(stripe.HTTPClient):
    """The HTTP client handed to StripeClient: asynchronous only, and it never retries by itself.

    `take_token` is awaited before each request: that is where the shared rate limit holds requests back.
    """

    name = "alacarte-httpx"

    def __init__(self, take_token: Callable[[], Awaitable[None]], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__()
        self._take_token = take_token
        self._client = httpx.AsyncClient(timeout=timeout_seconds, verify=_tls())

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: object = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request. Raises stripe.APIConnectionError when no answer came: it may have run all the same."""
        await self._take_token()
        content = post_data.encode() if isinstance(post_data, str) else post_data
        if content is not None and not isinstance(content, bytes):
            raise TypeError(f"a request body is text or bytes, got {type(content).__name__}")
        try:
            response = await self._client.request(method, url, headers=dict(headers), content=content)
        except httpx.HTTPError as error:
            message = f"no answer: {type(error).__name__}"
            raise stripe.APIConnectionError(message, should_retry=False) from error  # type: ignore[no-untyped-call]
        return response.content, response.status_code, response.headers

    async def close_async(self) -> None:
        """Close pooled connections."""
        await self._client.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """Load the trusted authorities once a process."""
    return ssl.create_default_context()
