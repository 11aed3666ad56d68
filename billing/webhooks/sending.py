"""Sending one webhook: the name is resolved once, its addresses are checked, and the checked one is connected to.

No redirect is followed, no proxy of the environment used; what takes longer than five seconds has failed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from billing.webhooks.destinations import DestinationRules, parse_addresses
from models.values.errors import DomainError

TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 64 * 1024
_SHOWN_CHARS = 1000
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host, as text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or the reason why none did; and the beginning of the body."""

    status: int | None
    error: str | None = None
    text: str = ""

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has taken the event over: any 2xx."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host as the system resolves it."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Sender:
    """Sends webhooks within the rules. Never raises: what goes wrong is in the answer."""

    def __init__(self, rules: DestinationRules, resolving: Resolve = resolve) -> None:
        self._rules = rules
        self._resolve = resolving
        self._tls = httpx.create_ssl_context(trust_env=False)  # Reading the certificates each time takes longest.

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post `body` to `url`."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._send(url, headers, body)
        except TimeoutError:
            return Answer(None, f"no answer within {TIMEOUT_SECONDS:g} s")
        except DomainError as error:
            return Answer(None, str(error)[:300])
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            return Answer(None, f"{type(error).__name__}: {error}"[:300])

    async def _send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        parsed = self._rules.check_url(url)
        port = parsed.port or _PORTS[parsed.scheme]
        address = self._rules.check_addresses(parse_addresses(await self._resolve(parsed.host, port)))
        request = httpx.Request(
            "POST",
            parsed.copy_with(host=str(address)),
            headers={
                **headers,
                "host": parsed.netloc.decode(),
                "content-type": "application/json",
                "user-agent": "alacarte-webhooks/1",
            },
            content=body,
            # The certificate has to be the name's, although the address is connected to.
            extensions={"sni_hostname": parsed.host},
        )
        async with httpx.AsyncClient(
            verify=self._tls, trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS
        ) as client:
            response = await client.send(request, stream=True)
            try:
                return Answer(response.status_code, text=await _beginning(response))
            finally:
                await response.aclose()


async def _beginning(response: httpx.Response) -> str:
    """Read at most 64 KiB of what was sent, undecoded: a small body could unpack to a large one."""
    read = bytearray()
    async for chunk in response.aiter_raw():
        read += chunk
        if len(read) >= MAX_ANSWER_BYTES:
            break
    text = bytes(read[:_SHOWN_CHARS]).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)
