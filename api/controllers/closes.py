"""Month closes: what to look at before, the close itself, and opening one again."""

from __future__ import annotations

from datetime import date
from typing import Annotated, TypedDict

import msgspec
from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import IdempotencyKey, Work, after_steps, in_thread
from api.requests import ApiRequest, actor_of
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.close_checks import Check, checklist
from billing.closing import MAX_GRACE_DAYS, CloseOptions, CloseResult, close, reopen
from billing.repositories.closes import CloseRepository
from billing.unit_of_work import UnitOfWork


class CloseBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to close. Drafts may be changed for `grace_days`; invoices bear the date `issued_on`, or the day after."""

    grace_days: Annotated[int, msgspec.Meta(ge=0, le=MAX_GRACE_DAYS)] = 0
    issued_on: date | None = None


class ReopenBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a closed month is opened again."""

    reason: str


class CheckView(TypedDict):
    """One item of the checklist. One that is not `passed` and `blocks` stops the close."""

    name: str
    passed: bool
    blocks: bool
    detail: str


class ChecklistView(TypedDict):
    """What to look at before a month is closed."""

    checks: list[CheckView]


class CloseView(msgspec.Struct, kw_only=True):
    """What a close did: invoices and drafts of the month by id; `was_closed` where it found nothing to do."""

    period: str
    was_closed: bool
    invoices: list[str]
    drafts: list[str]
    checks: list[CheckView]


class MonthView(msgspec.Struct, kw_only=True):
    """A month: open, closing or closed, and how often it was closed."""

    period: str
    state: str
    attempt: int


class CloseController(Controller):
    """Month closes."""

    path = "/v1/closes"
    tags = ("closes",)

    @get(
        "/{period:str}/checklist",
        operation_id="CheckClose",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        takes_long=True,
    )
    def check(self, period: FromPath[str], request: ApiRequest, state: State) -> ChecklistView:
        """Return what to look at before a month is closed."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            return {"checks": [_check(each) for each in checklist(uow, period, services.now(uow))]}

    @post(
        "/{period:str}",
        operation_id="CloseMonth",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=CloseView,
        takes_long=True,
    )
    async def close(
        self,
        period: FromPath[str],
        request: ApiRequest,
        state: State,
        data: JSONBody[CloseBody | None] = None,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Close a month, or go on with a close that was interrupted; a closed month is answered as it is."""
        services: Services = state.services
        tenant, how = request.user.tenant, data or CloseBody()

        def steps() -> Work:
            with services.database.reading(tenant) as uow:
                now = services.now(uow)
            actor = actor_of(request, now)
            options = CloseOptions(
                actor=actor.name, issued_on=how.issued_on, grace_days=how.grace_days, collect=services.collect, by=actor
            )
            result = close(services.database.unhurried(), tenant, period, now, options)
            return lambda _uow: (200, _closed(period, result))

        return await after_steps(services, request, idempotency_key, steps)

    @post(
        "/{period:str}/reopen",
        operation_id="ReopenMonth",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=MonthView,
        takes_long=True,
    )
    async def reopen(
        self,
        period: FromPath[str],
        data: JSONBody[ReopenBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Open the month closed last again: its next close bills what has changed. Issued invoices stay.

        A close that cannot be finished is given up so.
        """
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            now = services.now(uow)
            actor = actor_of(request, now)
            earlier = CloseRepository(uow).find(period)
            month = reopen(uow, period, data.reason, actor.name, now)
            after = {"period": month.key, "state": month.state, "attempt": month.attempt}
            of, was = ("close", period), "closed" if earlier is None else earlier.state
            audit.record(uow, actor, "month.reopen", of, before={**after, "state": was}, after=after)
            return 200, MonthView(**after)

        return await in_thread(services, request, idempotency_key, work)


def _closed(period: str, result: CloseResult) -> CloseView:
    return CloseView(
        period=period,
        was_closed=result.was_closed,
        invoices=[*result.invoices],
        drafts=[*result.drafts],
        checks=[_check(each) for each in result.checks],
    )


def _check(check: Check) -> CheckView:
    return {"name": check.name, "passed": check.passed, "blocks": check.blocks, "detail": check.detail}
