"""Usage authorised before it happens, and the limits it is held against."""

from __future__ import annotations

from litestar import Controller, delete, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import IdempotencyKey, OptionalKey, in_thread
from api.requests import ApiRequest, actor_of, known_now
from api.schemas.usage_alerts import UsageAlertBody, UsageAlertList, UsageAlertView, alerts_document, set_for
from api.schemas.usage_holds import UsageHoldBody, UsageHoldView, authorize_for, usage_hold_document
from api.security import any_of
from api.services import Services
from billing import audit, usage_holds
from billing.api_keys import Scope
from billing.metering.alerts import remove_alert
from billing.metering.parsing import WireEvent, parse_event
from billing.repositories.usage_holds import find_usage_hold
from billing.unit_of_work import UnitOfWork


class UsageHoldController(Controller):
    """Reserve, then settle or release."""

    path = "/v1/usage-holds"
    tags = ("usage",)

    @post("/", operation_id="AuthorizeUsage", scopes=any_of(Scope.INGEST), answer=UsageHoldView)
    async def authorize(
        self, data: JSONBody[UsageHoldBody], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Authorise usage at the price of the invoice and keep credit for it, once by its id."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 201, authorize_for(uow, data, services.now(uow))

        return await in_thread(services, request, idempotency_key, work, needs_key=False)

    @get(
        "/{hold:str}",
        operation_id="ReadUsageHold",
        scopes=any_of(Scope.READ, Scope.INGEST),
        sync_to_thread=True,
    )
    def read(self, hold: FromPath[str], request: ApiRequest, state: State) -> UsageHoldView:
        """Return a hold as it stands."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return usage_hold_document(find_usage_hold(uow, hold))

    @post(
        "/{hold:str}/settle",
        operation_id="SettleUsage",
        scopes=any_of(Scope.INGEST),
        status_code=200,
        body=WireEvent,
        counts_events=True,
        answer=UsageHoldView,
    )
    async def settle(
        self, hold: FromPath[str], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Count the event that happened and pay for it with credit; what that does not cover is invoiced."""
        services: Services = state.services
        event = parse_event(await request.body(), known_now(request, services.system_now()))
        state.limits.charge_events(request, 1)

        def work(uow: UnitOfWork) -> tuple[int, object]:
            settled = usage_holds.settle(uow, hold, event, services.ingest.directory, services.now(uow))
            return 200, usage_hold_document(settled)

        return await in_thread(services, request, idempotency_key, work, needs_key=False)

    @post(
        "/{hold:str}/release",
        operation_id="ReleaseUsage",
        scopes=any_of(Scope.INGEST),
        status_code=200,
        answer=UsageHoldView,
    )
    async def release(
        self, hold: FromPath[str], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Let a hold go without use; releasing again changes nothing."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 200, usage_hold_document(usage_holds.release(uow, hold, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work, needs_key=False)


class UsageAlertController(Controller):
    """Thresholds that tell, and those that stop."""

    path = "/v1/customers/{key:str}/usage-alerts"
    tags = ("usage",)

    @get("/", operation_id="ListUsageAlerts", scopes=any_of(Scope.READ, Scope.FINANCE), sync_to_thread=True)
    def list(self, key: FromPath[str], request: ApiRequest, state: State) -> UsageAlertList:
        """Return a customer's alerts and limits, and when they were raised."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return {"items": alerts_document(uow, key)}

    @post("/", operation_id="SetUsageAlert", scopes=any_of(Scope.FINANCE), answer=UsageAlertView)
    async def set(
        self,
        key: FromPath[str],
        data: JSONBody[UsageAlertBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Set an alert or a limit, once by its id; it is raised at once where usage has reached it."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 201, set_for(uow, key, data, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @delete("/{alert:str}", operation_id="RemoveUsageAlert", scopes=any_of(Scope.FINANCE), sync_to_thread=True)
    def remove(self, key: FromPath[str], alert: FromPath[str], request: ApiRequest, state: State) -> None:
        """Take an alert away, or lift a limit."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            now = services.now(uow)
            remove_alert(uow, key, alert)
            audit.record(uow, actor_of(request, now), "usage_alert.remove", ("usage_alert", alert))
