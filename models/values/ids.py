"""Identity: keys people choose, the stable bucket of a customer, the default tenant."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from models.values.errors import InvalidValueError

DEFAULT_TENANT = "default"
BUCKET_COUNT = 256
MAX_KEY_CHARS = 120
_KNOWN_BUCKETS = 65_536

_KEY = re.compile(r"[a-z0-9][a-z0-9_.\-]*", re.ASCII)


def check_key(value: object, field: str) -> str:
    """Return a catalog key: lower-case ASCII letters, digits, `_`, `-`, `.`; at most 120 characters."""
    if not isinstance(value, str) or len(value) > MAX_KEY_CHARS or not _KEY.fullmatch(value):
        raise InvalidValueError(
            f"must be 1 to {MAX_KEY_CHARS} of a-z 0-9 _ - . and begin with a letter or digit",
            field=field,
            value=value,
            code="invalid_key",
        )
    return value


def check_external_id(value: object, field: str) -> str:
    """Return an id that somebody else chose: any printable text in NFC, at most 120 characters, as sent.

    Control, surrogate and unassigned characters are refused, and so is text that Unicode normalisation
    would change: two ids that look alike must not differ only in how they are encoded.
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_KEY_CHARS:
        raise InvalidValueError(
            f"must be text of 1 to {MAX_KEY_CHARS} characters", field=field, value=value, code="invalid_id"
        )
    if any(unicodedata.category(char) in {"Cc", "Cs", "Cn"} for char in value):
        raise InvalidValueError(
            "must not contain control characters", field=field, value=ascii(value), code="invalid_id"
        )
    if not unicodedata.is_normalized("NFC", value):
        raise InvalidValueError("must be in Unicode normal form C", field=field, value=ascii(value), code="invalid_id")
    return value


def check_reason(text: str, field: str = "reason") -> str:
    """Return why something is done. Raises InvalidValueError where nothing is said."""
    if not text.strip():
        raise InvalidValueError("say why", field=field, value=text, code="reason_required")
    return text


@lru_cache(maxsize=_KNOWN_BUCKETS)
def bucket_of(tenant: str, customer: str) -> int:
    """Return the customer's bucket, 0 to 255. Stored with each event, so it must never change."""
    digest = hashlib.blake2b(f"{len(tenant)}:{tenant}{customer}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKET_COUNT
