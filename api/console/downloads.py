"""Downloads: invoices as PDF and JSON, the register and the journal as CSV and JSON lines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from litestar import Controller, Response
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import has_role
from api.schemas.invoices import invoice_document
from api.services import Services
from billing.exports.journal import write_journal
from billing.exports.printing import printed_credit_note, printed_invoice
from billing.exports.register import documents, write_headers, write_lines
from billing.exports.rendering import to_pdf
from billing.people import Role
from billing.repositories.closes import CloseRepository
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.unit_of_work import UnitOfWork

_REGISTERS = {"invoices": write_headers, "lines": write_lines}
_MEDIA = {"csv": "text/csv", "jsonl": "application/jsonl"}


class DownloadPages(Controller):
    """What finance takes away."""

    path = "/finance"
    guards = (has_role(Role.FINANCE),)

    @get("/downloads", sync_to_thread=True)
    def offered(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show what there is."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            months = [month.key for month in CloseRepository(uow).all()]
        return page(request, "downloads.html", months=months[::-1])

    @get("/invoices/{invoice:str}/pdf", sync_to_thread=True)
    def pdf(self, invoice: FromPath[str], request: ConsoleRequest, state: State) -> Response[bytes]:
        """Return an invoice as PDF, in the customer's language."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return invoice_pdf(uow, invoice)

    @get("/invoices/{invoice:str}/json", sync_to_thread=True)
    def json(self, invoice: FromPath[str], request: ConsoleRequest, state: State) -> Response[bytes]:
        """Return an invoice as the API answers it."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            document = invoice_document(InvoiceRepository(uow).get(invoice))
        name = f"{document['number'] or document['id']}.json"
        return attachment(name, "application/json", [msgspec.json.format(msgspec.json.encode(document))])

    @get("/credit-notes/{note:str}/pdf", sync_to_thread=True)
    def credit_note_pdf(self, note: FromPath[str], request: ConsoleRequest, state: State) -> Response[bytes]:
        """Return a credit note as PDF, in the customer's language."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return credit_note_pdf(uow, note)

    @get("/downloads/{what:str}/{period:str}/{form:str}", sync_to_thread=True, takes_long=True)
    def register(
        self, what: FromPath[str], period: FromPath[str], form: FromPath[str], request: ConsoleRequest, state: State
    ) -> Response[bytes]:
        """Return the register of a month: a row a document, or a row a line."""
        services: Services = state.services
        if what not in _REGISTERS:
            raise NotFoundException(what)
        with services.database.unhurried().reading(request.user.tenant) as uow:
            content = list(_REGISTERS[what](documents(uow, period=period), form))
        return attachment(f"{what}-{period}.{form}", _MEDIA[form], content)

    @get("/downloads/journal/{form:str}", sync_to_thread=True, takes_long=True)
    def journal(self, form: FromPath[str], request: ConsoleRequest, state: State) -> Response[bytes]:
        """Return the journal for the accounting system."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            content = list(write_journal(uow, form))
        return attachment(f"journal.{form}", _MEDIA[form], content)


def invoice_pdf(uow: UnitOfWork, invoice: str) -> Response[bytes]:
    """Return one invoice as an attachment. Raises NotFoundError."""
    found = InvoiceRepository(uow).get(invoice)
    return attachment(f"{found.number or found.id}.pdf", "application/pdf", [to_pdf(printed_invoice(uow, found))])


def credit_note_pdf(uow: UnitOfWork, note: str) -> Response[bytes]:
    """Return one credit note as an attachment. Raises NotFoundError."""
    found = CreditNoteRepository(uow).get(note)
    return attachment(f"{found.number}.pdf", "application/pdf", [to_pdf(printed_credit_note(uow, found))])


def attachment(name: str, media_type: str, content: Iterable[bytes]) -> Response[bytes]:
    """Return a file to keep. `name` is made of our own numbers and keys."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(b"".join(content), media_type=media_type, headers=headers)
