"""Token buckets: `quota` at once, refilled evenly over `window` seconds. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from models.values.errors import InvalidValueError

_MAX_BUCKETS = 20_000


@dataclass(frozen=True, slots=True)
class Policy:
    """How much a bucket holds, and in how many seconds an empty one is full again."""

    name: str
    quota: int
    window_seconds: int

    def header(self) -> str:
        """Return the policy as `RateLimit-Policy` states it (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.quota};w={self.window_seconds}'


def read_policy(name: str, field: str, text: str) -> Policy:
    """Read `quota/seconds`, such as 6000/60; `field` is where it stands. Raises InvalidValueError."""
    quota, _, window = text.partition("/")
    is_read = all(part.isascii() and part.isdigit() and int(part) > 0 for part in (quota, window))
    if not is_read:
        raise InvalidValueError(
            "must be a quota and seconds, both above zero, such as 6000/60", field=field, value=text
        )
    return Policy(name, int(quota), int(window))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a bucket holds after a look at it; below zero is debt."""

    policy: Policy
    tokens: float

    @property
    def is_in_debt(self) -> bool:
        """True while what was charged afterwards is not refilled."""
        return self.tokens < 0

    def seconds_until(self, tokens: float) -> int:
        """Return in how many whole seconds, rounded up, the bucket holds `tokens`."""
        missing = max(tokens - self.tokens, 0.0)
        return math.ceil(missing * self.policy.window_seconds / self.policy.quota)

    def header(self) -> str:
        """Return what is left and in how many seconds all of it is back, as `RateLimit` states it."""
        return f'"{self.policy.name}";r={max(math.floor(self.tokens), 0)};t={self.seconds_until(self.policy.quota)}'


class Buckets:
    """A bucket for each name, full at first. A full one is not kept: it is as good as none."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._levels: dict[Hashable, tuple[float, float]] = {}

    def look(self, name: Hashable, now: float) -> Standing:
        """Return what a bucket holds at `now`, in seconds of a clock that never goes back."""
        quota = self.policy.quota
        tokens, since = self._levels.get(name, (float(quota), now))
        return Standing(self.policy, min(quota, tokens + (now - since) * quota / self.policy.window_seconds))

    def charge(self, name: Hashable, tokens: int, now: float) -> Standing:
        """Take `tokens`, into debt where there are fewer, and return what is left."""
        after = self.look(name, now).tokens - tokens
        if name not in self._levels and len(self._levels) >= _MAX_BUCKETS:
            self._forget_full(now)
        self._levels[name] = (after, now)
        return Standing(self.policy, after)

    def _forget_full(self, now: float) -> None:
        kept = {name for name in self._levels if self.look(name, now).tokens < self.policy.quota}
        self._levels = {name: level for name, level in self._levels.items() if name in kept}
