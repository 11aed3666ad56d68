"""Canonical JSON (RFC 8785) and the hashes taken over it.

Numbers are integers or strings: a float has no exact form here and is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import rfc8785

from models.values.errors import InvalidValueError

Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | bool | None


def canonical_bytes(document: Json) -> bytes:
    """Return the RFC 8785 bytes of `document`. Raises InvalidValueError for floats and unsafe integers."""
    _refuse_floats(document)
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise InvalidValueError(str(error), field="document", code="not_canonical") from error


def content_hash(document: Json) -> str:
    """Return the lower-case hex SHA-256 of the canonical bytes of `document`."""
    return hashlib.sha256(canonical_bytes(document)).hexdigest()


def _refuse_floats(document: Json) -> None:
    if isinstance(document, float):
        raise InvalidValueError(
            "a float has no exact form; send a decimal string", value=document, code="float_refused"
        )
    if isinstance(document, Mapping):
        for value in document.values():
            _refuse_floats(value)
    elif isinstance(document, Sequence) and not isinstance(document, str):
        for value in document:
            _refuse_floats(value)
