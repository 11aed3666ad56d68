"""The clients: `Client` sends at once, `AsyncClient` is awaited. Both send the same calls.

with Client("https://billing.example", key) as client:
    quote = client.send(create_quote("acme", {"seats": 3, "sso": True}))
    client.send(accept_quote(quote.id))
    for invoice in client.items(list_invoices("acme")):
        ...
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, TypeVar

import httpx

from api.client.calls import Call, next_page
from api.client.documents import Page
from api.client.exchange import Attempts, Outcome, answer_of, request_of

Answer = TypeVar("Answer")
Item = TypeVar("Item")
TIMEOUT_SECONDS = 10.0
ATTEMPTS = 4


class Client:
    """Sends calls and waits for their answers. May be used by several threads."""

    def __init__(
        self,
        address: str,
        key: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open a client. `timeout` in seconds for each attempt; `transport` replaces the network."""
        self._http = httpx.Client(transport=transport, **_options(address, key, timeout))
        self._attempts = attempts

    def send(self, call: Call[Answer]) -> Answer:
        """Return the answer. Raises what `api.client.errors` names."""
        attempts = Attempts(self._attempts)
        while True:
            outcome = self._try(call)
            pause = attempts.pause_after(outcome)
            if pause is None:
                return answer_of(call, outcome)
            time.sleep(pause)

    def items(self, call: Call[Page[Item]]) -> Iterator[Item]:
        """Yield the items of a list, page after page."""
        wanted: Call[Page[Item]] | None = call
        while wanted is not None:
            page = self.send(wanted)
            yield from page.items
            wanted = next_page(wanted, page)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _try(self, call: Call[Any]) -> Outcome:
        try:
            return self._http.send(self._http.build_request(**request_of(call)))
        except httpx.TransportError as error:
            return error


class AsyncClient:
    """Sends calls; their answers are awaited."""

    def __init__(
        self,
        address: str,
        key: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        attempts: int = ATTEMPTS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Open a client. `timeout` in seconds for each attempt; `transport` replaces the network."""
        self._http = httpx.AsyncClient(transport=transport, **_options(address, key, timeout))
        self._attempts = attempts

    async def send(self, call: Call[Answer]) -> Answer:
        """Return the answer. Raises what `api.client.errors` names."""
        attempts = Attempts(self._attempts)
        while True:
            outcome = await self._try(call)
            pause = attempts.pause_after(outcome)
            if pause is None:
                return answer_of(call, outcome)
            await asyncio.sleep(pause)

    async def items(self, call: Call[Page[Item]]) -> AsyncIterator[Item]:
        """Yield the items of a list, page after page."""
        wanted: Call[Page[Item]] | None = call
        while wanted is not None:
            page = await self.send(wanted)
            for item in page.items:
                yield item
            wanted = next_page(wanted, page)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _try(self, call: Call[Any]) -> Outcome:
        try:
            return await self._http.send(self._http.build_request(**request_of(call)))
        except httpx.TransportError as error:
            return error


def _options(address: str, key: str, timeout: float) -> dict[str, Any]:
    return {"base_url": address, "headers": {"Authorization": f"Bearer {key}"}, "timeout": timeout}
