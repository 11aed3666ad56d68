"""Demand as the quotes tell it: the model, each adaptive feature's curve, each price sheet; the epoch that waits.

A second person puts that epoch in force; anybody who sets prices puts everyone back on list prices at once.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Controller, Response, post
from litestar.datastructures import State

from api.console.book_choice import book_choice
from api.console.forms import Form, short_text, text
from api.console.pages import ConsoleRequest, actor_of, get, go_to, page
from api.console.sessions import has_role
from api.services import Services
from billing import price_epochs
from billing.epoch_proposals import EpochState, next_to_publish, proposal, proposals, publish_proposal
from billing.people import Role
from billing.posted_prices import sheet_results, take_curves
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository
from pricing_engine.price_sheet import list_price

_DEMAND = "/console/product/demand"


class DemandPages(Controller):
    """What prices do."""

    path = "/product"
    guards = (has_role(Role.PRODUCT, Role.APPROVER),)

    @get("/demand", sync_to_thread=True)
    def demand(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show what the newest model warns of, the epoch that waits, and each adaptive feature's take rate by price."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            books = book_choice(uow, services.now(uow), request.query_params.get("book"))
            live = books.stored
            curves = take_curves(uow, live.book, services.signer)
            model = next(iter(DemandModelRepository(uow).heads(live.book.key, 1)), None)
            fitting = next_to_publish(uow, live.book.key, services.now(uow))
            newest = next(iter(proposals(uow, live.book.key, 1)), None)
            adapting = price_epochs.model_in_force(uow, live, services.now(uow)) is not None
        waiting = newest if newest is not None and newest.state(fitting) is EpochState.OPEN else None
        person = request.user.person
        found = [(live.book.feature(key), curve, list_price(live.book.feature(key))) for key, curve in curves.items()]
        return page(
            request,
            "demand.html",
            books=books,
            book=live.book,
            found=found,
            model=model,
            waiting=waiting,
            may_publish=waiting is not None and waiting.proposed_by != person.name and person.has(Role.APPROVER),
            adapting=adapting,
        )

    @post("/demand/publish", guards=[has_role(Role.APPROVER)], sync_to_thread=True)
    def publish(self, data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Put the epoch in force that somebody else proposed, just as it was proposed."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            actor = actor_of(request, services.now(uow))
            found = proposal(uow, text(data, "book"), text(data, "proposal"))
            found.check_other(actor.name)
            publish_proposal(uow, found.document, services.signer, actor)
        return _back(data)

    @post("/demand/stop", sync_to_thread=True)
    def stop(self, data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Put everyone back on the list price at once."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            actor = actor_of(request, services.now(uow))
            book = PriceBookRepository(uow).one_in_force(text(data, "book"), actor.at)
            price_epochs.stop(uow, book, short_text(data, "reason"), services.signer, actor)
        return _back(data)

    @get("/experiments", sync_to_thread=True)
    def experiments(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show each price sheet and what became of the quotes on it."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            books = book_choice(uow, services.now(uow), request.query_params.get("book"))
            results = sheet_results(uow, books.stored.book)
        return page(request, "experiments.html", books=books, book=books.stored.book, results=results)


def _back(data: dict[str, Any]) -> Response[Any]:
    return go_to(f"{_DEMAND}?{urlencode({'book': text(data, 'book')})}")
