"""Options read as the API reads a body, so that both doors refuse alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from models.values.errors import InvalidValueError

Body = TypeVar("Body", bound=msgspec.Struct)


def body_of(values: Mapping[str, object], into: type[Body]) -> Body:
    """Return a body. Raises InvalidValueError."""
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        raise InvalidValueError(str(error), field=into.__name__) from error
