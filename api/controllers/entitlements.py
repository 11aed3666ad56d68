"""Entitlements: what a product asks before it lets somebody use a feature."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from litestar import Controller, get
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from api.requests import ApiRequest, json_answer, known_now
from api.schemas.entitlements import EntitlementList, EntitlementView, entitlement_view
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.entitlements import entitlements, read_rights, read_used


class EntitlementController(Controller):
    """What a customer may use."""

    path = "/v1/customers/{key:str}/entitlements"
    tags = ("entitlements",)

    @get("/", operation_id="ListEntitlements", scopes=any_of(Scope.READ, Scope.QUOTE), sync_to_thread=True)
    def list(self, key: FromPath[str], request: ApiRequest, state: State) -> EntitlementList:
        """Return every feature with whether the customer may use it now, and what is left."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = entitlements(uow, key, services.now(uow))
        return EntitlementList([*map(entitlement_view, found)])

    @get(
        "/{feature:str}",
        operation_id="CheckEntitlement",
        scopes=any_of(Scope.READ, Scope.QUOTE),
        answer=EntitlementView,
    )
    async def check(self, key: FromPath[str], feature: FromPath[str], request: ApiRequest) -> ASGIResponse:
        """Say whether the customer may use a feature now, and what is left. The answer is at most a second old."""
        services: Services = request.app.state.services
        tenant, now = request.user.tenant, known_now(request, services.system_now())
        rights = await services.kept.get(tenant, ("rights", key), partial(read_rights, customer=key, at=now), at=now)
        right = rights.to(feature)
        given = right.allowance
        if given is not None:
            name = ("used", key, given.book_hash, given.meter.key, given.period)
            used = await services.kept.get(tenant, name, partial(read_used, customer=key, given=given), at=now)
            right = replace(right, used=used)
        return json_answer(entitlement_view(right), 200)
