"""Where webhooks may go: an address somebody else chose must not reach what only we can reach (SSRF).

The URL is checked when it is given, the addresses behind its name each time it is used. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpx

from models.values.errors import InvalidValueError, RuleBrokenError

MAX_URL_CHARS = 2000
_LARGEST_PORT = 65535
_MAX_HOST_CHARS = 253
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """`is_live`: https only. `allowed`: networks that are let through although they are private, for trying out."""

    is_live: bool
    allowed: tuple[IPv4Network | IPv6Network, ...] = ()

    def check_url(self, url: str) -> httpx.URL:
        """Return the URL taken apart. Raises InvalidValueError naming what is wrong with it."""
        if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or "\\" in url:
            raise _refused(f"must be at most {MAX_URL_CHARS} printable ASCII characters", url)
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _refused("must be a URL", url) from error
        schemes = {"https"} if self.is_live else {"https", "http"}
        if parsed.scheme not in schemes or not parsed.host:
            raise _refused(f"must begin with {' or '.join(sorted(schemes))}:// and a host", url)
        if parsed.userinfo or parsed.fragment:
            raise _refused("must have no user information and no fragment", url)
        if parsed.port is not None and not 1 <= parsed.port <= _LARGEST_PORT:
            raise _refused(f"must have a port of 1 to {_LARGEST_PORT}", url)
        literal = _literal(parsed.host)
        if literal is not None:
            self.check_addresses([literal])
        elif len(host := parsed.raw_host.decode()) > _MAX_HOST_CHARS or not _HOST.fullmatch(host):
            raise _refused("must have a host that can be looked up", url)
        return parsed

    def check_addresses(self, addresses: Iterable[Address]) -> Address:
        """Return the first address. Raises RuleBrokenError unless every one is public."""
        found = list(addresses)
        for address in found:
            if not self._may_reach(address):
                raise RuleBrokenError(
                    "must not lead to a private address", field="url", value=str(address), code="private_address"
                )
        if not found:
            raise RuleBrokenError("leads nowhere", field="url", code="unknown_host")
        return found[0]

    def _may_reach(self, address: Address) -> bool:
        plain = _unwrapped(address)
        if any(plain in network for network in self.allowed if network.version == plain.version):
            return True
        if plain.is_multicast or plain.is_reserved or getattr(plain, "is_site_local", False):
            return False
        return plain.is_global


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read networks separated by commas. Raises InvalidValueError."""
    try:
        return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise InvalidValueError(
            "must be networks such as 127.0.0.0/8, separated by commas", field="ALACARTE_WEBHOOK_NETWORKS", value=text
        ) from error


def parse_addresses(texts: Sequence[str]) -> list[Address]:
    """Read what a resolver answered; a scope id of IPv6 is cut off."""
    return [ipaddress.ip_address(text.partition("%")[0]) for text in texts]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, as far as it stands for one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]
        if any(address in network for network in _TRANSLATED) or int(address) < 1 << 32:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _refused(rule: str, url: str) -> InvalidValueError:
    return InvalidValueError(rule, field="url", value=url, code="invalid_url")
