"""How many requests, and how many events, a key may send to this process; refused before a body is read."""

from __future__ import annotations

import time
from collections.abc import Callable

from litestar.types import Scope

from api.requests import ApiRequest, Headers
from api.security import Caller
from api.settings import Settings
from api.token_buckets import Buckets, Standing
from models.values.errors import DomainError

COUNTS_EVENTS = "counts_events"
_STANDINGS = "rate_limits"


class RateLimitedError(DomainError):
    """A key sent more than its share; `retry_after` says in how many seconds there is room again."""

    code = "rate_limited"

    def __init__(self, standing: Standing, retry_after: int) -> None:
        policy = standing.policy
        super().__init__(f"at most {policy.quota} {policy.name} in {policy.window_seconds} s", field="authorization")
        self.retry_after = retry_after


class RateLimits:
    """What each key may still send. Open routes and the pages have no key and no limit."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = Buckets(settings.request_limit)
        self._events = Buckets(settings.event_limit)
        self.clock = clock

    def admit(self, scope: Scope, caller: Caller) -> None:
        """Charge a request to its key; one that brings events needs the key not to be in debt for them.

        Raises RateLimitedError; a refusal costs nothing.
        """
        name, now = _name(caller), self.clock()
        requests = self._requests.look(name, now)
        seen = [requests]
        if scope["route_handler"].opt.get(COUNTS_EVENTS):
            seen.append(self._events.look(name, now))
        scope["state"][_STANDINGS] = {each.policy.name: each for each in seen}
        if requests.tokens < 1:
            raise RateLimitedError(requests, requests.seconds_until(1))
        if seen[-1].is_in_debt:
            raise RateLimitedError(seen[-1], seen[-1].seconds_until(0))
        _note(scope, self._requests.charge(name, 1, now))

    def charge_events(self, request: ApiRequest, count: int) -> None:
        """Charge the events of a body to the key that sent it: how many they are is known once it is parsed."""
        _note(request.scope, self._events.charge(_name(request.user), count, self.clock()))


def _name(caller: Caller) -> tuple[str, str]:
    return caller.tenant, caller.key.id


def _note(scope: Scope, standing: Standing) -> None:
    scope["state"][_STANDINGS][standing.policy.name] = standing


def state_limits(headers: Headers, scope: Scope) -> None:
    """Add `RateLimit-Policy` and `RateLimit` to every answer to a key, refusals included."""
    standings: dict[str, Standing] = scope["state"].get(_STANDINGS, {})
    if standings:
        policies = ", ".join(each.policy.header() for each in standings.values())
        left = ", ".join(each.header() for each in standings.values())
        headers += (b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())
