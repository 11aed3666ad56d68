"""The sandbox clock: a tenant's own time, moved forward to see what it brings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, TypedDict

import msgspec
from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import OptionalKey, in_thread
from api.requests import ApiRequest, actor_of
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.tenant_time import FURTHEST_AHEAD
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.period import parse_instant

_MOST_DAYS = FURTHEST_AHEAD.days
Target = Callable[[datetime], datetime]


class ClockBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The time that is to be in force; it goes on from there."""

    now: str


class AdvanceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How far to move the clock."""

    days: Annotated[int, msgspec.Meta(ge=0, le=_MOST_DAYS)] = 0
    seconds: Annotated[int, msgspec.Meta(ge=0, le=_MOST_DAYS * 86_400)] = 0


class ClockView(TypedDict):
    """The time in force, and by how much it is ahead of the system's."""

    now: str
    ahead_seconds: int


class SandboxClockController(Controller):
    """In live there is no clock to move."""

    path = "/v1/sandbox/clock"
    tags = ("sandbox",)

    @get(
        "/",
        operation_id="ReadSandboxClock",
        scopes=any_of(Scope.READ, Scope.QUOTE, Scope.FINANCE, Scope.KEY_ADMIN),
        sync_to_thread=True,
    )
    def read(self, request: ApiRequest, state: State) -> ClockView:
        """Return the time in force for the tenant. Refused in live."""
        services: Services = state.services
        services.time.check_movable()
        with services.database.reading(request.user.tenant) as uow:
            return _view(services, uow, services.now(uow))

    @post(
        "/",
        operation_id="MoveSandboxClock",
        scopes=any_of(Scope.KEY_ADMIN),
        status_code=200,
        answer=ClockView,
    )
    async def move(
        self, data: JSONBody[ClockBody], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Move the tenant's time forward; it goes on from there. Refused in live."""
        to = parse_instant(data.now, "now")
        return await _moved(state.services, request, idempotency_key, lambda _: to)

    @post(
        "/advance",
        operation_id="AdvanceSandboxClock",
        scopes=any_of(Scope.KEY_ADMIN),
        status_code=200,
        answer=ClockView,
    )
    async def advance(
        self, data: JSONBody[AdvanceBody], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Move the tenant's time on by so much. Refused in live."""
        span = timedelta(days=data.days, seconds=data.seconds)
        if not span:
            raise InvalidValueError("needs days or seconds", field="days", value=data.days)
        return await _moved(state.services, request, idempotency_key, lambda now: now + span)


async def _moved(services: Services, request: ApiRequest, key: str | None, to: Target) -> ASGIResponse:
    def work(uow: UnitOfWork) -> tuple[int, object]:
        services.time.check_movable()
        before = services.now(uow)
        now = services.time.move(uow, to(before), request.user.key.name)
        shown = {"before": {"now": before.isoformat()}, "after": {"now": now.isoformat()}}
        audit.record(uow, actor_of(request, now), "sandbox_clock.move", ("sandbox_clock", uow.tenant), **shown)
        return 200, _view(services, uow, now)

    return await in_thread(services, request, key, work, needs_key=False)


def _view(services: Services, uow: UnitOfWork, now: datetime) -> ClockView:
    return {"now": now.isoformat(), "ahead_seconds": services.time.ahead(uow) // timedelta(seconds=1)}
