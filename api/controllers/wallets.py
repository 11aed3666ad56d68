"""Wallets: credit that customers hold ahead of use."""

from __future__ import annotations

from typing import Any

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import IdempotencyKey, in_thread
from api.problems import called
from api.requests import ApiRequest, actor_of
from api.schemas.wallets import (
    GrantBody,
    GrantView,
    WalletBody,
    WalletList,
    WalletView,
    WithdrawalBody,
    grant_to,
    open_for,
    wallet_document,
    withdraw_from,
)
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.repositories.customers import CustomerRepository
from billing.request_keys import FIELD
from billing.unit_of_work import UnitOfWork
from billing.wallets import balances


class WalletController(Controller):
    """A customer's wallets."""

    path = "/v1/customers/{key:str}/wallets"
    tags = ("wallets",)

    @get(
        "/",
        operation_id="ListWallets",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        answer=WalletList,
    )
    def list(self, key: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Return a customer's wallets and what each holds now, in the order in which they pay."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            CustomerRepository(uow).get(key)
            return {"items": [*map(wallet_document, balances(uow, key, services.now(uow)))]}

    @post("/", operation_id="OpenWallet", scopes=any_of(Scope.FINANCE), answer=WalletView)
    async def open(
        self,
        key: FromPath[str],
        data: JSONBody[WalletBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Open a wallet; the same one again changes nothing."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 201, open_for(uow, key, data, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @post("/{wallet:str}/grants", operation_id="GrantCredit", scopes=any_of(Scope.FINANCE), answer=GrantView)
    async def grant(
        self,
        key: FromPath[str],
        wallet: FromPath[str],
        data: JSONBody[GrantBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Grant credit; the same grant again is shown as it stands."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 201, grant_to(uow, key, wallet, data, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{wallet:str}/grants/{grant:str}/withdrawals",
        operation_id="WithdrawCredit",
        scopes=any_of(Scope.REFUND),
        answer=GrantView,
    )
    async def withdraw(
        self,
        key: FromPath[str],
        wallet: FromPath[str],
        grant: FromPath[str],
        data: JSONBody[WithdrawalBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Take unused credit back: promotional credit is withdrawn, bought credit was paid back by its processor."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            by = actor_of(request, services.now(uow))
            with called(key=FIELD):
                return 201, withdraw_from(uow, key, wallet, grant, data, f"api:{idempotency_key}", by)

        return await in_thread(services, request, idempotency_key, work)
