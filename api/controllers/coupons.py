"""Coupons: what customers are given off their next invoices."""

from __future__ import annotations

from typing import Any

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import IdempotencyKey, in_thread
from api.requests import ApiRequest, actor_of
from api.schemas.coupons import CouponBody, CouponList, CouponView, EndBody, coupon_view, end_for, give_to
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.coupon_grants import given_coupons
from billing.repositories.customers import CustomerRepository
from billing.unit_of_work import UnitOfWork


class CouponController(Controller):
    """A customer's coupons."""

    path = "/v1/customers/{key:str}/coupons"
    tags = ("coupons",)

    @get(
        "/",
        operation_id="ListCoupons",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        answer=CouponList,
    )
    def list(self, key: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Return every coupon a customer was given, and what is used of each."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            CustomerRepository(uow).get(key)
            return {"items": [*map(coupon_view, given_coupons(uow, key))]}

    @post("/", operation_id="GiveCoupon", scopes=any_of(Scope.FINANCE), answer=CouponView)
    async def give(
        self,
        key: FromPath[str],
        data: JSONBody[CouponBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Give a coupon; the same one again is shown as it stands."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 201, give_to(uow, key, data, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{coupon:str}/end",
        operation_id="EndCoupon",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=CouponView,
    )
    async def end(
        self,
        key: FromPath[str],
        coupon: FromPath[str],
        request: ApiRequest,
        state: State,
        data: JSONBody[EndBody | None] = None,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """End a coupon now, or when said; what it took off stands."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 200, end_for(uow, key, coupon, data or EndBody(), actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)
