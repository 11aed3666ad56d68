"""Invoices: list, read, explain, print, finalise, void, pay, write off, credit, pay back."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from api.documents import printed
from api.idempotency import IdempotencyKey, in_thread
from api.invoice_acts import (
    credit_invoice,
    finalise_drafts,
    pay_invoice,
    refund_of_invoice,
    void_invoice,
    write_off_invoice,
)
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.problems import called
from api.requests import ApiRequest, actor_of
from api.schemas.invoices import (
    CreditNoteView,
    ExplanationView,
    InvoicePage,
    InvoiceView,
    RefundView,
    explanation_document,
    invoice_document,
)
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.explanation import explain_line
from billing.exports.printing import printed_invoice
from billing.repositories.invoices import InvoiceRepository
from billing.request_keys import FIELD
from billing.unit_of_work import UnitOfWork
from models.values.ids import check_external_id
from models.values.period import parse_instant


class VoidBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why an invoice is voided."""

    reason: str


class CreditBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to credit: net amounts by line number as decimal strings; without `lines` all that is creditable."""

    reason: str
    lines: dict[str, str] | None = None


class PaymentBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Money that came in: `id` is the bank's or processor's, counted once. `paid_at`: RFC 3339, now if absent."""

    id: str
    amount: str
    processor: str = "manual"
    paid_at: str | None = None


class RefundBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much goes back. `processor`: who has paid it back already; absent, Stripe does where it collects."""

    amount: str
    processor: str | None = None


class InvoiceController(Controller):
    """The finance door."""

    path = "/v1/invoices"
    tags = ("invoices",)

    @get("/", operation_id="ListInvoices", scopes=any_of(Scope.READ, Scope.FINANCE), sync_to_thread=True)
    def list(
        self,
        request: ApiRequest,
        state: State,
        customer: Annotated[str | None, QueryParameter(required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> InvoicePage:
        """Return invoices with their lines, newest first."""
        services: Services = state.services
        name = f"invoices {customer or ''}"
        after = read_cursor(services, request.user.tenant, name, cursor)
        place = None if after is None else (date.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(request.user.tenant) as uow:
            found = InvoiceRepository(uow).page(place, limit, customer)
        last = [found[-1].issued_on.isoformat(), found[-1].id] if found else []
        return page(services, request.user.tenant, name, [invoice_document(each) for each in found], limit, last)

    @get("/{invoice:str}", operation_id="ReadInvoice", scopes=any_of(Scope.READ, Scope.FINANCE), sync_to_thread=True)
    def read(self, invoice: FromPath[str], request: ApiRequest, state: State) -> InvoiceView:
        """Return one invoice, by id or number."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return invoice_document(InvoiceRepository(uow).get(invoice))

    @get(
        "/{invoice:str}/pdf",
        operation_id="PrintInvoice",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        media_type="application/pdf",
    )
    def pdf(self, invoice: FromPath[str], request: ApiRequest, state: State) -> Response[bytes]:
        """Return an invoice as PDF."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = InvoiceRepository(uow).get(invoice)
            view = printed_invoice(uow, found)
        return printed(found.number or found.id, view)

    @get(
        "/{invoice:str}/lines/{line:int}",
        operation_id="ExplainInvoiceLine",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
    )
    def explain(
        self, invoice: FromPath[str], line: FromPath[int], request: ApiRequest, state: State
    ) -> ExplanationView:
        """Follow a line to its rated usage, price book and meter."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return explanation_document(explain_line(uow, invoice, line))

    @post(
        "/{invoice:str}/finalise",
        operation_id="FinaliseInvoice",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=InvoiceView,
    )
    async def finalise(
        self, invoice: FromPath[str], request: ApiRequest, state: State, idempotency_key: IdempotencyKey = None
    ) -> ASGIResponse:
        """Give a draft its number and post it; a finalised invoice stays as it is."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            by = actor_of(request, services.now(uow))
            return 200, finalise_drafts(uow, [invoice], by, services.collect)[0]

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{invoice:str}/void",
        operation_id="VoidInvoice",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=InvoiceView,
    )
    async def void(
        self,
        invoice: FromPath[str],
        data: JSONBody[VoidBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Void an invoice of which nothing is paid; its usage goes onto the next one."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 200, void_invoice(uow, invoice, data.reason, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{invoice:str}/write-off",
        operation_id="WriteOffInvoice",
        scopes=any_of(Scope.FINANCE),
        status_code=200,
        answer=InvoiceView,
    )
    async def write_off(
        self, invoice: FromPath[str], request: ApiRequest, state: State, idempotency_key: IdempotencyKey = None
    ) -> ASGIResponse:
        """Give up what is open of an invoice; money that comes in after all is recovered."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 200, write_off_invoice(uow, invoice, actor_of(request, services.now(uow)))

        return await in_thread(services, request, idempotency_key, work)

    @post("/{invoice:str}/payments", operation_id="PayInvoice", scopes=any_of(Scope.FINANCE), answer=InvoiceView)
    async def pay(
        self,
        invoice: FromPath[str],
        data: JSONBody[PaymentBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Record a payment, such as a bank transfer, once by its id; what is more than open becomes credit."""
        services: Services = state.services
        paid_at = None if data.paid_at is None else parse_instant(data.paid_at, "paid_at")

        def work(uow: UnitOfWork) -> tuple[int, object]:
            by, key = actor_of(request, services.now(uow)), check_external_id(data.id, "id")
            with called(key="id"):
                return 201, pay_invoice(uow, invoice, key, data.amount, by, processor=data.processor, paid_at=paid_at)

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{invoice:str}/credit-notes",
        operation_id="CreditInvoice",
        scopes=any_of(Scope.REFUND),
        answer=CreditNoteView,
    )
    async def credit(
        self,
        invoice: FromPath[str],
        data: JSONBody[CreditBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Issue a credit note; it settles what is open and leaves the rest as the customer's credit."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            by = actor_of(request, services.now(uow))
            with called(key=FIELD):
                return 201, credit_invoice(uow, invoice, f"api:{idempotency_key}", data.reason, data.lines, by)

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{invoice:str}/refunds",
        operation_id="RefundInvoice",
        scopes=any_of(Scope.REFUND),
        answers={201: RefundView, 202: RefundView},
    )
    async def refund(
        self,
        invoice: FromPath[str],
        data: JSONBody[RefundBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Pay money back: 201 recorded, 202 asked of Stripe and posted once it was made.

        It comes out of the customer's credit, such as a credit note left; without enough of it the invoice is open
        again by as much.
        """
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            by, key = actor_of(request, services.now(uow)), f"api:{idempotency_key}"
            with called(key=FIELD):
                after = refund_of_invoice(uow, invoice, key, data.amount, by, processor=data.processor)
            return (201 if after["state"] == "recorded" else 202), after

        return await in_thread(services, request, idempotency_key, work)
