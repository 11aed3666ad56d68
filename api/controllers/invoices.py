"""Invoices: list, read, explain, finalise, void, credit, pay back, print."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from api.amounts import minor_of
from api.idempotency import IdempotencyKey, in_thread
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.invoices import (
    CreditNoteView,
    ExplanationView,
    InvoicePage,
    InvoiceView,
    RefundView,
    credit_note_document,
    explanation_document,
    invoice_document,
    refund_document,
)
from api.security import any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.explanation import explain_line
from billing.exports.invoice_view import invoice_view
from billing.exports.rendering import to_pdf
from billing.invoicing import finalise, party_document, void
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.stripe.following import follow
from billing.stripe.refunding import refund_invoice
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import check_key
from models.values.money import Currency, currency


class VoidBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why an invoice is voided."""

    reason: str


class CreditBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to credit: net amounts by line number as decimal strings; without `lines` all that is creditable."""

    reason: str
    lines: dict[str, str] | None = None


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
            invoices, customers = InvoiceRepository(uow), CustomerRepository(uow)
            found = invoices.get(invoice)
            party = invoices.party(found.id) or party_document(
                customers.get(found.customer), customers.legal_entity(found.legal_entity)
            )
        return Response(to_pdf(invoice_view(found, party)), media_type="application/pdf")

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
            now, invoices = services.now(uow), InvoiceRepository(uow)
            before = invoice_document(invoices.get(invoice))
            finalise(uow, [before["id"]], now, collect=services.collect)
            after = invoice_document(invoices.get(invoice))
            of = ("invoice", before["id"])
            audit.record(uow, actor_of(request, now), "invoice.finalise", of, before=before, after=after)
            return 200, after

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
            now = services.now(uow)
            before = invoice_document(InvoiceRepository(uow).get(invoice))
            after = invoice_document(void(uow, invoice, data.reason, now))
            follow(uow, before["id"], now)
            of = ("invoice", before["id"])
            audit.record(uow, actor_of(request, now), "invoice.void", of, before=before, after=after)
            return 200, after

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
            now = services.now(uow)
            found = InvoiceRepository(uow).get(invoice)
            nets = None if data.lines is None else _nets(data.lines, currency(found.currency))
            wanted = CreditRequest(f"api:{idempotency_key}", found.id, data.reason, now.date(), nets)
            after = credit_note_document(issue_credit_note(uow, wanted, now))
            follow(uow, found.id, now)
            of = ("credit_note", after["id"])
            audit.record(uow, actor_of(request, now), "credit_note.issue", of, after=after)
            return 201, after

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
            now = services.now(uow)
            found = InvoiceRepository(uow).get(invoice)
            amount = minor_of(data.amount, "amount", currency(found.currency))
            key = f"api:{idempotency_key}"
            processor = None if data.processor is None else check_key(data.processor, "processor")
            refunded = refund_invoice(uow, found.id, key, amount, now, processor=processor)
            after = refund_document(refunded, key, amount)
            audit.record(uow, actor_of(request, now), "invoice.refund", ("invoice", found.id), after=after)
            return (201 if refunded.is_recorded else 202), after

        return await in_thread(services, request, idempotency_key, work)


def _nets(lines: dict[str, str], money: Currency) -> dict[int, int]:
    nets = {}
    for number, text in lines.items():
        if not number.isdecimal():
            raise InvalidValueError("must be the number of a line", field="lines", value=number)
        nets[int(number)] = minor_of(text, f"lines.{number}", money)
    return nets
