"""Signed links to a customer's own page: who it is for and until when, and a tag that only we can have made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from models.values.errors import NotFoundError
from pricing_engine.sealing import Signer

_PURPOSE = "customer-links"
_TAG_BYTES = 32


@dataclass(frozen=True, slots=True)
class CustomerLink:
    """What a link grants: the sight of one customer's page until `expires_at`."""

    tenant: str
    customer: str
    expires_at: datetime


def write_link(link: CustomerLink, signer: Signer) -> str:
    """Return the link's token, safe in an address."""
    place = msgspec.json.encode([link.tenant, link.customer, int(link.expires_at.timestamp())])
    return base64.urlsafe_b64encode(_tag(signer, place) + place).rstrip(b"=").decode()


def read_link(token: str, signer: Signer, at: datetime) -> CustomerLink:
    """Return what a token grants. Raises NotFoundError: forged, cut short, or expired; which of them is not told."""
    try:
        raw = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4))
    except (binascii.Error, ValueError) as error:
        raise _refused() from error
    tag, place = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(signer, place)):
        raise _refused()
    tenant, customer, expires = msgspec.json.decode(place)
    link = CustomerLink(tenant, customer, datetime.fromtimestamp(expires, UTC))
    if at >= link.expires_at:
        raise _refused()
    return link


def _tag(signer: Signer, place: bytes) -> bytes:
    return hmac.new(signer.secret(_PURPOSE), place, hashlib.sha256).digest()


def _refused() -> NotFoundError:
    return NotFoundError("is not valid, or no longer; ask for a new one", field="link", code="unknown_link")
