"""Options read as the API reads a body, so that both doors refuse alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from api.choices import WHERE, member_of, rule_of
from models.values.errors import InvalidValueError

Body = TypeVar("Body", bound=msgspec.Struct)


def body_of(values: Mapping[str, object], into: type[Body]) -> Body:
    """Return a body. Raises InvalidValueError."""
    try:
        return msgspec.convert(values, into)
    except msgspec.ValidationError as error:
        said = str(error)
        rule = WHERE.sub("", rule_of(said, into))
        raise InvalidValueError(rule, field=member_of(said) or into.__name__) from error
