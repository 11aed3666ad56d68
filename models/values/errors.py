"""The error tree: every refusal names the field, the value and the rule it broke.

DomainError
├── InvalidValueError (ValueError)        a value that can never be right
├── RuleBrokenError                       right in itself, refused by a rule of the domain
├── NotFoundError (LookupError)           names something that is not there
├── ConflictError                         contradicts what is already recorded
└── LimitExceededError (OverflowError)    larger than the system promises to be exact for
"""

from __future__ import annotations

SHOWN_VALUE_CHARS = 120


class DomainError(Exception):
    """Base of all refusals. `code` is public API: stable, snake_case, one per cause.

    A subclass fixes its `code`; a caller may pass a narrower one for a cause too small for a class.
    """

    code: str = "domain_error"

    def __init__(self, rule: str, *, field: str = "", value: object = None, code: str | None = None) -> None:
        self.rule = rule
        self.field = field
        self.value = value
        if code is not None:
            self.code = code
        super().__init__(self.describe())

    def describe(self) -> str:
        """Return `field: rule, got value`, leaving out what is unknown and cutting what is long."""
        where = f"{self.field}: " if self.field else ""
        shown = "" if self.value is None else f", got {str(self.value)[:SHOWN_VALUE_CHARS]!r}"
        return f"{where}{self.rule}{shown}"


class InvalidValueError(DomainError, ValueError):
    """A value that breaks the form of its field, whatever the circumstances."""

    code = "invalid_value"


class RuleBrokenError(DomainError):
    """A well-formed request that a rule of the domain refuses."""

    code = "rule_broken"


class NotFoundError(DomainError, LookupError):
    """A reference to something that does not exist for this tenant."""

    code = "not_found"


class ConflictError(DomainError):
    """A request that contradicts what is already recorded."""

    code = "conflict"


class LimitExceededError(DomainError, OverflowError):
    """A value beyond the bounds within which results are exact."""

    code = "limit_exceeded"
