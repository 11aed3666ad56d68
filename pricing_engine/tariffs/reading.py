"""Reading a document of plain JSON values: every refusal names the field, the value and the rule."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.quantity import parse_decimal

_ZERO = Decimal(0)
_HUNDRED = Decimal(100)


class Fields:
    """One JSON object being read. Each `take` marks its field as known; `finish` refuses what is left.

    A null field is an absent one.
    """

    __slots__ = ("_document", "_known", "_path")

    def __init__(self, document: object, path: str) -> None:
        if not isinstance(document, Mapping):
            raise InvalidValueError("must be an object", field=path, value=repr(document), code="not_an_object")
        self._document: Mapping[str, Any] = document
        self._path = path
        self._known: set[str] = set()

    def path(self, name: str) -> str:
        """Return the full name of a field, as error messages show it."""
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """Return the raw value of a field, None where absent."""
        self._known.add(name)
        return self._document.get(name)

    def require(self, name: str, code: str = "missing_field") -> Any:  # noqa: ANN401 - JSON
        """Return the raw value of a field that must be there."""
        value = self.take(name)
        if value is None:
            raise InvalidValueError("is required", field=self.path(name), code=code)
        return value

    def decimal(self, name: str) -> Decimal | None:
        """Read a number of any sign."""
        value = self.take(name)
        return None if value is None else parse_decimal(value, self.path(name))

    def amount(self, name: str, code: str = "negative_amount") -> Decimal | None:
        """Read a number >= 0; `code` is what a negative one is refused with."""
        number = self.decimal(name)
        if number is not None and number < _ZERO:
            raise InvalidValueError("must be >= 0", field=self.path(name), value=number, code=code)
        return number

    def positive(self, name: str, code: str) -> Decimal | None:
        """Read a number > 0; `code` is what zero or less is refused with."""
        number = self.decimal(name)
        if number is not None and number <= _ZERO:
            raise InvalidValueError("must be > 0", field=self.path(name), value=number, code=code)
        return number

    def percent(self, name: str, code: str, *, at_most_hundred: bool = False) -> Decimal | None:
        """Read a percentage, 50 = 50 %."""
        number = self.amount(name, code)
        if number is not None and at_most_hundred and number > _HUNDRED:
            raise InvalidValueError("must be <= 100", field=self.path(name), value=number, code=code)
        return number

    def count(self, name: str, code: str) -> int | None:
        """Read a whole number >= 0."""
        number = self.decimal(name)
        if number is None:
            return None
        if number < _ZERO or number != number.to_integral_value():
            raise InvalidValueError("must be a whole number >= 0", field=self.path(name), value=number, code=code)
        return int(number)

    def flag(self, name: str) -> bool | None:
        """Read true or false."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidValueError(
                "must be true or false", field=self.path(name), value=repr(value), code="not_a_boolean"
            )
        return value

    def text(self, name: str, code: str) -> str | None:
        """Read text of 1 to 120 characters."""
        value = self.take(name)
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= 120):  # noqa: PLR2004
            raise InvalidValueError(
                "must be text of 1 to 120 characters", field=self.path(name), value=repr(value), code=code
            )
        return value

    def choice(self, name: str, allowed: tuple[str, ...], code: str) -> str | None:
        """Read one of a few words."""
        value = self.take(name)
        if value is not None and value not in allowed:
            raise InvalidValueError(
                f"must be one of {', '.join(allowed)}", field=self.path(name), value=repr(value), code=code
            )
        return None if value is None else str(value)

    def object(self, name: str) -> Fields | None:
        """Read a nested object."""
        value = self.take(name)
        return None if value is None else Fields(value, self.path(name))

    def array(self, name: str, at_most: int, limit_code: str) -> list[Any] | None:
        """Read a list of at most `at_most` entries."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise InvalidValueError("must be a list", field=self.path(name), value=repr(value), code="not_a_list")
        if len(value) > at_most:
            raise LimitExceededError(f"at most {at_most} entries", field=self.path(name), code=limit_code)
        return list(value)

    def finish(self, code: str = "unknown_field") -> None:
        """Refuse any field that nobody took and that is not null."""
        for name, value in self._document.items():
            if name not in self._known and value is not None:
                known = ", ".join(sorted(self._known))
                raise InvalidValueError(f"is not a field here; known are {known}", field=self.path(name), code=code)
