"""Pages: opaque cursors that only this system can have written, for this tenant and this list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar.params import QueryParameter

from api.services import Services
from models.values.errors import InvalidValueError

Cursor = Annotated[str | None, QueryParameter(required=False, description="next_cursor of the page before")]
Limit = Annotated[int, QueryParameter(ge=1, le=500, description="items a page")]
DEFAULT_LIMIT = 100
_TAG_BYTES = 16


def read_cursor(services: Services, tenant: str, of: str, cursor: str | None) -> list[Any] | None:
    """Return the place a cursor names, None for the beginning. Raises InvalidValueError where it was tampered with."""
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError) as error:
        raise _invalid(cursor) from error
    tag, place = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(services, tenant, of, place)):
        raise _invalid(cursor)
    found: list[Any] = msgspec.json.decode(place)
    return found


def page(
    services: Services, tenant: str, of: str, items: Sequence[Any], limit: int, last: Sequence[Any]
) -> dict[str, Any]:
    """Return a page. `last`: the place of its last item; where the page is full, its cursor leads to the next one."""
    full = len(items) == limit
    if not full:
        return {"items": list(items), "next_cursor": None}
    place = msgspec.json.encode(list(last))
    token = base64.urlsafe_b64encode(_tag(services, tenant, of, place) + place).rstrip(b"=").decode()
    return {"items": list(items), "next_cursor": token}


def _tag(services: Services, tenant: str, of: str, place: bytes) -> bytes:
    bound = b"\x00".join((tenant.encode(), of.encode(), place))
    return hmac.new(services.signer.secret("cursors"), bound, hashlib.sha256).digest()[:_TAG_BYTES]


def _invalid(cursor: str) -> InvalidValueError:
    return InvalidValueError("is not a cursor of this list", field="cursor", value=cursor, code="invalid_cursor")
