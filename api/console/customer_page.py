"""The customer's own page, behind a signed link that expires, and how finance makes such a link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.downloads import credit_note_pdf, invoice_pdf
from api.console.forms import Form
from api.console.pages import ConsoleRequest, actor_of, get, page
from api.console.quote_view import line_views
from api.console.sessions import has_role
from api.customer_links import CustomerLink, read_link, write_link
from api.services import Services
from billing import audit
from billing.customer_account import customer_account
from billing.invoices import InvoiceState
from billing.people import Role
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from models.values.errors import NotFoundError

LINK_LASTS = timedelta(days=30)


class CustomerPage(Controller):
    """Open to whoever holds the link; it shows one customer and can change nothing."""

    path = "/customer/{token:str}"

    @get("/", sync_to_thread=True)
    def account(self, token: FromPath[str], request: Request[Any, Any, Any], state: State) -> Response[str]:
        """Show what the customer uses, what it costs now and why, what dropping saves, and the invoices."""
        services: Services = state.services
        link = read_link(token, services.signer, services.system_now())
        with services.database.reading(link.tenant) as uow:
            now = services.now(uow)
            account = customer_account(uow, link.customer, services.signer, now)
        return page(
            request, "customer.html", language=account.customer.language, link=link, token=token, account=account,
            now=now, lines=[] if account.priced is None else line_views(account.priced),
        )  # fmt: skip

    @get("/invoices/{invoice:str}", sync_to_thread=True)
    def pdf(
        self, token: FromPath[str], invoice: FromPath[str], request: Request[Any, Any, Any], state: State
    ) -> Response[bytes]:
        """Return one of the customer's own invoices as PDF."""
        services: Services = state.services
        link = read_link(token, services.signer, services.system_now())
        with services.database.reading(link.tenant) as uow:
            found = InvoiceRepository(uow).get(invoice)
            if found.customer != link.customer or found.state is InvoiceState.DRAFT:
                raise NotFoundError("no such invoice", field="invoice", value=invoice, code="unknown_invoice")
            return invoice_pdf(uow, found.id)

    @get("/credit-notes/{note:str}", sync_to_thread=True)
    def printed_note(
        self, token: FromPath[str], note: FromPath[str], request: Request[Any, Any, Any], state: State
    ) -> Response[bytes]:
        """Return one of the customer's own credit notes as PDF."""
        services: Services = state.services
        link = read_link(token, services.signer, services.system_now())
        with services.database.reading(link.tenant) as uow:
            found = CreditNoteRepository(uow).get(note)
            if found.customer != link.customer:
                raise NotFoundError("no such credit note", field="credit_note", value=note, code="unknown_credit_note")
            return credit_note_pdf(uow, found.id)


class CustomerLinkPages(Controller):
    """Where finance gets the link to send."""

    path = "/finance/customers"
    guards = (has_role(Role.FINANCE),)

    @post("/{customer:str}/link", status_code=200, sync_to_thread=True)
    def link(self, customer: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Make a link to a customer's own page and show it."""
        services: Services = state.services
        tenant, now = request.user.tenant, services.system_now()
        link = CustomerLink(tenant, customer, now + LINK_LASTS)
        with services.database.writing(tenant) as uow:
            found = CustomerRepository(uow).get(customer)
            actor = actor_of(request, now)
            audit.record(uow, actor, "customer.link", ("customer", customer))
        address = f"{str(request.base_url).rstrip('/')}/console/customer/{write_link(link, services.signer)}"
        return page(request, "customer_link.html", customer=found, link=link, address=address)
