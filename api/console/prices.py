"""Price books: drafted as text, compared with what is in force, published with a second person's approval."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import uuid_utils
from litestar import Controller, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.catalog_file import parse_catalog, write_catalog
from api.console.book_choice import book_choice
from api.console.forms import Form, short_text
from api.console.pages import ConsoleRequest, actor_of, get, go_to, page
from api.console.sessions import has_role
from api.problems import status_of
from api.services import Services
from billing import price_proposals
from billing.people import Role
from billing.price_proposals import EDITABLE, Proposal, ProposalState
from billing.publishing import next_version
from billing.repositories.price_books import PriceBookRepository
from models.values.errors import DomainError, InvalidValueError, NotFoundError
from models.values.quantity import parse_decimal
from pricing_engine.price_book import diff_price_books
from pricing_engine.price_sheet import book_at

_PRICES = "/console/product/prices"
_LARGEST_TEXT = 1_000_000


class PricePages(Controller):
    """What a product team wants in force, and what is."""

    path = "/product/prices"
    guards = (has_role(Role.PRODUCT, Role.APPROVER),)

    @get("/", sync_to_thread=True)
    def list(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show proposals and the log of releases."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            books = PriceBookRepository(uow)
            releases = [(release, books.get(release.content_hash).book) for release in books.releases()[::-1]]
            found = price_proposals.proposals(uow)
        return page(request, "prices.html", releases=releases, proposals=found)

    @get("/new", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def new(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Offer the book in force as the next version, with one price changed where asked; where none is, nothing."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            now, wanted = services.now(uow), request.query_params.get("book")
            if wanted is None and not PriceBookRepository(uow).in_force(now):
                return page(request, "price_edit.html", proposal=None, written="", reason="", refusal=None)
            book = next_version(uow, book_choice(uow, now, wanted).stored.book, now)
        feature, price = request.query_params.get("feature"), request.query_params.get("price")
        if feature and price:
            book = book_at(book, {feature: parse_decimal(price, "price", minimum=Decimal(0))})
        return page(request, "price_edit.html", proposal=None, written=write_catalog(book), reason="", refusal=None)

    @post("/", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def create(self, data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Keep a new draft; a text that is no price book comes back with the place of its error."""
        return _save(None, data, request, state.services)

    @get("/{proposal:str}", sync_to_thread=True)
    def one(self, proposal: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Show a proposal: where it stands, each difference from what is in force, what the reader may do.

        Of a first version that is all of it: who approves has to see what.
        """
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = price_proposals.proposal(uow, proposal)
            live = price_proposals.replaced(uow, found)
        changes = diff_price_books(live.book, found.book) if live is not None else []
        return page(
            request, "price_proposal.html", proposal=found, changes=changes, live=live,
            written="" if live is not None else write_catalog(found.book), **_allowed(request, found),
        )  # fmt: skip

    @get("/{proposal:str}/edit", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def edit(self, proposal: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Offer a draft as text."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            found = price_proposals.proposal(uow, proposal)
        return page(
            request, "price_edit.html", proposal=found, written=write_catalog(found.book), reason=found.reason,
            refusal=None,
        )  # fmt: skip

    @post("/{proposal:str}", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def save(self, proposal: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Change a draft."""
        return _save(proposal, data, request, state.services)

    @post("/{proposal:str}/ask", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def ask(self, proposal: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Ask a second person for approval."""
        with _writing(request, state.services) as uow:
            price_proposals.ask(uow, proposal, actor_of(request, state.services.now(uow)))
        return go_to(f"{_PRICES}/{proposal}")

    @post("/{proposal:str}/withdraw", guards=[has_role(Role.PRODUCT)], sync_to_thread=True)
    def withdraw(self, proposal: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Give a proposal up."""
        with _writing(request, state.services) as uow:
            price_proposals.withdraw(uow, proposal, actor_of(request, state.services.now(uow)))
        return go_to(f"{_PRICES}/{proposal}")

    @post("/{proposal:str}/approve", guards=[has_role(Role.APPROVER)], sync_to_thread=True)
    def approve(self, proposal: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Publish what somebody else asked for."""
        services: Services = state.services
        with _writing(request, services) as uow:
            price_proposals.approve(uow, proposal, services.signer, actor_of(request, services.now(uow)))
        return go_to(f"{_PRICES}/{proposal}")

    @post("/{proposal:str}/return", guards=[has_role(Role.APPROVER)], sync_to_thread=True)
    def send_back(self, proposal: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Return a proposal to its author with a remark."""
        remark = short_text(data, "remark")
        with _writing(request, state.services) as uow:
            price_proposals.send_back(uow, proposal, remark, actor_of(request, state.services.now(uow)))
        return go_to(f"{_PRICES}/{proposal}")


def _save(proposal: str | None, data: Form, request: ConsoleRequest, services: Services) -> Response[Any]:
    written, reason = str(data.get("document", "")), short_text(data, "reason")
    if len(written) > _LARGEST_TEXT:
        raise InvalidValueError(f"at most {_LARGEST_TEXT} characters", field="document", value=len(written))
    try:
        book = parse_catalog(written, "catalog")
        with _writing(request, services) as uow:
            actor = actor_of(request, services.now(uow))
            if proposal is None:
                kept = price_proposals.draft(uow, str(uuid_utils.uuid7()), book, reason, actor)
            else:
                kept = price_proposals.redraft(uow, proposal, book, reason, actor)
    except NotFoundError:
        raise
    except DomainError as error:
        return _again(request, services, proposal, written, reason, error)
    return go_to(f"{_PRICES}/{kept.id}")


def _again(
    request: ConsoleRequest, services: Services, proposal: str | None, written: str, reason: str, error: DomainError
) -> Response[str]:
    found = None
    if proposal is not None:
        with services.database.reading(request.user.tenant) as uow:
            found = price_proposals.proposal(uow, proposal)
    return page(
        request,
        "price_edit.html",
        status=status_of(error),
        proposal=found,
        written=written,
        reason=reason,
        refusal=error,
    )


def _allowed(request: ConsoleRequest, found: Proposal) -> dict[str, bool]:
    mine = found.author == request.user.person.name
    undecided = found.state in {*EDITABLE, ProposalState.ASKED}
    return {
        "may_edit": mine and found.state in EDITABLE,
        "may_ask": mine and found.state is ProposalState.DRAFT,
        "may_withdraw": mine and undecided,
        "may_decide": not mine and found.state is ProposalState.ASKED and request.user.person.has(Role.APPROVER),
        "waits": mine and found.state is ProposalState.ASKED,
    }


def _writing(request: ConsoleRequest, services: Services) -> Any:  # noqa: ANN401
    return services.database.writing(request.user.tenant)
