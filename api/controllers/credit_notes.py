"""Credit notes: list and read; they are issued for an invoice."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from litestar import Controller, Response, get
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter

from api.documents import printed
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest
from api.schemas.invoices import CreditNotePage, CreditNoteView, credit_note_document
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.exports.printing import printed_credit_note
from billing.repositories.credit_notes import CreditNoteRepository


class CreditNoteController(Controller):
    """What reduced an invoice."""

    path = "/v1/credit-notes"
    tags = ("invoices",)

    @get("/", operation_id="ListCreditNotes", scopes=any_of(Scope.READ, Scope.FINANCE), sync_to_thread=True)
    def list(
        self,
        request: ApiRequest,
        state: State,
        customer: Annotated[str | None, QueryParameter(required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> CreditNotePage:
        """Return credit notes with their lines, newest first."""
        services: Services = state.services
        name = f"credit notes {customer or ''}"
        after = read_cursor(services, request.user.tenant, name, cursor)
        place = None if after is None else (date.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(request.user.tenant) as uow:
            found = CreditNoteRepository(uow).page(place, limit, customer)
        last = [found[-1].issued_on.isoformat(), found[-1].id] if found else []
        return page(services, request.user.tenant, name, [*map(credit_note_document, found)], limit, last)

    @get(
        "/{credit_note:str}",
        operation_id="ReadCreditNote",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
    )
    def read(self, credit_note: FromPath[str], request: ApiRequest, state: State) -> CreditNoteView:
        """Return one credit note, by id or number."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return credit_note_document(CreditNoteRepository(uow).get(credit_note))

    @get(
        "/{credit_note:str}/pdf",
        operation_id="PrintCreditNote",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        media_type="application/pdf",
    )
    def pdf(self, credit_note: FromPath[str], request: ApiRequest, state: State) -> Response[bytes]:
        """Return a credit note as PDF, in the customer's language."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            note = CreditNoteRepository(uow).get(credit_note)
            view = printed_credit_note(uow, note)
        return printed(note.number, view)
