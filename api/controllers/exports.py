"""Exports: the register of what was issued, and the journal."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response, get
from litestar.datastructures import State
from litestar.params import QueryParameter
from litestar.response import Stream
from litestar.response.base import ASGIResponse

from api.requests import ApiRequest
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.exports.journal import check_form, stream_journal
from billing.exports.register import documents, write_headers, write_lines


class ExportController(Controller):
    """Everything of one kind in one file."""

    path = "/v1/exports"
    tags = ("exports",)

    @get(
        "/invoices",
        operation_id="ExportInvoices",
        scopes=any_of(Scope.READ, Scope.FINANCE),
        sync_to_thread=True,
        takes_long=True,
        media_type="text/csv",
        media=["text/csv", "application/jsonl"],
    )
    def export_invoices(
        self,
        request: ApiRequest,
        state: State,
        period: Annotated[str | None, QueryParameter(required=False)] = None,
        form: Annotated[str, QueryParameter(name="format")] = "csv",
        lines: Annotated[bool, QueryParameter()] = False,  # noqa: FBT002 - a query parameter is always named
    ) -> ASGIResponse:
        """Return the register of what was issued, as CSV or JSON lines."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            found = documents(uow, period=period)
            content = b"".join((write_lines if lines else write_headers)(found, form))
        return Response(content, media_type="text/csv" if form == "csv" else "application/jsonl")

    @get(
        "/journal",
        operation_id="ExportJournal",
        scopes=any_of(Scope.FINANCE),
        sync_to_thread=False,
        media_type="text/csv",
        media=["text/csv", "application/jsonl"],
    )
    def export_journal(
        self,
        request: ApiRequest,
        state: State,
        since: Annotated[int, QueryParameter(ge=0, le=2**53 - 1, description="number of the last journal known")] = 0,
        form: Annotated[str, QueryParameter(name="format")] = "csv",
    ) -> Stream:
        """Stream every leg of the journals after one of them, as CSV or JSON lines; the last number is the cursor."""
        services: Services = state.services
        check_form(form)
        content = stream_journal(services.database.unhurried(), request.user.tenant, form, since)
        media = "text/csv; charset=utf-8" if form == "csv" else "application/jsonl"
        return Stream(content, headers={"content-type": media})  # The handler's media type would stand for both.
