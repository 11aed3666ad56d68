"""The ledger, read only: nothing is posted from outside."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest
from api.schemas.ledger import JournalPage, LedgerVerdictView, TrialBalanceView, journal_document, major
from api.security import any_of
from api.services import Services
from billing import ledger
from billing.api_keys import Scope
from billing.books_checks import BOOKS_CHECKS
from billing.ledger_checks import CHECKS
from billing.verification import verify


class LedgerController(Controller):
    """Amounts are in major units, debit positive."""

    path = "/v1/ledger"
    tags = ("ledger",)

    @get("/trial-balance", operation_id="ReadTrialBalance", scopes=any_of(Scope.FINANCE), sync_to_thread=True)
    def trial_balance(self, request: ApiRequest, state: State) -> TrialBalanceView:
        """Return the balance of each asset and account code; each asset sums to zero."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            balances = ledger.balances(uow)
        totals: dict[tuple[str, str], int] = {}
        for account, units in balances.items():
            totals[account.asset, account.code] = totals.get((account.asset, account.code), 0) + units
        return {
            "items": [
                {"asset": asset, "account": code, "balance": major(units, asset)}
                for (asset, code), units in sorted(totals.items())
            ]
        }

    @get("/journals", operation_id="ListJournals", scopes=any_of(Scope.FINANCE), sync_to_thread=True)
    def journals(
        self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> JournalPage:
        """Return journals in the order in which they were sealed."""
        services: Services = state.services
        after = read_cursor(services, request.user.tenant, "journals", cursor)
        with services.database.reading(request.user.tenant) as uow:
            found = ledger.journals(uow, after=after[0] if after else 0, limit=limit)
        items = [journal_document(each) for each in found]
        return page(services, request.user.tenant, "journals", items, limit, [found[-1].id] if found else [])

    @get("/verify", operation_id="VerifyLedger", scopes=any_of(Scope.FINANCE), sync_to_thread=True, takes_long=True)
    def verify(
        self,
        request: ApiRequest,
        state: State,
        books: Annotated[bool, QueryParameter()] = False,  # noqa: FBT002 - a query parameter is always named
    ) -> LedgerVerdictView:
        """Recompute the chain, the balances and what hangs on them; with `books` invoices and every event as well."""
        services: Services = state.services
        with services.database.unhurried().reading(request.user.tenant) as uow:
            report = verify(uow, (*CHECKS, *(BOOKS_CHECKS if books else ())))
        return {
            "sound": report.is_sound,
            "journals": report.journals,
            "checks": [*report.checks],
            "findings": [{"check": each.check, "row": each.row, "problem": each.problem} for each in report.findings],
        }
