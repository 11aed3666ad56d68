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
_encode_record = msgspec.json.Encoder().encode


class Record(msgspec.Struct, frozen=True, gc=False):
    """An object whose canonical form needs no look at each value: its fields stand in the order of their ASCII names.

    They hold text, booleans, lists and records, or what was written canonically before, as `msgspec.Raw`.
    """


def canonical_bytes(document: Json | Record) -> bytes:
    """Return the RFC 8785 bytes of `document`.

    msgspec writes the same bytes forty times faster while all keys are ASCII; other keys, which RFC 8785
    sorts by UTF-16, go to the reference implementation.
    Raises InvalidValueError for floats, integers beyond 2^53 - 1 and values JSON does not have.
    """
    if isinstance(document, Record):
        return _record_bytes(document)
    if _check(document):
        return _encode(document)
    return rfc8785.dumps(document)


def content_hash(document: Json) -> str:
    """Return the lower-case hex SHA-256 of the canonical bytes of `document`."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()


def _record_bytes(record: Record) -> bytes:
    try:
        return _encode_record(record)
    except UnicodeEncodeError as error:
        raise _lone_surrogate(error.object) from error


def _check(document: object) -> bool:
    """Return whether every key is ASCII, refusing what has no canonical form. Text, the common case, comes first."""
    kind = type(document)
    if kind is str:
        return document.isascii() or _is_encodable(document)  # type: ignore[attr-defined,arg-type]
    if kind is dict:
        return _check_object(document)  # type: ignore[arg-type]
    if kind is list or kind is tuple:
        return all([_check(value) for value in document])  # type: ignore[attr-defined]
    if kind is int and abs(document) <= _LARGEST_SAFE_INTEGER:  # type: ignore[arg-type]
        return True
    if document is None or kind is bool:
        return True
    if isinstance(document, str):  # A StrEnum is written as its text.
        return _is_encodable(document)
    raise InvalidValueError(
        "has no exact JSON form; send a decimal string", field="document", value=repr(document), code="not_canonical"
    )


def _check_object(document: dict[object, object]) -> bool:
    ascii_keys = True
    for key, value in document.items():
        if type(key) is not str:
            raise InvalidValueError("a key must be text", field="document", value=key, code="not_canonical")
        if not key.isascii():
            ascii_keys = not _is_encodable(key)
        if type(value) is not str or not value.isascii():
            ascii_keys &= _check(value)
    return ascii_keys


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _lone_surrogate(text) from error
    return True


def _lone_surrogate(text: str) -> InvalidValueError:
    return InvalidValueError("text has a lone surrogate", field="document", value=ascii(text), code="not_canonical")
