"""Customers, what they may use and what it costs them so far."""

from __future__ import annotations

import msgspec
from litestar import Controller, get, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.customers import (
    BalancesView,
    CustomerBody,
    CustomerPage,
    CustomerView,
    LiveCostView,
    balance_document,
    customer_document,
)
from api.schemas.invoices import invoice_document
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.customer_changes import save_customers
from billing.customers import Customer
from billing.previews import month_end, preview_invoices
from billing.receivables import customer_balances
from billing.repositories.customers import CustomerRepository


class CustomerController(Controller):
    """The customers of a tenant."""

    path = "/v1/customers"
    tags = ("customers",)

    @get("/", operation_id="ListCustomers", scopes=any_of(Scope.READ), sync_to_thread=True)
    def list(
        self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> CustomerPage:
        """Return customers by key."""
        services: Services = state.services
        after = read_cursor(services, request.user.tenant, "customers", cursor)
        with services.database.reading(request.user.tenant) as uow:
            found = CustomerRepository(uow).page(after[0] if after else "", limit)
        items = [customer_document(each) for each in found]
        return page(services, request.user.tenant, "customers", items, limit, [found[-1].key] if found else [])

    @get("/{key:str}", operation_id="ReadCustomer", scopes=any_of(Scope.READ), sync_to_thread=True)
    def read(self, key: FromPath[str], request: ApiRequest, state: State) -> CustomerView:
        """Return one customer."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return customer_document(CustomerRepository(uow).get(key))

    @put("/{key:str}", operation_id="SaveCustomer", scopes=any_of(Scope.FINANCE), sync_to_thread=True)
    def save(self, key: FromPath[str], data: JSONBody[CustomerBody], request: ApiRequest, state: State) -> CustomerView:
        """Add a customer, or change the one under this key."""
        services: Services = state.services
        customer = Customer(key=key, **msgspec.structs.asdict(data))
        with services.database.writing(request.user.tenant) as uow:
            now = services.now(uow)
            before = CustomerRepository(uow).find(key)
            save_customers(uow, [customer], now)
            audit.record_change(
                uow,
                actor_of(request, now),
                "customer.save",
                ("customer", key),
                before=None if before is None else customer_document(before),
                after=customer_document(customer),
            )
        return customer_document(customer)

    @get("/{key:str}/balances", operation_id="ReadBalances", scopes=any_of(Scope.READ), sync_to_thread=True)
    def balances(self, key: FromPath[str], request: ApiRequest, state: State) -> BalancesView:
        """Return what is open of the customer's invoices, and their credit, which pays them first, by currency."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            CustomerRepository(uow).get(key)
            return {"items": [balance_document(each) for each in customer_balances(uow, [key])]}

    @get("/{key:str}/cost", operation_id="ReadLiveCost", scopes=any_of(Scope.READ), sync_to_thread=True)
    def cost(self, key: FromPath[str], request: ApiRequest, state: State) -> LiveCostView:
        """Return the next invoices as they would be now: every event of this moment counted, nothing written."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            now = services.now(uow)
            until = month_end(now)
            CustomerRepository(uow).get(key)
            invoices = preview_invoices(uow, key, until, now)
        return {"as_of": now.isoformat(), "until": until.isoformat(), "invoices": [*map(invoice_document, invoices)]}
