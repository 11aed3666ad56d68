"""Subscriptions: list, read, preview a change, make it."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from api.idempotency import OptionalKey, in_thread
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.invoices import invoice_document
from api.schemas.subscriptions import (
    ChangeBody,
    ChangePreviewView,
    SubscriptionPage,
    SubscriptionView,
    change_of,
    difference_document,
    record_change,
    subscription_document,
)
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.previews import month_end, preview_change
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import Who
from billing.unit_of_work import UnitOfWork


class SubscriptionController(Controller):
    """What customers have accepted."""

    path = "/v1/subscriptions"
    tags = ("subscriptions",)

    @get("/", operation_id="ListSubscriptions", scopes=any_of(Scope.READ, Scope.QUOTE), sync_to_thread=True)
    def list(
        self,
        request: ApiRequest,
        state: State,
        customer: Annotated[str | None, QueryParameter(required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> SubscriptionPage:
        """Return subscriptions with all their phases, by id."""
        services: Services = state.services
        name = f"subscriptions {customer or ''}"
        after = read_cursor(services, request.user.tenant, name, cursor)
        with services.database.reading(request.user.tenant) as uow:
            found = SubscriptionRepository(uow).page(after[0] if after else "", limit, customer)
        items = [subscription_document(each) for each in found]
        return page(services, request.user.tenant, name, items, limit, [found[-1].id] if found else [])

    @get(
        "/{subscription:str}",
        operation_id="ReadSubscription",
        scopes=any_of(Scope.READ, Scope.QUOTE),
        sync_to_thread=True,
    )
    def read(self, subscription: FromPath[str], request: ApiRequest, state: State) -> SubscriptionView:
        """Return a subscription with all its phases."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return subscription_document(SubscriptionRepository(uow).get(subscription))

    @post(
        "/{subscription:str}/changes/preview",
        operation_id="PreviewSubscriptionChange",
        scopes=any_of(Scope.QUOTE),
        status_code=200,
        sync_to_thread=True,
    )
    def preview(
        self, subscription: FromPath[str], data: JSONBody[ChangeBody], request: ApiRequest, state: State
    ) -> ChangePreviewView:
        """Return the next invoices without and with the change; nothing is written."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            now = services.now(uow)
            until = month_end(now)
            seen = preview_change(uow, change_of(uow, subscription, data, Who(now)), until, now)
        return {
            "before": [invoice_document(each) for each in seen.before],
            "after": [invoice_document(each) for each in seen.after],
            "difference": difference_document(seen),
        }

    @post(
        "/{subscription:str}/changes",
        operation_id="ChangeSubscription",
        scopes=any_of(Scope.QUOTE),
        status_code=200,
        answer=SubscriptionView,
    )
    async def change(
        self,
        subscription: FromPath[str],
        data: JSONBody[ChangeBody],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> ASGIResponse:
        """Make the change: one phase more, nothing edited. What is so already is answered as it is."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            now = services.now(uow)
            actor = actor_of(request, now)
            wanted = change_of(uow, subscription, data, Who(now, actor.name, data.reason))
            return 200, record_change(uow, wanted, data.action, actor)

        return await in_thread(services, request, idempotency_key, work, needs_key=False)
