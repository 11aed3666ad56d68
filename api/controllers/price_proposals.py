"""Price books on their way into force: drafted with ETags, compared with what is live, published by a second one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import uuid_utils
from litestar import Controller, delete, get, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.catalog_file import parse_catalog
from api.idempotency import OptionalKey, in_thread
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.preconditions import IfMatch, IfMatchAsRead, check_match, tagged
from api.requests import ApiRequest, actor_of, json_answer
from api.schemas.price_books import ChangesView, PublishedView, changes_view, published_view
from api.security import any_of
from api.services import Services
from billing import price_proposals
from billing.api_keys import Scope
from billing.audit import Actor
from billing.price_proposals import LONGEST_REASON, Proposal, ProposalState
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, NotFoundError
from pricing_engine.price_book import PriceBook, diff_price_books, parse_price_book, price_book_document

_AUTHOR = any_of(Scope.PRICE_ADMIN)
_APPROVER = any_of(Scope.PRICE_APPROVE)
_EITHER = any_of(Scope.PRICE_ADMIN, Scope.PRICE_APPROVE)


class PriceProposalBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A price book, as an object or as the text of a catalog file (YAML), and why it is wanted."""

    price_book: dict[str, Any] | str
    reason: str = ""

    def book(self) -> PriceBook:
        """Return the price book. Raises InvalidValueError; of a text it names the line."""
        if isinstance(self.price_book, str):
            return parse_catalog(self.price_book, "price_book")
        return parse_price_book(self.price_book)


class ReturnBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the author should change."""

    remark: str = ""


class PriceProposalView(TypedDict):
    """A proposal and where it stands. `revision` is its ETag."""

    id: str
    revision: str
    key: str
    version: int
    state: str
    author: str
    reason: str
    created_at: str
    changed_at: str
    decided_by: str | None
    remark: str
    price_book: dict[str, Any]


class PriceProposalPage(TypedDict):
    """Proposals, changed last first."""

    items: list[PriceProposalView]
    next_cursor: str | None


class PriceProposalController(Controller):
    """draft -> asked -> published, or returned with a remark. Who asked cannot approve: keys act under their names."""

    path = "/v1/price-proposals"
    tags = ("price books",)

    @get("/", operation_id="ListPriceProposals", scopes=_EITHER, sync_to_thread=True)
    def list(
        self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> PriceProposalPage:
        """Return proposals, changed last first. What was withdrawn is gone."""
        services: Services = state.services
        place = read_cursor(services, request.user.tenant, "price proposals", cursor)
        before = None if place is None else (datetime.fromisoformat(place[0]), str(place[1]))
        with services.database.reading(request.user.tenant) as uow:
            found = price_proposals.proposals(uow, limit, before, withdrawn=False)
        last = [found[-1].changed_at.isoformat(), found[-1].id] if found else []
        return page(services, request.user.tenant, "price proposals", [*map(_view, found)], limit, last)

    @post("/", operation_id="DraftPriceProposal", scopes=_AUTHOR, answer=PriceProposalView)
    async def draft(
        self, data: JSONBody[PriceProposalBody], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Keep a price book as a draft; nothing comes into force."""
        services: Services = state.services
        proposal_id = str(uuid_utils.uuid7())

        def work(uow: UnitOfWork) -> tuple[int, object]:
            actor = actor_of(request, services.now(uow))
            return 201, _view(price_proposals.draft(uow, proposal_id, data.book(), _reason(data.reason), actor))

        return tagged(await in_thread(services, request, idempotency_key, work, needs_key=False))

    @get(
        "/{price_proposal:str}",
        operation_id="ReadPriceProposal",
        scopes=_EITHER,
        answer=PriceProposalView,
        sync_to_thread=True,
    )
    def read(self, price_proposal: FromPath[str], request: ApiRequest, state: State) -> ASGIResponse:
        """Return a proposal; its ETag is needed to change it."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = _found(uow, price_proposal)
        return tagged(json_answer(_view(found), 200))

    @put(
        "/{price_proposal:str}",
        operation_id="ReplacePriceProposal",
        scopes=_AUTHOR,
        answer=PriceProposalView,
        draft=True,
    )
    async def replace(
        self,
        price_proposal: FromPath[str],
        data: JSONBody[PriceProposalBody],
        request: ApiRequest,
        state: State,
        if_match: IfMatch = None,
    ) -> ASGIResponse:
        """Replace a draft, or one that was returned, as it was read."""

        def step(uow: UnitOfWork, actor: Actor) -> Proposal:
            return price_proposals.redraft(uow, price_proposal, data.book(), _reason(data.reason), actor)

        return await _step(request, state.services, price_proposal, if_match, step)

    @delete(
        "/{price_proposal:str}", operation_id="WithdrawPriceProposal", scopes=_AUTHOR, draft=True, sync_to_thread=True
    )
    def withdraw(
        self, price_proposal: FromPath[str], request: ApiRequest, state: State, if_match: IfMatch = None
    ) -> None:
        """Give a proposal up; the audit trail keeps it."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            check_match(if_match, _found(uow, price_proposal, lock=True).revision)
            price_proposals.withdraw(uow, price_proposal, actor_of(request, services.now(uow)))

    @get("/{price_proposal:str}/diff", operation_id="DiffPriceProposal", scopes=_EITHER, sync_to_thread=True)
    def diff(self, price_proposal: FromPath[str], request: ApiRequest, state: State) -> ChangesView:
        """Return every difference from what is published last to what is proposed."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = _found(uow, price_proposal)
            live = price_proposals.replaced(uow, found)
        return changes_view([] if live is None else diff_price_books(live.book, found.book))

    @post(
        "/{price_proposal:str}/ask",
        operation_id="AskForApproval",
        scopes=_AUTHOR,
        status_code=200,
        answer=PriceProposalView,
        draft=True,
    )
    async def ask(
        self, price_proposal: FromPath[str], request: ApiRequest, state: State, if_match: IfMatch = None
    ) -> ASGIResponse:
        """Ask a second one for approval; from now on the draft stands still."""

        def step(uow: UnitOfWork, actor: Actor) -> Proposal:
            return price_proposals.ask(uow, price_proposal, actor)

        return await _step(request, state.services, price_proposal, if_match, step)

    @post(
        "/{price_proposal:str}/return",
        operation_id="ReturnPriceProposal",
        scopes=_APPROVER,
        status_code=200,
        answer=PriceProposalView,
        draft=True,
    )
    async def send_back(
        self,
        price_proposal: FromPath[str],
        data: JSONBody[ReturnBody],
        request: ApiRequest,
        state: State,
        if_match: IfMatch = None,
    ) -> ASGIResponse:
        """Return a proposal to its author with a remark."""

        def step(uow: UnitOfWork, actor: Actor) -> Proposal:
            return price_proposals.send_back(uow, price_proposal, _reason(data.remark, "remark"), actor)

        return await _step(request, state.services, price_proposal, if_match, step)

    @post(
        "/{price_proposal:str}/approve",
        operation_id="ApprovePriceProposal",
        scopes=_APPROVER,
        status_code=200,
        answer=PublishedView,
        draft=True,
    )
    async def approve(
        self, price_proposal: FromPath[str], request: ApiRequest, state: State, if_match: IfMatchAsRead = None
    ) -> ASGIResponse:
        """Publish what another one asked for, as it was read."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            check_match(if_match, _found(uow, price_proposal, lock=True).revision, as_read=True)
            actor = actor_of(request, services.now(uow))
            return 200, published_view(price_proposals.approve(uow, price_proposal, services.signer, actor))

        return await in_thread(services, request, None, work, needs_key=False)


async def _step(
    request: ApiRequest,
    services: Services,
    proposal: str,
    if_match: str | None,
    step: Callable[[UnitOfWork, Actor], Proposal],
) -> ASGIResponse:
    def work(uow: UnitOfWork) -> tuple[int, object]:
        check_match(if_match, _found(uow, proposal, lock=True).revision)
        return 200, _view(step(uow, actor_of(request, services.now(uow))))

    return tagged(await in_thread(services, request, None, work, needs_key=False))


def _found(uow: UnitOfWork, proposal: str, *, lock: bool = False) -> Proposal:
    found = price_proposals.proposal(uow, proposal, lock=lock)
    if found.state is ProposalState.WITHDRAWN:
        raise NotFoundError("was withdrawn", field="proposal", value=proposal, code="unknown_proposal")
    return found


def _reason(text: str, field: str = "reason") -> str:
    if len(text) > LONGEST_REASON:
        raise InvalidValueError(f"at most {LONGEST_REASON} characters", field=field, value=len(text))
    return text


def _view(found: Proposal) -> PriceProposalView:
    return {
        "id": found.id,
        "revision": found.revision,
        "key": found.book.key,
        "version": found.book.version,
        "state": found.state.value,
        "author": found.author,
        "reason": found.reason,
        "created_at": found.created_at.isoformat(),
        "changed_at": found.changed_at.isoformat(),
        "decided_by": found.decided_by,
        "remark": found.remark,
        "price_book": price_book_document(found.book),
    }
