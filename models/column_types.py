"""Column types that keep on SQLite what PostgreSQL keeps by itself: exact numbers, aware times, canonical JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Numeric, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from models.values.canonical_json import canonical_bytes
from models.values.quantity import plain

_SQLITE = "sqlite"


class ExactAmount(TypeDecorator[Decimal]):
    """An exact Decimal: NUMERIC on PostgreSQL; text on SQLite, which would turn NUMERIC into a float.

    On SQLite the text does not sort or sum as a number: do both in Python.
    """

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose text on SQLite."""
        return dialect.type_descriptor(Text() if dialect.name == _SQLITE else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuse anything but a finite Decimal."""
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            raise TypeError(f"an exact amount is a finite Decimal, got {value!r}")
        return plain(value) if dialect.name == _SQLITE else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the Decimal that was stored."""
        return None if value is None else Decimal(value)


class LedgerInteger(TypeDecorator[int]):
    """Integer ledger units: NUMERIC(38, 0) on PostgreSQL; a 64-bit INTEGER on SQLite, where overflow is an error."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose a 64-bit integer on SQLite."""
        return dialect.type_descriptor(Integer() if dialect.name == _SQLITE else Numeric(38, 0))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        """Refuse anything but an int."""
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"ledger units are an int, got {value!r}")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Return an int whatever the driver gave."""
        return None if value is None else int(value)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC instant: timestamptz on PostgreSQL; fixed-width ISO text on SQLite, which sorts by time."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose text on SQLite."""
        return dialect.type_descriptor(Text() if dialect.name == _SQLITE else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError(f"a stored time must be aware, got {value!r}")
        return utc_text(value) if dialect.name == _SQLITE else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return an aware UTC datetime."""
        if value is None:
            return None
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)


class CanonicalJson(TypeDecorator[Any]):
    """A JSON document kept as its RFC 8785 text, byte for byte what was hashed."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write the canonical text; `msgspec.Raw` is that text already."""
        if value is None:
            return None
        return (bytes(value) if isinstance(value, msgspec.Raw) else canonical_bytes(value)).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read the document back."""
        return None if value is None else json.loads(value)


_BEFORE_OFFSET = len("2026-01-31T23:59:59.000000")

BIG_SERIAL = BigInteger().with_variant(Integer(), _SQLITE)
"""An autoincrementing 64-bit key on both databases."""


def utc_text(instant: datetime) -> str:
    """Return the one text of an instant: 2026-01-31T23:59:59.000000Z."""
    return f"{instant.astimezone(UTC).isoformat(timespec='microseconds')[:_BEFORE_OFFSET]}Z"
