"""Canonical JSON (RFC 8785) and the hashes taken over it.

Numbers are integers or strings: a float has no exact form here and is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import rfc8785

from models.values.errors import InvalidValueError

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | bool | None

_LARGEST_SAFE_INTEGER = 2**53 - 1
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical_bytes(document: Json) -> bytes:
    """Return the RFC 8785 bytes of `document`.

    msgspec writes the same bytes forty times faster while all keys are ASCII; other keys, which RFC 8785
    sorts by UTF-16, go to the reference implementation.
    Raises InvalidValueError for floats, integers beyond 2^53 - 1 and values JSON does not have.
    """
    if _check(document):
        return _encode(document)
    return rfc8785.dumps(document)


def content_hash(document: Json) -> str:
    """Return the lower-case hex SHA-256 of the canonical bytes of `document`."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()


def _check(document: object) -> bool:
    """Return whether every key is ASCII, refusing what has no canonical form."""
    if isinstance(document, str):
        return _check_text(document)
    if document is None or isinstance(document, bool):
        return True
    if isinstance(document, int):
        if abs(document) > _LARGEST_SAFE_INTEGER:
            raise InvalidValueError(
                "an integer beyond 2^53 - 1 is sent as a string", value=document, code="unsafe_integer"
            )
        return True
    if isinstance(document, Mapping):
        ascii_keys = True
        for key, value in document.items():
            if not isinstance(key, str):
                raise InvalidValueError("a key must be text", value=key, code="not_canonical")
            ascii_keys &= key.isascii() & _check(value)
        return ascii_keys
    if isinstance(document, list | tuple):
        return all([_check(value) for value in document])
    raise InvalidValueError("has no exact JSON form; send a decimal string", value=repr(document), code="not_canonical")


def _check_text(text: str) -> bool:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValueError("text has a lone surrogate", value=ascii(text), code="not_canonical") from error
    return True
