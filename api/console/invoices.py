"""Invoices: the list, one of them, and a line followed down to its events."""

from __future__ import annotations

from datetime import date
from itertools import islice
from typing import Any

from litestar import Controller, Response
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.customer_choice import offered_customers
from api.console.invoice_forms import invoice_page
from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import has_role
from api.pages import page as cursor_page
from api.pages import read_cursor
from api.services import Services
from billing.explanation import events_behind, explain_line
from billing.people import Role
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository

_A_PAGE = 40
_SHOWN_EVENTS = 200


class InvoicePages(Controller):
    """The finance door's invoices."""

    path = "/finance/invoices"
    guards = (has_role(Role.FINANCE),)

    @get("/", sync_to_thread=True)
    def list(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show invoices, newest first, of one customer where asked."""
        services: Services = state.services
        tenant, customer = request.user.tenant, request.query_params.get("customer") or None
        name = f"console invoices {customer or ''}"
        after = read_cursor(services, tenant, name, request.query_params.get("after"))
        place = None if after is None else (date.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(tenant) as uow:
            found = InvoiceRepository(uow).page(place, _A_PAGE, customer)
            customers = offered_customers(uow, customer)
            known = CustomerRepository(uow).many({each.customer for each in found})
        last: list[Any] = [found[-1].issued_on.isoformat(), found[-1].id] if found else []
        following = cursor_page(services, tenant, name, found, _A_PAGE, last)["next_cursor"]
        names = {each.key: each.legal_name for each in known.values()}
        return page(
            request, "invoices.html", invoices=found, following=following, customer=customer, customers=customers,
            names=names,
        )  # fmt: skip

    @get("/{invoice:str}", sync_to_thread=True)
    def one(self, invoice: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Show one invoice with its lines, and what can be done with it."""
        return invoice_page(request, state.services, invoice)

    @get("/{invoice:str}/lines/{line:int}", sync_to_thread=True)
    def line(self, invoice: FromPath[str], line: FromPath[int], request: ConsoleRequest, state: State) -> Response[str]:
        """Follow a line: rated usage, tariff and price-book version, the events themselves."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            explained = explain_line(uow, invoice, line)
            events = [
                list(islice(events_behind(uow, explained.invoice.customer, usage), _SHOWN_EVENTS))
                for usage in explained.usages
            ]
        return page(request, "invoice_line.html", explained=explained, events=events)
