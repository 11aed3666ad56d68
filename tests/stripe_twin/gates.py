"""What stands before the handlers: the idempotency store and the rate limiter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.stripe_twin.problems import idempotency_mismatch, key_in_use

_KEPT_FOR = timedelta(hours=24)


@dataclass(slots=True)
class Answer:
    """Status and JSON body of a response."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


@dataclass(slots=True)
class _Kept:
    fingerprint: tuple[str, str]
    at: datetime
    answer: Answer | None = None


@dataclass(slots=True)
class IdempotencyStore:
    """Keeps the first answer to a key for 24 hours, stored 500s included; then forgets the key."""

    now: Callable[[], datetime]
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def begin(self, key: str, fingerprint: tuple[str, str]) -> Answer | None:
        """Return the kept answer to replay, or None when the request shall run; raises on misuse of the key."""
        kept = self._kept.get(key)
        if kept is not None and self.now() - kept.at >= _KEPT_FOR:
            kept = None
        if kept is None:
            self._kept[key] = _Kept(fingerprint, self.now())
            return None
        if kept.fingerprint != fingerprint:
            raise idempotency_mismatch(key)
        if kept.answer is None:
            raise key_in_use(key)
        return Answer(kept.answer.status, kept.answer.body, replayed=True)

    def keep(self, key: str, answer: Answer) -> None:
        """Remember the answer of a request that ran."""
        self._kept[key].answer = answer

    def forget(self, key: str) -> None:
        """Drop a key whose request never began to execute."""
        del self._kept[key]


@dataclass(slots=True)
class Limiter:
    """A token bucket of one second's worth: `rate` requests a second, refused beyond that."""

    now: Callable[[], datetime]
    rate: float
    refused: int = 0
    _tokens: float = field(init=False)
    _at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.rate, self.now()

    def allows(self) -> bool:
        """Take a token if there is one."""
        passed = (self.now() - self._at).total_seconds()
        self._tokens, self._at = min(self.rate, self._tokens + passed * self.rate), self.now()
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True
